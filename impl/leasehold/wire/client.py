"""The door to a store behind an adapter program: the protocol's client (specs; JSON lines over the program's stdin and stdout)."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any

from leasehold.oracle.answers import Answer, BrokenTarget, Err, Ok, Skip, Unknown
from leasehold.records import MAX_MS
from leasehold.store import OPERATIONS, Capabilities
from leasehold.wire.codec import SIGNATURES, ShapeError, decode_result, encode_args

PROTOCOL = {"min": 1, "max": 1}
"""The protocol versions spoken here."""

REPLIES = ("ok", "err", "unknown", "skip", "fault")

LINE_LIMIT = 64 * 1024 * 1024
"""The longest line that is read from an adapter, in bytes."""

TAIL = 40
"""How many last lines of standard error are kept."""


class WireDoor:
    """Runs one adapter program and speaks with it. ``deadline``: seconds that a reply may take."""

    def __init__(self, command: Sequence[str], name: str, deadline: float = 30.0) -> None:
        self.name = name
        self.deadline = deadline
        self._command = list(command)
        self._data = tempfile.mkdtemp(prefix="leasehold-adapter-")
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._errors: collections.deque[str] = collections.deque(maxlen=TAIL)
        self._readers: list[threading.Thread] = []
        self._last: list[str] = []
        self._seq = 0
        self._stores = 0
        self._label = ""
        self._handles: dict[int, str] = {}
        self._opened = 0
        self.capabilities = Capabilities()
        try:
            self._start()
            self.capabilities = _capabilities(self._hello())
        except BaseException:
            self.shut()
            raise

    # -- the door ------------------------------------------------------------------------------------------------------

    def reported_tier(self) -> str | None:
        """The tier declared in ``hello`` is what there is."""
        return self.capabilities.tier

    def fresh(self, session_id: str) -> None:
        """A new store label; the one before is dropped."""
        self.close()
        self._stores += 1
        self._label = f"store-{self._stores}"
        self._must("create", store=self._label, session_id=session_id)

    def clock(self, now_ms: int) -> None:
        """Set the adapter's clock."""
        self._must("clock", now_ms=now_ms)

    def call(self, handle: int, op: str, args: tuple[Any, ...]) -> Answer:
        """One operation."""
        if handle not in self._handles:
            self._open(handle)
        reply = self._exchange("call", handle=self._handles[handle], op=op, args=encode_args(op, args))
        return self._answer(op, reply)

    def reopen(self) -> None:
        """Close every handle; the next call opens one again."""
        self._close_handles()

    def close(self) -> None:
        """Drop the store."""
        self._close_handles()
        if self._label:
            self._must("drop", store=self._label)
            self._label = ""

    def shut(self) -> None:
        """Say bye, wait a little, and end the adapter if it does not end by itself."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(BrokenTarget, OSError, ValueError):
                _write(process, json.dumps({"seq": self._seq + 1, "cmd": "bye"}))
                if process.stdin is not None:
                    process.stdin.close()
            try:
                process.wait(2.0)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            for reader in self._readers:
                reader.join(1.0)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(OSError, ValueError):
                        stream.close()
        shutil.rmtree(self._data, ignore_errors=True)

    @contextlib.contextmanager
    def alarm(self) -> Any:
        """Deadlines are kept while a reply is waited for; nothing more is needed. The adapter is ended when the block ends."""
        try:
            yield
        finally:
            self.shut()

    # -- exchanges -------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "LEASEHOLD_DATA": self._data},
                start_new_session=True,
            )
        except OSError as error:
            raise BrokenTarget(
                f"the adapter {self._command[0]!r} could not be started: {error.strerror}. Is the command right?"
            ) from error
        for stream, reader in ((self._process.stdout, self._read_lines), (self._process.stderr, self._read_errors)):
            thread = threading.Thread(target=reader, args=(stream,), daemon=True)
            thread.start()
            self._readers.append(thread)

    def _read_lines(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := stream.readline(LINE_LIMIT):
                self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := stream.readline(4096):
                self._errors.append(line.decode("utf-8", "replace").rstrip())

    def _hello(self) -> Mapping[str, Any]:
        reply = self._exchange("hello", protocol=PROTOCOL)
        value = reply.get("ok")
        if not isinstance(value, dict):
            raise self._broken("hello was not answered with ok and an object")
        if value.get("protocol") not in range(PROTOCOL["min"], PROTOCOL["max"] + 1):
            raise self._broken(f"the adapter speaks protocol {value.get('protocol')!r}; {PROTOCOL['min']} is spoken here")
        return value

    def _open(self, handle: int) -> None:
        self._opened += 1
        label = f"handle-{self._opened}"
        self._must("open", store=self._label, handle=label)
        self._handles[handle] = label

    def _close_handles(self) -> None:
        handles, self._handles = self._handles, {}
        for label in handles.values():
            self._must("close", handle=label)

    def _must(self, cmd: str, **fields: Any) -> None:
        """A command that is no call has to succeed."""
        reply = self._exchange(cmd, **fields)
        if "ok" not in reply:
            raise self._broken(f"{cmd} has to succeed and did not")

    def _answer(self, op: str, reply: Mapping[str, Any]) -> Answer:
        if "ok" in reply:
            if SIGNATURES[op].result is type(None):
                return Ok(None)
            try:
                return Ok(decode_result(op, reply["ok"]))
            except ShapeError as error:
                raise self._broken(f"{op} was answered out of shape: {error}") from error
        if "err" in reply:
            details = dict(reply["err"])
            return Err(str(details.pop("code")), str(details.pop("message", "")), details)
        if "unknown" in reply:
            return Unknown(str(_member(reply["unknown"], "message")))
        if "skip" in reply:
            return Skip(str(_member(reply["skip"], "reason")))
        raise self._broken(
            f"{op}: the adapter itself failed: {_member(reply['fault'], 'message')}\n{_member(reply['fault'], 'trace')}".rstrip()
        )

    def _exchange(self, cmd: str, **fields: Any) -> Mapping[str, Any]:
        self._seq += 1
        line = json.dumps({"seq": self._seq, "cmd": cmd, **fields}, ensure_ascii=False, separators=(",", ":"))
        self._last = [line]
        if self._process is None:
            raise self._broken("the adapter has ended")
        try:
            _write(self._process, line)
        except OSError:
            raise self._broken(f"the adapter ended before it read the request{self._exit_code()}") from None
        return self._reply()

    def _reply(self) -> Mapping[str, Any]:
        try:
            raw = self._lines.get(timeout=self.deadline)
        except queue.Empty:
            raise self._broken(f"no reply within {self.deadline:g} s") from None
        if raw is None:
            raise self._broken(f"the adapter's output ended{self._exit_code()}")
        self._last.append(raw.decode("utf-8", "replace").rstrip("\n"))
        try:
            reply = json.loads(raw.decode("utf-8"))
        except (UnicodeDecodeError, ValueError, RecursionError) as error:
            raise self._broken(
                f"a reply is not JSON ({error}); write one JSON object a line to standard output and nothing else"
            ) from None
        return self._checked(reply)

    def _checked(self, reply: Any) -> Mapping[str, Any]:
        if not isinstance(reply, dict):
            raise self._broken("a reply is not a JSON object")
        if type(reply.get("seq")) is not int or reply["seq"] != self._seq:
            raise self._broken(f"a reply has seq {reply.get('seq')!r}; {self._seq} was due")
        kinds = [kind for kind in REPLIES if kind in reply]
        if len(kinds) != 1:
            raise self._broken(f"a reply has {' and '.join(kinds) or 'none'} of {', '.join(REPLIES)}; exactly one is due")
        if kinds[0] == "err" and not (isinstance(reply["err"], dict) and isinstance(reply["err"].get("code"), str)):
            raise self._broken("err has to be an object with a code")
        return reply

    def _exit_code(self) -> str:
        if self._process is None:
            return ""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return f" (exit code {self._process.wait(1.0)})"
        return ""

    def _broken(self, what: str) -> BrokenTarget:
        """The error for a broken adapter: what is wrong, the last exchange, the end of its standard error."""
        time.sleep(0.05)  # the adapter's last words may still be on their way
        shown = [f"the adapter is broken: {what}", "last exchange:"]
        shown += [f"  {arrow} {_cut(text)}" for arrow, text in zip(("->", "<-"), self._last, strict=False)]
        if self._errors:
            shown += ["the end of its standard error:", *(f"  {line}" for line in list(self._errors)[-10:])]
        return BrokenTarget("\n".join(shown))


def _write(process: subprocess.Popen[bytes], line: str) -> None:
    if process.stdin is None:
        raise OSError("closed")
    process.stdin.write(line.encode("utf-8") + b"\n")
    process.stdin.flush()


def _member(value: Any, name: str) -> Any:
    return value.get(name, "") if isinstance(value, dict) else ""


def _cut(text: str) -> str:
    return text if len(text) <= 600 else text[:597] + "..."


def _capabilities(hello: Mapping[str, Any]) -> Capabilities:
    given = hello.get("capabilities")
    if not isinstance(given, dict):
        raise BrokenTarget("the adapter is broken: hello has no capabilities object")
    wanted: dict[str, tuple[Any, ...]] = {
        "tier": ("inline", "durable"),
        "manifest": ("persistent", "noop"),
        "clock": ("virtual", "real"),
    }
    for name, options in wanted.items():
        if given.get(name) not in options:
            raise BrokenTarget(f"the adapter is broken: capabilities.{name} is {given.get(name)!r}; {' or '.join(options)} is due")
    for name in ("handles", "max_integer"):
        if name in given and (type(given[name]) is not int or given[name] < 1):
            raise BrokenTarget(f"the adapter is broken: capabilities.{name} is {given[name]!r}; a number from 1 up is due")
    ops = given.get("ops", list(OPERATIONS))
    unknown = [op for op in ops if op not in OPERATIONS] if isinstance(ops, list) else [ops]
    if unknown:
        raise BrokenTarget(f"the adapter is broken: capabilities.ops names {unknown[0]!r}, which is no operation of the protocol")
    return Capabilities(
        tier=given["tier"],
        manifest=given["manifest"],
        clock=given["clock"],
        handles=given.get("handles", 1),
        reopen=given.get("reopen") is True,
        kill=given.get("kill") is True,
        concurrent=False,  # one request at a time is sent here, whatever the adapter could take
        max_integer=min(given.get("max_integer", MAX_MS), MAX_MS),
        ops=frozenset(ops),
    )
