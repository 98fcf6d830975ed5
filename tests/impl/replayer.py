"""A replayer of conformance vectors for stores in this process. It knows nothing but their documented format (specs/README.md)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from leasehold.store import Refusal, VirtualClock
from leasehold.wire.codec import decode_args, encode_result

Vector = dict[str, Any]


class Differs(AssertionError):
    """An answer is not the expected one. ``rule``: the requirement that decides it."""

    def __init__(self, number: int, step: dict[str, Any], given: Any) -> None:
        expected = step.get("expect")
        super().__init__(f"step {number}, {step['op']}, {step['rule']}: expected {expected}, got {given}")
        self.rule: str = step["rule"]


class Handles:
    """The handles of one store: the first one is the store, others are opened on it."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.open = {0: store}

    def call(self, number: int, op: str, args: Any) -> dict[str, Any]:
        """The reply, in the wire's JSON."""
        if number not in self.open:
            self.open[number] = self.store.open_handle()
        try:
            return {"ok": encode_result(op, getattr(self.open[number], op)(*decode_args(op, args)))}
        except Refusal as refusal:
            return {"err": {"code": refusal.code}}
        except Exception as error:  # noqa: BLE001 - a wrong store may do anything
            return {"raised": repr(error)}

    def reopen(self) -> None:
        """Close every handle, and open one again."""
        for handle in self.open.values():
            handle.close()
        self.open = {0: self.store.open_handle()}

    def end(self) -> None:
        """Close them all, and let the data go. Nothing is judged here."""
        for end in [getattr(handle, "close", None) for handle in self.open.values()] + [getattr(self.store, "drop", None)]:
            if end is not None:
                with contextlib.suppress(Exception):
                    end()


def replay(vector: Vector, factory: Callable[..., Any]) -> None:
    """Raises `Differs` at the first answer that is not right."""
    assert vector["format"] == 1
    clock, bound = VirtualClock(0), dict[str, Any]()
    handles = Handles(factory(clock))
    try:
        for number, step in enumerate(vector["steps"], start=1):
            clock.now = step["at"]
            if step["op"] == "reopen":
                handles.reopen()
                continue
            reply = handles.call(step["handle"], step["op"], filled(step["args"], bound))
            if not (right(step["expect"], reply, bound) and ordered(vector, bound)):
                raise Differs(number, step, reply)
    finally:
        handles.end()


def right(expect: dict[str, Any], reply: dict[str, Any], bound: dict[str, Any]) -> bool:
    """``{}`` is met by any answer, but not by a crash."""
    if "ok" in expect:
        return "ok" in reply and fits(expect["ok"], reply["ok"], bound)
    if "err" in expect:
        return "err" in reply and expect["err"].get("code") in (None, reply["err"]["code"])
    return "raised" not in reply


def filled(value: Any, bound: dict[str, Any]) -> Any:
    """The arguments, with what the names in them stand for."""
    match value:
        case dict():
            return {key: filled(member, bound) for key, member in value.items()}
        case list():
            return [filled(member, bound) for member in value]
        case str() if value.startswith("$"):
            return bound[value]
        case _:
            return value


def fits(pattern: Any, value: Any, bound: dict[str, Any]) -> bool:
    """The value is what the pattern says; names that are new are bound."""
    match pattern:
        case str() if pattern.startswith("$"):
            return value is not None and bool(bound.setdefault(pattern, value) == value)
        case {"$any": True}:
            return True
        case {"$between": [low, high]}:
            return bool(low <= value <= high)
        case {"$unordered": wanted}:
            return len(wanted) == len(value) and all(any(fits(each, one, bound) for one in value) for each in wanted)
        case dict():
            return isinstance(value, dict) and all(fits(member, value.get(key), bound) for key, member in pattern.items())
        case list():
            return isinstance(value, list) and len(value) == len(pattern) and all(map(fits, pattern, value, [bound] * len(value)))
        case _:
            return type(pattern) is type(value) and bool(pattern == value)


def ordered(vector: Vector, bound: dict[str, Any]) -> bool:
    """Names that have to differ do, numbers that have to rise do, as far as they are bound."""
    groups = [[bound[name] for name in group if name in bound] for group in vector["distinct"]]
    return all(len(set(group)) == len(group) for group in groups) and all(rises(chain, bound) for chain in vector["rising"])


def rises(chain: list[Any], bound: dict[str, Any]) -> bool:
    """Strictly, from left to right."""
    known = [bound.get(one, one) for one in chain if one in bound or isinstance(one, int)]
    return known == sorted(set(known))
