"""What an adapter does to its files, told by the kernel (inotify, Linux): so it can be killed between two changes of them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import struct
import time
from pathlib import Path

CHANGES = 0x002 | 0x040 | 0x080 | 0x100 | 0x200
"""Written or truncated, moved away, moved here, made, deleted."""

EVENT = struct.Struct("iIII")


class Watch:
    """Counts the changes of the files in a directory, and in those below it. ``able``: the system can tell of them."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._file = -1
        with contextlib.suppress(AttributeError, OSError):
            self._system = ctypes.CDLL(None, use_errno=True)
            self._file = self._system.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            self.begin()

    @property
    def able(self) -> bool:
        """The system tells of changes."""
        return self._file >= 0

    def begin(self) -> None:
        """What was before does not count."""
        if self.able:
            for one in (self.directory, *(str(one) for one in Path(self.directory).rglob("*") if one.is_dir())):
                self._system.inotify_add_watch(self._file, os.fsencode(one), CHANGES)
            self.count()

    def count(self) -> int:
        """How many changes there were since this was last asked."""
        try:
            told = os.read(self._file, 65_536)
        except OSError:
            return 0
        number = at = 0
        while at < len(told):
            number, at = number + 1, at + EVENT.size + EVENT.unpack_from(told, at)[3]
        return number

    def wait(self, number: int, answers: int, seconds: float) -> int:
        """Until so many changes were seen, there is something to read from ``answers``, or the time is over: how many were seen."""
        ends, seen = time.monotonic() + seconds, 0
        while seen < number and (left := ends - time.monotonic()) > 0:
            ready, _, _ = select.select([self._file, answers], [], [], left)
            seen += self.count()
            if answers in ready:
                break
        return min(seen, number)

    def close(self) -> None:
        """Watch no more. The kernel takes some milliseconds for it."""
        if self.able:
            os.close(self._file)
        self._file = -1
