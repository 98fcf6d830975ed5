"""Plain objects as sequential specifications: a register (read, write, compare-and-set, append) and a mutex."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Literal

from attrs import frozen

from leasehold_model.history import Call


@frozen(eq=False)
class Unknown:
    """The state of an object of which nothing is known. It allows whatever one of its possible states does."""


UNKNOWN = Unknown()


@frozen
class Read:
    """Answered with the value."""

    key: Hashable = None


@frozen
class Write:
    """Answered with anything."""

    value: Hashable
    key: Hashable = None


@frozen
class CompareAndSet:
    """Set to ``new`` if it is ``old``; answered with whether it was."""

    old: Hashable
    new: Hashable
    key: Hashable = None


@frozen
class Append:
    """Add to the end of a text, or of a tuple; answered with anything."""

    value: str | tuple[Hashable, ...]
    key: Hashable = None


@frozen
class Register:
    """One register. ``key`` plays no part: registers side by side are judged one by one (`history.parts`)."""

    start: Hashable = None

    def initial(self) -> Hashable:
        """As told."""
        return self.start

    def next(self, state: Hashable, call: Call[Any, Any]) -> Sequence[Hashable]:
        """What the register holds afterwards."""
        match call.action:
            case Read():
                if state is UNKNOWN and call.definite:
                    return (call.answer,)
                return (state,) if not call.definite or state == call.answer else ()
            case Write(value):
                return (value,)
            case CompareAndSet(old, new):
                possible = [] if state is not UNKNOWN and state != old else [new]
                if not call.definite or call.answer:
                    return possible
                return () if state == old else (state,)
            case Append(value):
                if state is UNKNOWN:
                    return (state,)
                if isinstance(state, str) and isinstance(value, str):
                    return (state + value,)
                if isinstance(state, tuple) and isinstance(value, tuple):
                    return (state + value,)
                return (value,) if state is None else ()
            case _:
                raise TypeError(f"no call of a register: {call.action}")


@frozen
class Lock:
    """Acquire or release a mutex; answered with whether that was possible."""

    op: Literal["acquire", "release"]
    key: Hashable = None


@frozen
class Mutex:
    """A mutex, whoever holds it. Its state is whether it is held."""

    held: Hashable = False

    def initial(self) -> Hashable:
        """As told."""
        return self.held

    def next(self, state: Hashable, call: Call[Any, Any]) -> Sequence[Hashable]:
        """Whether the mutex is held afterwards."""
        after = call.action.op == "acquire"
        if not call.definite or call.answer:
            return () if state == after else (after,)
        return (after,) if state is UNKNOWN or state == after else ()
