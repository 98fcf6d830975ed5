"""Whose turn it is among the writers of a file.

SQLite lets waiting writers look again now and then, and the one that has just committed is back before any of them looks: of two
processes that write all the time, one starves for seconds. So a writer locks the file ``-turn`` during its transaction. One that
has waited for a moment locks ``-next`` until it has the turn, and marks that in the first byte of ``-turn``: who sees the mark has
to be next before it may write, so one that has just written comes after one that waits. The kernel frees the locks of a process
that ends, however it ends; a mark that it leaves behind costs the next writer a look.

This is order and nothing else: what keeps transactions apart are SQLite's own locks. So other programs may write without a turn,
and where there are no such locks, or the two files cannot be made, there is just no order.
"""

from __future__ import annotations

import mmap
import os
import sys
import time
from typing import Final

if sys.platform != "win32":
    import fcntl

SUFFIXES: Final = ("-turn", "-next")
"""Of the two files, which may be removed while nobody has the store open."""

_PATIENCE: Final = 0.001
"""Seconds until one that waits becomes next: two that take turns commit by commit reach a sixth less together."""

_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 0.00001, 0.001, 1.1
"""Seconds between looks: a commit is about 0.3 ms, so the first looks are close together; after some 15 ms there is one a ms."""


class Turns:
    """A handle's place among the writers of its file."""

    __slots__ = ("_files", "_mark", "_path", "_tried")

    def __init__(self, path: str) -> None:
        self._path = path
        self._tried = False
        self._files: list[int] = []
        self._mark: mmap.mmap | None = None

    def enter(self, wait_seconds: float) -> bool:
        """Wait for the turn, at most so long. False: it did not come."""
        mark = self._mark
        try:
            if mark is None:
                if self._tried:
                    return True
                mark = self._open()
            began = time.monotonic()
            while not mark[0]:
                if _lock(self._files[0]):
                    return True
                if time.monotonic() >= began + min(_PATIENCE, wait_seconds):
                    break
                time.sleep(_FIRST_PAUSE)
            return self._next(mark, began + wait_seconds)
        except OSError:
            self.close()
            return True

    def _open(self) -> mmap.mmap:
        """Not before the first write: one that only reads may not be allowed to make files."""
        self._tried = True
        if sys.platform == "win32":
            raise OSError("no such locks")
        mode = os.stat(self._path).st_mode & 0o777  # noqa: PTH116 - a path of any kind
        for suffix in SUFFIXES:
            self._files.append(os.open(self._path + suffix, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode))
        if os.fstat(self._files[0]).st_size == 0:
            os.ftruncate(self._files[0], 1)
        self._mark = mmap.mmap(self._files[0], 1)
        return self._mark

    def _next(self, mark: mmap.mmap, deadline: float) -> bool:
        turn, following = self._files
        if not _wait(following, deadline):
            return False
        try:
            mark[0] = 1
            return _wait(turn, deadline)
        finally:
            mark[0] = 0
            fcntl.flock(following, fcntl.LOCK_UN)

    def leave(self) -> None:
        """Let the next one write."""
        if self._mark is not None:
            fcntl.flock(self._files[0], fcntl.LOCK_UN)

    def close(self) -> None:
        """Give up the files."""
        if self._mark is not None:
            self._mark.close()
            self._mark = None
        while self._files:
            os.close(self._files.pop())


def _lock(file: int) -> bool:
    """Whether the lock is ours."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait(file: int, deadline: float) -> bool:
    """Wait for a lock until then. The kernel's own wait has no time limit."""
    pause = _FIRST_PAUSE
    while not _lock(file):
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(_GROWTH * pause, _LONGEST_PAUSE)
    return True
