"""The door to a store in a process of its own, which is killed with SIGKILL in a call and started again on its data."""

from __future__ import annotations

import linecache
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from leasehold.oracle.answers import AFTER, CANNOT_BE_OPENED, CONNECTION, SERVER, Answer, BrokenTarget, Err, Hung, Unknown
from leasehold.oracle.nursery import Child, Fuse, Gone, Nursery
from leasehold.oracle.python_door import Factory, PythonDoor
from leasehold.oracle.schedule import is_stores
from leasehold.records import Tier
from leasehold.store import Capabilities

PATIENCE = 10.0
"""Seconds that opening a store, or the rest of what is no call, may take at least; else as long as a call."""

LINE = "killed-before"
"""The file beside the stores in which a process notes the line that it is killed before."""


class KillDoor:
    """A store of a target that can be opened by name in another process: see `leasehold.targets.at_place`."""

    unit = "line of the store's code"
    not_killed = ""

    def __init__(
        self,
        target: str,
        capabilities: Capabilities,
        deadline: float,
        elsewhere: str = "",
        faults: Mapping[int, Callable[[], None]] | None = None,
    ) -> None:
        self.faults = faults or {}
        self.name = target
        self._target = elsewhere or target
        self.capabilities = capabilities
        self.deadline = deadline
        self.ends = math.inf
        self.hangs = False
        self.points = 0
        self.marks: list[int] = []
        self.counting = False
        """Every call tells its ``points`` and ``marks``."""
        self.opening = 0
        self.opening_marks: list[int] = []
        self._down = False
        self._nursery = Nursery(target)
        self._child: Child | None = None
        self._stores = 0
        self._lost = ""
        self._now = 0

    def reported_tier(self) -> Tier | None:
        """As declared."""
        return self.capabilities.tier

    def fresh(self, session_id: str) -> None:
        """A fresh store: an empty place of its own."""
        self._lost, self._down = "", False
        self._stores += 1
        self._open()

    def clock(self, now_ms: int) -> None:
        """Set the child's clock."""
        self._now = now_ms
        if self._lost or self._down:
            return
        self._must("clock", now_ms)

    def call(self, handle: int, op: str, args: tuple[Any, ...]) -> Answer:
        """One operation in the child."""
        return self._call(handle, op, args, AFTER if self.counting else 0)

    def crash(self, handle: int, op: str, args: tuple[Any, ...], at: int) -> Answer:
        """Make the call, and kill the process at the n-th line of the store's code in it, or after it."""
        if -at >= SERVER:
            return self._without_database(handle, op, args, at)
        answer = self._call(handle, op, args, at)
        self._end()  # if it was not killed on the way: it had fewer lines, or the answer was waited for
        self._down = True
        return answer

    def crash_reopen(self, at: int) -> None:
        """Open the store again, and kill the process at the n-th line of the store's code in that, or after it."""
        if self._lost:
            return
        if self._child is None:
            self._child, request = self._nursery.child(), self._opened(at)
        else:
            request = ("reopen", at)
        try:
            opening = self._child.ask(*request, timeout=self.patience + 1.0)
            if isinstance(opening, BrokenTarget):
                raise opening
            self.opening, self.opening_marks = opening
        except Gone:
            self._killed_before()  # as it was meant; no answer tells the line
        except (BrokenTarget, TimeoutError) as lost:
            self._lost = str(lost) or f"it took over {self.patience:g} s (--deadline allows more)"
        self._end()
        self._down = not self._lost

    def _up(self) -> None:
        """After a kill: the process is started, and the store opened again."""
        if not self._down:
            return
        self._down = False
        try:
            self._open()
            self._must("clock", self._now)
        except BrokenTarget as lost:  # it could be opened before, so this is the store's own
            self._lost = str(lost)

    def _without_database(self, handle: int, op: str, args: tuple[Any, ...], at: int) -> Answer:
        """The database below the store fails while the call is made; then every handle is opened again."""
        self._up()
        kind = CONNECTION if -at >= CONNECTION else SERVER
        if self._child is None or kind not in self.faults:
            return self._call(handle, op, args, 0)
        began = time.perf_counter()
        self._child.tell("call", handle, op, args, 0)
        while (time.perf_counter() - began) * 1_000_000 < -at - kind:
            pass  # no sleep is as short
        self.faults[kind]()
        answer = self._heard(op, 0)
        self._must("again", str(self._place), self._now)
        return answer

    def crashing(self) -> KillDoor:
        """This one."""
        return self

    def reopen(self) -> None:
        """Close every handle in the child, and open one again."""
        if self._down:
            self._up()
        elif not self._lost:
            try:
                self._must("reopen", 0)
            except BrokenTarget as lost:  # it could be opened before, so this is the store's own
                self._lost = str(lost)

    def restart(self) -> None:
        """Another process."""
        self._end()

    def close(self) -> None:
        """Nothing: the data goes with the door."""

    def shut(self) -> None:
        """End every process, and remove the data."""
        self._end()
        self._nursery.close()

    def _call(self, handle: int, op: str, args: tuple[Any, ...], at: int) -> Answer:
        self._up()
        if self._lost:
            return Err("backend", f"{CANNOT_BE_OPENED}: {self._lost}")
        if self._child is None:
            raise BrokenTarget(f"{self.name}: there is no process")
        try:
            self._child.tell("call", handle, op, args, at)
        except Gone:
            self._end()
            raise BrokenTarget(f"{self.name}: the process that holds the store ended by itself before {op}") from None
        return self._heard(op, at)

    def _heard(self, op: str, at: int) -> Answer:
        assert self._child is not None  # noqa: S101 - it was just told something
        try:
            answer, self.points, self.marks = self._child.hear(self.deadline)
        except Gone:
            self._end()
            if at <= 0:
                raise BrokenTarget(f"{self.name}: the process that holds the store ended by itself in {op}") from None
            return Unknown("the process was killed", self._killed_before())
        except TimeoutError:
            self._end()
            return Hung(self.deadline)
        if isinstance(answer, BrokenTarget):
            raise answer
        return answer  # type: ignore[no-any-return]  # what the child's door gave

    def _killed_before(self) -> tuple[str, int, str]:
        """The line of the store; none if the process ended in another way."""
        told = self._place.parent / LINE
        if not told.exists():
            return "", 0, ""
        number, _, file = told.read_text(encoding="utf-8").partition("\n")
        told.unlink()
        return Path(file).name, int(number), linecache.getline(file, int(number)).strip()

    def _must(self, *request: Any) -> None:
        if self._child is None:
            self._open()
        assert self._child is not None  # noqa: S101 - it was just made
        try:
            wrong = self._child.ask(*request, timeout=self.patience + 1.0)
        except Gone:
            self._end()
            raise BrokenTarget(f"{self.name}: the process that holds the store ended by itself in {request[0]}") from None
        except TimeoutError:
            self._end()
            raise BrokenTarget(f"{self.name}: {request[0]} took over {self.patience:g} s (--deadline allows more)") from None
        if isinstance(wrong, BrokenTarget):
            raise wrong

    def _open(self) -> None:
        """The store of the last label, in a child that is there or in a new one."""
        if self._child is None:
            self._child = self._nursery.child()
        self._must(*self._opened(0))

    def _opened(self, at: int) -> tuple[Any, ...]:
        """What a process is told that is to open the store, and to be killed at this point of it."""
        return ("open", self._target, str(self._place), self._now, self.patience, at)

    @property
    def patience(self) -> float:
        """Seconds that opening a store may take: it may have to recover."""
        return max(PATIENCE, self.deadline)

    @property
    def _place(self) -> Path:
        return self._nursery.place / f"store-{self._stores}"

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()


class ProcessesDoor(KillDoor):
    """Each handle is in a process of its own, so that nothing but the store's data is shared."""

    def __init__(self, target: str, capabilities: Capabilities, deadline: float, elsewhere: str = "") -> None:
        super().__init__(target, capabilities, deadline, elsewhere)
        self._children: dict[int, Child] = {}

    def fresh(self, session_id: str) -> None:
        """A fresh store, opened by every process that there is."""
        self._stores += 1
        for number in self._children:
            self._tell(number, *self._opened(0))

    def clock(self, now_ms: int) -> None:
        """Set the clock of every process."""
        self._now = now_ms
        for number in self._children:
            self._tell(number, "clock", now_ms)

    def call(self, handle: int, op: str, args: tuple[Any, ...]) -> Answer:
        """One operation in the handle's process. Threads may call, each with its own handle."""
        if handle not in self._children:
            self._children[handle] = self._nursery.child()
            self._tell(handle, *self._opened(0))
        answer: Answer = self._tell(handle, "call", 0, op, args, 0)[0]
        return answer

    def reopen(self) -> None:
        """Close and open again what every process has."""
        for number in self._children:
            self._tell(number, "reopen", 0)

    def shut(self) -> None:
        """End every process, and remove the data."""
        for child in self._children.values():
            child.kill()
        super().shut()

    def _tell(self, number: int, *request: Any) -> Any:
        try:
            said = self._children[number].ask(*request, timeout=self.patience + 1.0)
        except (Gone, TimeoutError):
            raise BrokenTarget(f"{self.name}: a process that holds the store did not do what {request[0]} says") from None
        if isinstance(said, BrokenTarget):
            raise said
        return said


class Served:
    """In the child: the store, and the answers to what the door asks."""

    def __init__(self, at_place: Callable[[str, Path], Factory]) -> None:
        self._at_place = at_place
        self._door: PythonDoor | None = None
        self._place = Path()
        self._target = ""

    def answer(self, request: tuple[Any, ...]) -> Any:
        """The reply; a `BrokenTarget` is one too."""
        try:
            return getattr(self, "_" + request[0])(*request[1:])
        except BrokenTarget as broken:
            return broken
        except Exception as error:  # noqa: BLE001 - whatever it is, the check has to hear of it
            return BrokenTarget(f"{request[0]} failed in the store's process: {type(error).__name__}: {error}")

    def _open(self, target: str, place: str, now: int, patience: float, at: int) -> tuple[int, list[int]]:
        if self._door is not None:
            self._door.close()
        self._place, self._target = Path(place), target
        self._place.mkdir(exist_ok=True)
        with self._fused(at) as fuse:
            self._door = PythonDoor(self._at_place(target, self._place), target, patience)
        self._door.clock(now)
        return (fuse.count, fuse.marks) if fuse else (0, [])

    def _call(self, handle: int, op: str, args: tuple[Any, ...], at: int) -> tuple[Answer, int, list[int]]:
        assert self._door is not None  # noqa: S101 - a store is opened first
        self._door.open(handle)
        with self._fused(at) as fuse:
            answer = self._door.call(handle, op, args)
        return (answer, fuse.count, fuse.marks) if fuse else (answer, 0, [])

    def _fused(self, at: int) -> AbstractContextManager[Fuse | None]:
        """A fuse, if the process is to be killed in what is done with it."""
        return Fuse(at, is_stores, self._place if at == AFTER else None, self._place.parent / LINE) if at else nullcontext()

    def _clock(self, now: int) -> None:
        assert self._door is not None  # noqa: S101 - a store is opened first
        self._door.clock(now)

    def _again(self, place: str, now: int) -> None:
        """Open the store anew, by its place; the old handles are left as they are."""
        self._door = PythonDoor(self._at_place(self._target, Path(place)), self._target)
        self._door.clock(now)

    def _reopen(self, at: int) -> tuple[int, list[int]]:
        assert self._door is not None  # noqa: S101 - a store is opened first
        with self._fused(at) as fuse:
            self._door.reopen()
        return (fuse.count, fuse.marks) if fuse else (0, [])
