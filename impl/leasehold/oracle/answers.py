"""What comes back from a store, and the door through which a store is reached."""

from __future__ import annotations

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
    """Indefinite: the call may or may not have taken effect."""

    message: str


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
