"""The door to a store behind an adapter program: the protocol's client (specs/protocol.schema.json; JSON lines over two pipes)."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from leasehold.oracle.answers import (
    AFTER,
    CANNOT_BE_OPENED,
    CHANGE,
    Answer,
    BrokenTarget,
    Err,
    Misshapen,
    NoReply,
    Ok,
    Skip,
    Unknown,
)
from leasehold.records import MAX_MS
from leasehold.store import OPERATIONS, Capabilities
from leasehold.wire.codec import SIGNATURES, ShapeError, decode_result, encode_args
from leasehold.wire.process import LINE_LIMIT, Ended, Late, Process, TooLong
from leasehold.wire.schema import problem
from leasehold.wire.watch import Watch

PROTOCOL = {"min": 1, "max": 1}
"""The protocol versions spoken here."""

REPLIES = ("ok", "err", "unknown", "skip", "fault")

PATIENCE = 2.0
"""Seconds that an adapter gets to end by itself after ``bye``."""

RESTART = 3.0
"""Seconds that an adapter gets to answer ``hello`` after it was started anew; the first time it has the whole deadline."""

SMALLEST_MAX = 2**42
"""The least ``max_integer`` with which anything can be checked: some times are in the year 2100."""

BREATH = 0.5
"""Seconds after which an adapter that could not be started after a kill is started once more."""

KILLED = Unknown("the adapter was killed")
"""No answer, since the adapter ended."""

MOST_CHANGES = 8
"""After so many changes of files of one call an adapter is killed, at most."""

UNSEEN = 2
"""How many more changes there may have been than were told."""

CUT = 2_000
"""How much of a line is shown."""


class WireDoor:
    """Runs one adapter program and speaks with it.

    ``deadline``: seconds that a reply may take. ``validate``: every exchange is held against the protocol's schema.
    """

    def __init__(self, command: Sequence[str], name: str, deadline: float = 30.0, *, validate: bool = True) -> None:
        self.name = name
        self.deadline = self._deadline = deadline
        self.ends = math.inf
        self.hangs = False
        self.validate = validate
        self._command = list(command)
        self._data = tempfile.mkdtemp(prefix="leasehold-adapter-")
        self._process: Process | None = None
        self._watch: Watch | None = None
        self._last: list[str] = []
        self._seq = 0
        self._sent: set[int] = set()
        self._replies: dict[int, Mapping[str, Any]] = {}
        self._reading = False
        self._turn = threading.Condition()
        self._now: int | None = None
        self.not_killed = ""
        self.points = 0
        self.marks: list[int] = []
        self.opening = 0
        self.opening_marks: list[int] = []
        self._down = False
        self._dying = False
        self._scarred = False
        self.faults: Mapping[int, Callable[[], None]] = {}
        self._stores = 0
        self._label = ""
        self._handles: dict[int, str] = {}
        self._opened = 0
        self._lost = ""
        self.capabilities = Capabilities()
        try:
            self.capabilities = self._start()
            self.not_killed = "" if self.capabilities.kill else "the adapter does not declare kill"
        except BaseException:
            self.shut(0.0)
            raise

    unit = "microsecond after the request was sent"

    # -- the door ------------------------------------------------------------------------------------------------------

    def reported_tier(self) -> str | None:
        """The tier declared in ``hello`` is what there is."""
        return self.capabilities.tier

    def fresh(self, session_id: str) -> None:
        """A new store label; the one before is dropped."""
        self._up()
        if self._lost:  # what cannot be opened may keep it from starting, so its data goes
            self._forget()
            self._lost = self._label = ""
            shutil.rmtree(self._data, ignore_errors=True)
            self._data = tempfile.mkdtemp(prefix="leasehold-adapter-")
            self._start_again()
        self.close()
        self._scarred = False
        self._stores += 1
        self._label = f"store-{self._stores}"
        self._must("create", store=self._label, session_id=session_id)

    def clock(self, now_ms: int) -> None:
        """Set the adapter's clock."""
        self._now = now_ms
        if not (self._down or self._lost):
            self._must("clock", now_ms=now_ms)

    def call(self, handle: int, op: str, args: tuple[Any, ...]) -> Answer:
        """One operation. Raises `NoReply` without an answer within the deadline. Threads may call, each on its own handle."""
        self._up()
        if not self._lost and not self._dying:
            self.open(handle)
        if self._lost:
            return Err("backend", self._lost)
        try:
            number = self.send([(handle, op, args)])[0]
        except BrokenTarget:
            if not self._dying:
                raise
            return KILLED
        return self.received(number, op)

    def send(self, calls: Sequence[tuple[int, str, tuple[Any, ...]]]) -> list[int]:
        """Send these calls at once; their numbers, by which `received` waits for the answers."""
        for handle, _, _ in calls:
            self.open(handle)
        requests = [{"handle": self._handles[handle], "op": op, "args": encode_args(op, args)} for handle, op, args in calls]
        return self._write([("call", one) for one in requests])

    def received(self, number: int, op: str) -> Answer:
        """The answer to a call that was sent. Raises `NoReply`."""
        try:
            reply = self._reply(number)
        except BrokenTarget:
            if not self._dying:
                raise
            return KILLED
        return self._answer(op, reply)

    def crash(self, handle: int, op: str, args: tuple[Any, ...], at: int) -> Answer:
        """Make a call and kill the adapter: so many microseconds after it was sent, at a `CHANGE` of a file, or `AFTER` it."""
        self._up()
        if not self._lost:
            self.open(handle)
        if self._lost:
            return Err("backend", self._lost)
        watch = self._watched()
        began = time.perf_counter()
        number = self.send([(handle, op, args)])[0]
        if at == AFTER:
            answer = self.received(number, op)
            self.points = _microseconds(began)
            self.marks = _changes(watch)
        else:
            self._wait(watch, began, at)
            self.die()
            answer = self.received(number, op)
        self.ended()
        return answer

    def _watched(self) -> Watch:
        """What tells of changes of files from now on."""
        if self._watch is None or self._watch.directory != self._data:
            self._unwatch()
            self._watch = Watch(self._data)
        self._watch.begin()
        return self._watch

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.close()
        self._watch = None

    def _wait(self, watch: Watch, began: float, at: int) -> int:
        """Until that time; or until that change of a file, or the answer: how many of these changes were seen."""
        if at < CHANGE:
            wait(began, at)
        elif watch.able and self._process is not None:
            return watch.wait(at - CHANGE, self._process.answers, min(self._deadline, RESTART))
        return 0

    def crash_reopen(self, at: int) -> None:
        """Close the store, unless the adapter was just killed, open it again, and kill it so many microseconds after that began."""
        if self._lost:
            return
        watch = self._watched()
        with contextlib.suppress(BrokenTarget):  # whether it can be opened is seen where it is not killed
            if self._down:
                self._start_again()
            began = time.perf_counter()
            asked = [*(("close", {"handle": one}) for one in self._handles.values()), ("open", self._next_handle())]
            for cmd, fields in asked:
                left = self.deadline if at == AFTER or at > CHANGE else at / 1_000_000 - (time.perf_counter() - began)
                with self._within(left):
                    number = self._write([(cmd, fields)])[0]
                    at -= self._wait(watch, began, at) if at >= CHANGE else 0
                    if at == CHANGE:
                        break
                    self._reply(number)
            if at == AFTER:
                self.opening_marks = _changes(watch)
            if at < CHANGE:
                self.opening = _microseconds(began)
                wait(began, at)
        self.ended()

    def die(self) -> None:
        """Kill the adapter. Until `ended`, calls have the answers that it had written before, or none."""
        self._dying = True
        if self._process is not None:
            self._process.kill()

    def ended(self) -> None:
        """The adapter is no more; what is asked next starts it and opens the store again."""
        self._forget()
        self._down = self._scarred = True

    def _up(self) -> None:
        """After a kill the adapter is started, and has to open the store again. If it cannot, every call is answered so."""
        if not self._down:
            return
        self._down = False
        for tries_left in (1, 0):
            began = time.perf_counter()
            try:
                self._start_again()
                began = time.perf_counter()
                opened = self._next_handle()
                reply = self._exchange("open", **opened)
            except BrokenTarget as broken:  # it could be opened before, so this is the store's own; or it needs a moment
                self._forget()
                if tries_left and not isinstance(broken, NoReply):
                    time.sleep(BREATH)
                    continue
                self._lost = f"{CANNOT_BE_OPENED}: {broken}"
                return
            break
        self.opening = _microseconds(began)
        if "err" in reply:
            self._lost = f"{CANNOT_BE_OPENED}: {reply['err'].get('message', reply['err']['code'])}"
        elif "ok" not in reply:
            raise self._broken("open has to succeed and did not")
        self._handles[0] = opened["handle"]

    def _start_again(self) -> None:
        """The adapter anew, with the time as it was."""
        self._start()
        if self._now is not None:
            self._must("clock", now_ms=self._now)

    def _forget(self) -> None:
        """End the adapter, and what is known of it; the data stays."""
        self._end(0.0)
        self._handles, self._sent, self._replies, self._dying = {}, set(), {}, False

    def _next_handle(self) -> dict[str, str]:
        self._opened += 1
        return {"store": self._label, "handle": f"handle-{self._opened}"}

    @contextlib.contextmanager
    def _within(self, seconds: float) -> Any:
        """For now, a reply may take so long."""
        deadline, self.deadline = self.deadline, seconds
        try:
            yield
        finally:
            self.deadline = deadline

    def crashing(self) -> WireDoor | None:
        """This one, if the adapter declares kill."""
        return self if self.capabilities.kill else None

    def reopen(self) -> None:
        """Close every handle; the next call opens one again."""
        if self._down:
            self._up()
        elif not self._lost:
            self._close_handles()

    def close(self) -> None:
        """Drop the store."""
        self._close_handles()
        if self._label:
            self._must("drop", store=self._label)
            self._label = ""

    def restart(self) -> None:
        """Kill the adapter and start it anew, without any store."""
        self._forget()
        self._label, self._lost, self._down = "", "", False
        with self._within(min(self._deadline, RESTART)):
            self._start()

    def shut(self, patience: float = PATIENCE) -> None:
        """Say bye, wait a little, and end the adapter if it does not end by itself."""
        if self._process is not None and patience > 0:
            with contextlib.suppress(Ended, Late):
                self._process.write(json.dumps({"seq": self._seq + 1, "cmd": "bye"}).encode(), time.monotonic() + 0.1)
        self._end(patience)
        self._unwatch()
        shutil.rmtree(self._data, ignore_errors=True)

    @contextlib.contextmanager
    def alarm(self) -> Any:
        """Deadlines are kept while a reply is waited for; nothing more is needed. The adapter is ended when the block ends."""
        try:
            yield
        except BrokenTarget:
            self.shut(0.0)
            raise
        finally:
            self.shut()

    # -- exchanges -------------------------------------------------------------------------------------------------------

    def _start(self) -> Capabilities:
        try:
            self._process = Process(self._command, {**os.environ, "LEASEHOLD_DATA": self._data})
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise BrokenTarget(f"the adapter {self._command[0]!r} could not be started: {why}. Is the command right?") from error
        return self._capabilities(self._hello())

    def _end(self, patience: float) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.end(patience)

    def _hello(self) -> Mapping[str, Any]:
        reply = self._exchange("hello", protocol=PROTOCOL)
        value = reply.get("ok")
        if not isinstance(value, dict):
            raise self._broken("hello was not answered with ok and an object")
        if value.get("protocol") not in range(PROTOCOL["min"], PROTOCOL["max"] + 1):
            raise self._broken(f"the adapter speaks protocol {value.get('protocol')!r}; {PROTOCOL['min']} is spoken here")
        return value

    def _capabilities(self, hello: Mapping[str, Any]) -> Capabilities:
        given = hello.get("capabilities")
        wrong = problem("hello", hello)
        if wrong or not isinstance(given, dict):
            raise self._broken(f"hello is out of shape: {wrong}")
        if given.get("max_integer", MAX_MS) < SMALLEST_MAX:
            raise self._broken(
                f"max_integer is {given['max_integer']}: times are milliseconds since the epoch, for which it has to be "
                f"{SMALLEST_MAX} or more. Carry integers as 64 bits, or as text"
            )
        return Capabilities(
            tier=given["tier"],
            manifest=given["manifest"],
            clock=given["clock"],
            handles=given.get("handles", 1),
            reopen=given.get("reopen") is True,
            kill=given.get("kill") is True,
            concurrent=given.get("concurrent") is True,
            max_integer=min(given.get("max_integer", MAX_MS), MAX_MS),
            ops=frozenset(given.get("ops", OPERATIONS)),
        )

    def open(self, handle: int) -> None:
        """Open a handle, if it is not yet."""
        if handle not in self._handles:
            self._open(handle)

    def _open(self, handle: int) -> None:
        """Once the adapter was killed, a store that cannot be opened is the store's own fault: it could be before."""
        opened = self._next_handle()
        try:
            reply = self._exchange("open", **opened)
        except BrokenTarget as broken:
            if not self._scarred or self._dying:
                raise
            self._lost = f"{CANNOT_BE_OPENED}: {broken}"
            return
        if "err" in reply and self._scarred:
            self._lost = f"{CANNOT_BE_OPENED}: {reply['err'].get('message', reply['err']['code'])}"
        elif "ok" not in reply:
            raise self._broken("open has to succeed and did not")
        else:
            self._handles[handle] = opened["handle"]

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
            return self._value(op, reply["ok"])
        if "err" in reply:
            details = dict(reply["err"])
            return Err(str(details.pop("code")), str(details.pop("message", "")), details)
        if "unknown" in reply:
            return Unknown(str(reply["unknown"].get("message", "")))
        if "skip" in reply:
            return Skip(str(reply["skip"].get("reason", "")))
        fault = reply["fault"]
        raise self._broken(f"{op}: the adapter itself failed: {fault.get('message', '')}\n{fault.get('trace') or ''}".rstrip())

    def _value(self, op: str, value: Any) -> Answer:
        if SIGNATURES[op].result is type(None):
            return Ok(None)
        try:
            decoded = decode_result(op, value)
        except ShapeError as error:
            return Misshapen(value, str(self._broken(f"{op} was answered out of shape: {error}")))
        wrong = problem(f"ok_{op}", value) if self.validate else ""
        return Misshapen(value, str(self._broken(f"{op} was answered out of shape: {wrong}"))) if wrong else Ok(decoded)

    def _exchange(self, cmd: str, **fields: Any) -> Mapping[str, Any]:
        return self._reply(self._write([(cmd, fields)])[0])

    def _write(self, requests: Sequence[tuple[str, Mapping[str, Any]]]) -> list[int]:
        """Send these requests in one piece, so that an adapter may have them at once; their numbers."""
        with self._turn:
            numbers, lines = [], []
            for cmd, fields in requests:
                self._seq += 1
                request = {"seq": self._seq, "cmd": cmd, **fields}
                if self.validate:
                    self._check_own(cmd, request)
                numbers.append(self._seq)
                lines.append(json.dumps(request, ensure_ascii=False, separators=(",", ":")))
            self._last = lines[:1]
            self._sent.update(numbers)
            if self._process is None:
                raise self._broken("the adapter has ended")
            try:
                self._process.write("\n".join(lines).encode("utf-8"), time.monotonic() + self.deadline)
            except Ended:
                raise self._broken(f"the adapter's output ended{self._exit_code()}") from None
            except Late:
                raise NoReply(str(self._broken(f"no reply within {self.deadline:g} s"))) from None
        return numbers

    def _reply(self, number: int) -> Mapping[str, Any]:
        """The reply of this number. One thread at a time reads, and keeps for the others what is theirs."""
        deadline = time.monotonic() + self.deadline
        with self._turn:
            while number not in self._replies and self._reading:
                if not self._turn.wait(max(0.0, deadline - time.monotonic())):
                    raise NoReply(str(self._broken(f"no reply within {self.deadline:g} s")))
            if number in self._replies:
                return self._replies.pop(number)
            self._reading = True
        try:
            while True:
                reply = self._read(deadline)
                if reply["seq"] == number:
                    return reply
                with self._turn:
                    self._replies[reply["seq"]] = reply
                    self._turn.notify_all()
        finally:
            with self._turn:
                self._reading = False
                self._turn.notify_all()

    def _read(self, deadline: float) -> Mapping[str, Any]:
        if self._process is None:
            raise self._broken("the adapter has ended")
        try:
            raw = self._process.read(deadline)
        except Ended:
            raise self._broken(f"the adapter's output ended{self._exit_code()}") from None
        except Late:
            raise NoReply(str(self._broken(f"no reply within {self.deadline:g} s"))) from None
        except TooLong:
            raise self._broken(f"a line of over {LINE_LIMIT} bytes was written") from None
        reply = self._checked(raw)
        self._sent.discard(reply["seq"])
        return reply

    def _check_own(self, cmd: str, request: dict[str, Any]) -> None:
        """What is sent has the protocol's shape too: anything else is a fault of ours."""
        wrong = problem(f"request_{cmd}", request)
        if not wrong and cmd == "call":
            wrong = problem(f"args_{request['op']}", request["args"])
        if wrong:
            raise ValueError(f"leasehold wrote a request out of shape: {wrong}: {_cut(json.dumps(request))}")

    def _checked(self, raw: bytes) -> Mapping[str, Any]:
        self._last.append(raw.decode("utf-8", "replace"))
        try:
            reply = json.loads(raw.decode("utf-8"), parse_constant=_no_number)
            if b"\\u" in raw:
                json.dumps(reply, ensure_ascii=False).encode("utf-8")  # half a surrogate pair is no text
        except (UnicodeError, ValueError, RecursionError) as error:
            raise self._broken(
                f"a reply is not JSON ({_cut(str(error))}); write one JSON object a line to standard output and nothing else"
            ) from None
        if not isinstance(reply, dict):
            raise self._broken("a reply is not a JSON object")
        if type(reply.get("seq")) is not int or reply["seq"] not in self._sent:
            double = "; does its JSON library read numbers as doubles?" if isinstance(reply.get("seq"), float) else ""
            due = " or ".join(map(str, sorted(self._sent))) or "none"
            raise self._broken(f"a reply has seq {_cut(repr(reply.get('seq')))}; {due} was due{double}")
        kinds = [kind for kind in REPLIES if kind in reply]
        if len(kinds) != 1:
            raise self._broken(f"a reply has {' and '.join(kinds) or 'none'} of {', '.join(REPLIES)}; exactly one is due")
        wrong = problem("reply", reply)
        if wrong:
            raise self._broken(f"a reply is out of shape: {wrong}")
        return reply

    def _exit_code(self) -> str:
        code = self._process.exit_code(0.5) if self._process is not None else None
        return f" (exit code {code})" if code is not None else ""

    def _broken(self, what: str) -> BrokenTarget:
        """The error for a broken adapter: what is wrong, the last exchange, the end of its standard error."""
        time.sleep(0.05)  # the adapter's last words may still be on their way
        shown = [f"the adapter is broken: {what}", "last exchange:"]
        shown += [f"  {arrow} {_cut(text)}" for arrow, text in zip(("->", "<-"), self._last, strict=False)]
        said = self._process.said() if self._process is not None else []
        if said:
            shown += ["the end of its standard error:", *(f"  {_cut(line)}" for line in said[-10:])]
        return BrokenTarget("\n".join(shown))


def wait(began: float, microseconds: int) -> None:
    """Until so long after ``began``, by the performance counter."""
    while (time.perf_counter() - began) * 1_000_000 < microseconds:
        pass  # no sleep is as short


def _changes(watch: Watch) -> list[int]:
    """A point for each change of a file that was seen, and some more: changes of one file are told as one, if nobody listens."""
    seen = watch.count()
    return [CHANGE + number for number in range(1, min(seen + UNSEEN, MOST_CHANGES) + 1)] if seen else []


def _microseconds(began: float) -> int:
    return max(1, int((time.perf_counter() - began) * 1_000_000))


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _cut(text: str) -> str:
    return text if len(text) <= CUT else text[: CUT - 3] + "..."
