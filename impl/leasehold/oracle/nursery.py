"""Stores in processes of their own, which can be killed with SIGKILL at any line and started again on the same data.

A nursery is one process that has imported everything and does nothing but fork: a child is there within milliseconds, and no thread
or lock of the check is copied into it. A child holds the store and answers calls over a socket, with pickled records.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from types import FrameType
from typing import Any, Self

from leasehold.oracle.answers import BrokenTarget
from leasehold.oracle.schedule import is_library

START = 20.0
"""Seconds within which a child has to be there."""


class Nursery:
    """Starts children of one target. ``place`` is the directory that holds their stores' data."""

    def __init__(self, target: str) -> None:
        self.target = target
        self._directory = tempfile.TemporaryDirectory(prefix="leasehold-kill-", ignore_cleanup_errors=True)
        self.place = Path(self._directory.name)
        self._listener = Listener(str(self.place / "door"), "AF_UNIX")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "leasehold.oracle.nursery", str(self.place / "door"), target],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])},
            text=True,
            bufsize=1,
        )

    def child(self) -> Child:
        """One more child. Raises `BrokenTarget`."""
        assert self._process.stdin and self._process.stdout  # noqa: S101, PT018 - they are pipes
        try:
            self._process.stdin.write("fork\n")
            pid = int(self._process.stdout.readline())
            return Child(pid, self._listener.accept())
        except (OSError, ValueError) as error:
            raise BrokenTarget(f"no process can be started for {self.target}: {error}") from error

    def close(self) -> None:
        """End the nursery; its children have ended by then, or end with their connection."""
        assert self._process.stdin and self._process.stdout  # noqa: S101, PT018 - they are pipes
        with contextlib.suppress(OSError):  # the pipe's end may never come: what the store forked may hold it, too
            self._process.stdin.write("end\n")
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._listener.close()
        self._directory.cleanup()


class Gone(Exception):
    """The child has ended."""


class Child:
    """A process that holds a store."""

    def __init__(self, pid: int, connection: Connection) -> None:
        self.pid = pid
        self._connection = connection

    def ask(self, *request: Any, timeout: float | None = None) -> Any:
        """The reply to a request. Raises `Gone` if the child ends instead, `TimeoutError` if it does neither in time."""
        self.tell(*request)
        return self.hear(timeout)

    def tell(self, *request: Any) -> None:
        """Send a request. Raises `Gone`."""
        try:
            self._connection.send(request)
        except OSError as error:
            raise Gone from error

    def hear(self, timeout: float | None = None) -> Any:
        """The reply to what was told. Raises `Gone` or `TimeoutError`."""
        try:
            if timeout is not None and not self._connection.poll(timeout):
                raise TimeoutError
            return self._connection.recv()
        except TimeoutError:
            raise
        except (EOFError, OSError) as error:
            raise Gone from error

    def kill(self) -> None:
        """SIGKILL; returns when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._connection.recv_bytes()
        self._connection.close()


# -- in the nursery's process and in its children ----------------------------------------------------------------------------------


def main(address: str, target: str) -> None:
    """Fork a child for each line that comes in; tell its process id. What the target needs of libraries is imported before."""
    import leasehold.oracle.kill  # noqa: F401, PLC0415 - so that no child has to

    told = os.dup(1)  # what the store prints goes to standard error
    os.dup2(2, 1)
    _prepare(target)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        if line != "fork\n":
            break
        pid = os.fork()
        if pid == 0:
            os.close(told)
            _child(address)
        os.write(told, f"{pid}\n".encode())


def _prepare(target: str) -> None:
    """Import the libraries that the target imports, but nothing of its own: the threads that its import starts, the names that it
    draws, each process has to make for itself. Which they are, a process finds out that does nothing else.
    """
    from leasehold.targets import import_early  # noqa: PLC0415

    if not target.startswith("python:"):
        import_early(target)
        return
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException), os.fdopen(writing, "w", encoding="utf-8") as found:
            import_early(target)
            found.write("\n".join(_libraries(target)))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as found:
        names = found.read().split()
    os.waitpid(pid, 0)
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def _libraries(target: str) -> list[str]:
    """The modules that are imported now and are no part of the target's own package."""
    own = target.removeprefix("python:").partition(":")[0].partition(".")[0]
    return [
        name for name, one in sys.modules.items() if name.partition(".")[0] != own and is_library(getattr(one, "__file__", None))
    ]


def _child(address: str) -> None:
    """Answer requests until the connection ends."""
    from leasehold.oracle.kill import Served  # noqa: PLC0415
    from leasehold.targets import at_place  # noqa: PLC0415

    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        served = Served(at_place)
        with Client(address, "AF_UNIX") as connection, contextlib.suppress(EOFError, OSError):
            os.register_at_fork(after_in_child=connection.close)  # what the store forks may outlive it: its end has to show
            while True:
                connection.send(served.answer(connection.recv()))
        status = 0
    finally:
        sys.stdout.flush()
        os._exit(status)


class Fuse:
    """Kills this process at the n-th line of the store's code in a call; 0: at none.

    With a ``place`` it notes instead at which lines the data there had just changed: to end there is the likeliest to leave half of
    an operation. ``count``: how many lines there were. Which line it is killed before it writes to the file ``told``.
    """

    def __init__(self, at: int, own: Callable[[str], bool], place: Path | None, told: Path) -> None:
        self.count = 0
        self.marks: list[int] = []
        self._at = at
        self._own = own
        self._told = told
        self._files = Files(str(place)) if place is not None else None
        self._seen = self._files.look() if self._files else []

    def __enter__(self) -> Self:
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _enter(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        return self._line if self._own(frame.f_code.co_filename) else None

    def _line(self, frame: FrameType, event: str, _arg: Any) -> Any:
        if event == "line":
            self.count += 1
            if self.count == self._at:
                self._told.write_text(f"{frame.f_lineno}\n{frame.f_code.co_filename}", encoding="utf-8")
                os.kill(os.getpid(), signal.SIGKILL)
            if self._files is not None:
                now = self._files.look()
                if now != self._seen:
                    self._seen = now
                    self.marks.append(self.count)
        return self._line


class Files:
    """The files in a directory, and whether one has changed. That is asked at every line of a store, so in the cheapest way."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._directories: dict[str, int] = {}
        self._files: list[str] = []

    def look(self) -> list[tuple[int, int]]:
        """Size and time of each."""
        if not self._directories or any(_changed(one) != time for one, time in self._directories.items()):
            self._directories, self._files = {}, []
            self._list(self._place)
        return [_status(one) for one in self._files]

    def _list(self, place: str) -> None:
        self._directories[place] = _changed(place)
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    self._list(entry.path)
                else:
                    self._files.append(entry.path)


def _changed(directory: str) -> int:
    return _status(directory)[1]


def _status(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116 - in the cheapest way
    except OSError:
        return (-1, -1)
    return (status.st_size, status.st_mtime_ns)


if __name__ == "__main__":
    main(*sys.argv[1:])
