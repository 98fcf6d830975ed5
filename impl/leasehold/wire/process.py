"""An adapter program while it runs: lines in, lines out, each within a deadline, whatever the program does."""

from __future__ import annotations

import collections
import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence

LINE_LIMIT = 64 * 1024 * 1024
"""The longest line that is read from an adapter, in bytes."""

TAIL = 40
"""How many last lines of standard error are kept, each cut at `WIDE` bytes."""

WIDE = 2_000

CHUNK = 65_536


class Ended(Exception):
    """The program has closed its standard output or input, or ended."""


class Late(Exception):
    """The deadline has passed."""


class TooLong(Exception):
    """A line is longer than is read."""


class Process:
    """A program started with its standard streams as pipes, in a process group of its own. Raises `OSError` if it cannot be."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            start_new_session=True,
            bufsize=0,
        )
        assert self._process.stdin and self._process.stdout and self._process.stderr  # noqa: S101, PT018 - they are pipes
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        for descriptor in (self._in, self._out):
            os.set_blocking(descriptor, False)
        self._buffer = bytearray()
        self._errors: collections.deque[str] = collections.deque(maxlen=TAIL)
        self._stop, self._stopped = os.pipe()
        self._reader = threading.Thread(target=self._read_errors, args=(self._process.stderr.fileno(),), daemon=True)
        self._reader.start()

    def write(self, line: bytes, deadline: float) -> None:
        """Write a line. Raises `Ended` or `Late`."""
        left = memoryview(line + b"\n")
        while left:
            try:
                left = left[os.write(self._in, left[:CHUNK]) :]
            except BlockingIOError:
                self._wait(self._in, selectors.EVENT_WRITE, deadline)
            except OSError as error:
                raise Ended from error

    def read(self, deadline: float) -> bytes:
        """The next line, without its end. Raises `Ended`, `Late` or `TooLong`."""
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > LINE_LIMIT:
                raise TooLong
            try:
                chunk = os.read(self._out, CHUNK)
            except BlockingIOError:
                self._wait(self._out, selectors.EVENT_READ, deadline)
                continue
            except OSError as error:
                raise Ended from error
            if not chunk:
                raise Ended
            self._buffer += chunk
            if time.monotonic() > deadline:  # a line that trickles in, or has no end
                raise Late
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        left = deadline - time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, event)
            if left <= 0 or not selector.select(left):
                raise Late

    def _read_errors(self, descriptor: int) -> None:
        """Keep the last lines of standard error, however much there is of it."""
        line = bytearray()
        with selectors.DefaultSelector() as selector, contextlib.suppress(OSError, ValueError):
            selector.register(descriptor, selectors.EVENT_READ)
            selector.register(self._stop, selectors.EVENT_READ)
            while all(key.fd != self._stop for key, _ in selector.select()):
                chunk = os.read(descriptor, CHUNK)
                if not chunk:
                    break
                *whole, rest = (bytes(line) + chunk[-CHUNK:]).split(b"\n")
                self._errors.extend(one[:WIDE].decode("utf-8", "replace").rstrip() for one in whole[-TAIL:])
                line = bytearray(rest[:WIDE])
        if line:
            self._errors.append(bytes(line).decode("utf-8", "replace").rstrip())

    def said(self) -> list[str]:
        """The last lines of standard error."""
        return list(self._errors)

    def exit_code(self, patience: float) -> int | None:
        """How it ended, if it has within so many seconds."""
        try:
            return self._process.wait(patience)
        except subprocess.TimeoutExpired:
            return None

    @property
    def answers(self) -> int:
        """What can be waited for: there is something to read from it."""
        return self._out

    def kill(self) -> None:
        """SIGKILL for it and what it started. What it wrote before can still be read."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def end(self, patience: float) -> None:
        """Close its input, give it so many seconds to end by itself, and kill it and what it started."""
        self._close(self._process.stdin)
        if patience > 0:
            self.exit_code(patience)
        self.kill()
        self._reader.join(0.2)  # to the end of what it said; not for ever, since what it started may hold the pipe open
        os.write(self._stopped, b"x")
        self._reader.join()
        for stream in (self._process.stdout, self._process.stderr):
            self._close(stream)
        os.close(self._stop)
        os.close(self._stopped)

    def _close(self, stream: object) -> None:
        with contextlib.suppress(OSError, ValueError):
            stream.close()  # type: ignore[attr-defined]  # a pipe
