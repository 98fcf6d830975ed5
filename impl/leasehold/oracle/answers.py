"""What comes back from a store, and the door through which a store is reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from attrs import field, frozen

from leasehold.store import Capabilities


@frozen
class Ok:
    """The operation's value."""

    value: Any


@frozen
class Err:
    """A definite refusal. ``untyped``: the store raised something that is no refusal, so its code means nothing (LAW-15)."""

    code: str
    message: str
    details: dict[str, Any] = field(factory=dict)
    untyped: bool = False


@frozen
class Unknown:
    """Indefinite: the call may or may not have taken effect.

    ``place``: the line of the store that its process was killed before, as file, number and text, where that is known.
    """

    message: str
    place: tuple[str, int, str] = ("", 0, "")


@frozen
class Skip:
    """The store does not offer the operation."""

    reason: str


@frozen
class Hung:
    """The call did not end within the deadline (LAW-13)."""

    seconds: float


@frozen
class Misshapen:
    """A value that is not what the operation gives. Wrong where nothing but a refusal is right; else it is the adapter's fault."""

    value: Any
    why: str


Answer: TypeAlias = Ok | Err | Unknown | Skip | Hung | Misshapen


class BrokenTarget(Exception):
    """The set-up, not the store, is at fault: nothing can be said about the store. The message says what to do."""


class NoReply(BrokenTarget):
    """An adapter program did not reply within the deadline."""


class OutOfTime(Exception):
    """The door is to be used no longer: the time that there was for it is used up."""


class Door(Protocol):
    """How the oracle reaches one store at a time."""

    capabilities: Capabilities
    name: str
    deadline: float
    ends: float
    """Until when the door may be used, by the monotonic clock."""

    hangs: bool
    """The store was seen to hang, and not its adapter: another call without an answer needs no second look."""

    def reported_tier(self) -> str | None:
        """The durability tier that the store itself reports (TIER-1), where it can."""
        ...

    def fresh(self, session_id: str) -> None:
        """A fresh, empty store with handle 0; what was there before is dropped."""
        ...

    def clock(self, now_ms: int) -> None:
        """From now on the store's time is this."""
        ...

    def call(self, handle: int, op: str, args: tuple[Any, ...]) -> Answer:
        """One operation on a handle, which is opened if it is not yet."""
        ...

    def reopen(self) -> None:
        """Close every handle, then open handle 0 again."""
        ...

    def restart(self) -> None:
        """What runs the store is ended, however stuck, and started anew, without a store."""
        ...

    def close(self) -> None:
        """Drop the store and whatever holds it."""
        ...

    not_killed: str
    """Why the process that holds the store cannot be killed; empty: it can."""

    def crashing(self) -> Crashing | None:
        """A door to such stores whose process can be killed; perhaps this one."""
        ...


CANNOT_BE_OPENED = "after the kill the store could not be opened again"
"""How the message of an answer begins, where there is no store any more that could answer."""

AFTER = -1
"""Instead of a point: the process is killed right after the call was answered."""

CHANGE = 1_000_000_000
"""Where points are times: from here on a point is the change of a file after which the process is killed, counted from 1."""

SERVER, CONNECTION = 1_000_000, 2_000_000
"""Instead of a point, negative and less so many microseconds after the call was sent: the database server is killed and started
again, or the connections to it are ended; the process lives.
"""


def by_the_clock(unit: str) -> bool:
    """Points are times, so a process is hardly ever killed at the same one again."""
    return unit.startswith("microsecond")


def fault(kill: int, unit: str, end: str = "the answer", place: tuple[str, int, str] = ("", 0, "")) -> str:
    """What happened to a call, or to what ends otherwise than with an answer, in words. ``unit``: what a point is."""
    if kill == 0:
        return ""
    file, number, text = place
    if kill > 0 and file:
        return f"the store's process was killed before line {number} of {file} ({text}), and started again"
    if kill == AFTER:
        return f"the store's process was killed right after {end}, and started again"
    if kill > CHANGE:
        return f"the store's process was killed after {_count(kill - CHANGE, 'change')} of its files, and started again"
    if kill > 0:
        what, _, of = (unit or "point of the call").partition(" ")
        if what == "line":
            return f"the store's process was killed after it had run {_count(kill - 1, what)} {of}, and started again"
        return f"the store's process was killed at {what} {kill} {of}, and started again"
    if -kill >= CONNECTION:
        return f"the store's connections were ended {-kill - CONNECTION} microseconds after the call was sent"
    return f"the database server was killed {-kill - SERVER} microseconds after the call was sent, and started again"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


class Crashing(Door, Protocol):
    """A door whose store's process can be killed in the middle of a call."""

    points: int
    """How many points the last call had that was not killed at one."""

    marks: list[int]
    """At which of them data had just been written, so far as that can be told."""

    unit: str
    """What a point is."""

    faults: Mapping[int, Callable[[], None]]
    """What else can be made to fail: `SERVER`, `CONNECTION`."""

    opening: int
    """How many points it had when the store was last opened again."""

    opening_marks: list[int]
    """At which of them data had just been written, so far as that can be told."""

    def crash(self, handle: int, op: str, args: tuple[Any, ...], at: int) -> Answer:
        """Make a call and kill the process at this point of it, or `AFTER`. What is asked next starts it and opens the store again.

        The answer, if it came before the process ended; else `Unknown`.
        """
        ...

    def crash_reopen(self, at: int) -> None:
        """Close the store, unless its process was just killed, open it again, and kill the process at this point of that."""
        ...

    def shut(self) -> None:
        """End whatever runs."""
        ...
