"""What a history can be one of: for each model how a line becomes a call, and how its states and refusals are told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any

from attrs import evolve, frozen

from leasehold.logs.lines import Line, Log, hashable, shown
from leasehold_model.history import Call, Specification
from leasehold_model.register import UNKNOWN, Append, CompareAndSet, Lock, Mutex, Read, Register, Write

AnyCall = Call[Any, Any]


class LineError(Exception):
    """A line that is no call of the model. The message says why, and what to do. ``number``: the line's, where it is known."""

    number = 1


@frozen(kw_only=True)
class Model:
    """A kind of object. Whoever adds one registers it in `leasehold.logs.models`.

    ``call``: what a line asked and how it was answered, or None if it had no effect and says nothing; raises `LineError`.
    ``specification``: of the object, from this state on. ``initial``: its state before all calls, as far as the log says.
    ``unknown``: the state of which nothing is known, as after a gap; None if there is none: then no log with gaps can be judged.
    ``footprint``, ``alike``: as for `leasehold_model`. ``effectless``: a call that changes no object: leaving it out cannot make a
    right history wrong. ``idle``: one that besides tells nothing that a state does not hold already: the search may let it take
    effect at once. ``why_not``: why an answer is wrong in a state. ``told``, ``state``: both in words. ``of``: the model of one
    log, where it takes the whole log to know it.
    """

    about: str
    specification: Callable[[Any], Specification[Any]]
    call: Callable[[Line], tuple[Any, Any] | None]
    initial: Callable[[Log], Any]
    unknown: Hashable | None
    footprint: Callable[[AnyCall], Collection[Hashable]]
    alike: Callable[[AnyCall], Hashable] | None
    effectless: Callable[[AnyCall], bool]
    why_not: Callable[[Any, AnyCall], str]
    told: Callable[[AnyCall], str]
    state: Callable[[Any], str]
    idle: Callable[[AnyCall], bool] | None = None
    of: Callable[[Log], Model] | None = None


# -- registers -------------------------------------------------------------------------------------------------------------------

_ARGUMENTS = {"read": 0, "write": 1, "cas": 2, "append": 1, "acquire": 0, "release": 0}
_REGISTER, _ALL = ("read", "write"), ("read", "write", "cas", "append")
_LOCK = ("acquire", "release")


def _arguments(line: Line, ops: Sequence[str]) -> Sequence[Any]:
    """A line's arguments, as many as its operation has."""
    if line.op not in ops:
        raise LineError(f"{line.op!r} is no operation of this model; there are {', '.join(ops)}. Try another --model.")
    args: Any = line.args
    if not isinstance(args, list | tuple) or len(args) != _ARGUMENTS[line.op]:
        raise LineError(f"{line.op} takes {_ARGUMENTS[line.op]} arguments, not {shown(args)}.")
    return args


def _of_register(ops: Sequence[str], *, keyed: bool) -> Callable[[Line], tuple[Any, Any] | None]:
    def call(line: Line) -> tuple[Any, Any] | None:
        line = _split(line) if keyed and line.key is None else line
        if line.key is not None and not keyed:
            raise LineError(
                f"it has the key {shown(line.key)}: this is a history of several registers. Try --model multi-register."
            )
        args = _arguments(line, ops)
        if line.outcome == "err" or (line.op == "read" and line.outcome == "unknown"):
            return None
        values = [hashable(one) for one in args]
        match line.op:
            case "read":
                return Read(line.key), hashable(line.value)
            case "write":
                return Write(values[0], line.key), None
            case "cas":
                if line.outcome == "ok" and not isinstance(line.value, bool):
                    raise LineError(f"cas is answered with true or false, not with {shown(line.value)}.")
                return CompareAndSet(values[0], values[1], line.key), line.value
            case _:
                added = values[0] if isinstance(values[0], str) else (values[0],)
                return Append(added, line.key), None

    return call


def _split(line: Line) -> Line:
    """A line whose value is a pair of key and value, as Jepsen's independent registers have it."""
    if not line.paired:
        raise LineError('it has no "key". Give each line one, or try another --model.')
    if line.op == "read":
        if line.outcome != "ok":
            return line
        pair = line.value
    else:
        pair = line.args if line.op == "cas" else line.args[0] if line.args else ()
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise LineError("it has no :key, and its value is no pair of key and value. Try another --model.")
    key, value = hashable(pair[0]), pair[1]
    if line.op == "read":
        return evolve(line, key=key, value=value)
    return evolve(line, key=key, args=value if line.op == "cas" else (value,))


def _register_told(call: AnyCall) -> str:
    match call.action:
        case Read():
            text = f"read: {shown(call.answer)}"
        case Write(value):
            text = f"write {shown(value)}"
        case CompareAndSet(old, new):
            text = f"cas {shown(old)} to {shown(new)}"
            text += "" if not call.definite else ": done" if call.answer else ": refused"
        case _:
            text = f"append {shown(call.action.value)}"
    return text + ("" if call.definite else ", answer lost")


def _register_why(state: Any, call: AnyCall) -> str:
    holds = f"the register holds {_register_state(state)}"
    match call.action:
        case Read():
            return f"{holds}, not {shown(call.answer)}"
        case CompareAndSet(old, _):
            return f"{holds}, not {shown(old)}" if not call.definite or call.answer else f"{holds}, so it should have been done"
        case _:
            return "it can always take effect"


def _register_state(state: Any) -> str:
    return "something unknown" if state is UNKNOWN else shown(state)


def _register_effectless(call: AnyCall) -> bool:
    action = call.action
    return isinstance(action, Read) or (isinstance(action, CompareAndSet) and call.definite and not call.answer)


def _register(about: str, ops: Sequence[str], *, keyed: bool = False) -> Model:
    return Model(
        about=about,
        specification=Register,
        call=_of_register(ops, keyed=keyed),
        initial=lambda log: hashable(log.initial[0]) if log.initial else None,
        unknown=UNKNOWN,
        footprint=lambda call: (call.action.key,),
        alike=lambda call: (call.action, call.definite, call.answer),
        effectless=_register_effectless,
        idle=_register_effectless,
        why_not=_register_why,
        told=_register_told,
        state=_register_state,
    )


# -- mutexes ---------------------------------------------------------------------------------------------------------------------


def _of_mutex(line: Line) -> tuple[Any, Any] | None:
    _arguments(line, _LOCK)
    if line.outcome == "err":
        return None
    if line.outcome == "ok" and not isinstance(line.value, bool):
        raise LineError(f"{line.op} is answered with true or false, not with {shown(line.value)}.")
    return Lock("acquire" if line.op == "acquire" else "release", line.key), line.value


def _mutex_told(call: AnyCall) -> str:
    op: str = call.action.op
    return op + (", answer lost" if not call.definite else ": done" if call.answer else ": refused")


def _mutex_effectless(call: AnyCall) -> bool:
    return call.definite and not call.answer


def _mutex_state(state: Any) -> str:
    return "held or free" if state is UNKNOWN else "held" if state else "free"


_MUTEX = Model(
    about="acquire and release, whoever holds it; side by side with other mutexes, one for each key",
    specification=Mutex,
    call=_of_mutex,
    initial=lambda log: bool(log.initial and log.initial[0]),
    unknown=UNKNOWN,
    footprint=lambda call: (call.action.key,),
    alike=lambda call: (call.action, call.definite, call.answer),
    effectless=_mutex_effectless,
    idle=_mutex_effectless,
    why_not=lambda state, _: f"the mutex is {_mutex_state(state)}",
    told=_mutex_told,
    state=_mutex_state,
)

OBJECTS: dict[str, Model] = {
    "register": _register("read and write", _REGISTER),
    "cas-register": _register("read, write, compare-and-set (cas) and append", _ALL),
    "multi-register": _register("the same, on registers side by side, one for each key", _ALL, keyed=True),
    "mutex": _MUTEX,
}
"""Plain objects: what other checkers judge, too."""


def guess(log: Log) -> str:
    """The model that the operations of a log are of; empty if there is none."""
    ops = {line.op for line in log.lines}
    if ops <= set(_LOCK):
        return "mutex"
    if not ops <= set(_ALL):
        return ""
    if any(line.key is not None for line in log.lines):
        return "multi-register"
    return "register" if ops <= set(_REGISTER) else "cas-register"
