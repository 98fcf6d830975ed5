"""The register and the mutex, as one client alone sees them."""

from __future__ import annotations

from typing import Any

import pytest

from leasehold_model.history import Call
from leasehold_model.register import UNKNOWN, Append, CompareAndSet, Lock, Mutex, Read, Register, Write


def after(specification: Register | Mutex, state: Any, action: Any, answer: Any = None, *, definite: bool = True) -> list[Any]:
    return list(specification.next(state, Call(0, 0, 1, action, answer, definite)))


@pytest.mark.parametrize(
    ("state", "action", "answer", "states"),
    [
        (3, Read(), 3, [3]),
        (3, Read(), 4, []),
        (None, Read(), None, [None]),
        (3, Write(4), None, [4]),
        (3, CompareAndSet(3, 4), True, [4]),
        (3, CompareAndSet(3, 4), False, []),
        (3, CompareAndSet(2, 4), True, []),
        (3, CompareAndSet(2, 4), False, [3]),
        (None, Append("x"), None, ["x"]),
        ("x", Append("y"), None, ["xy"]),
        ((1,), Append((2,)), None, [(1, 2)]),
    ],
)
def test_a_register(state: Any, action: Any, answer: Any, states: list[Any]) -> None:
    assert after(Register(), state, action, answer) == states


@pytest.mark.parametrize(
    ("action", "states"),
    [(Read(), [3]), (Write(4), [4]), (CompareAndSet(3, 4), [4]), (CompareAndSet(2, 4), [])],
)
def test_a_register_when_the_answer_is_lost(action: Any, states: list[Any]) -> None:
    assert after(Register(), 3, action, definite=False) == states


@pytest.mark.parametrize(
    ("held", "op", "answer", "states"),
    [
        (False, "acquire", True, [True]),
        (True, "acquire", True, []),
        (True, "acquire", False, [True]),
        (False, "acquire", False, []),
        (True, "release", True, [False]),
        (False, "release", True, []),
        (False, "release", False, [False]),
        (True, "release", False, []),
    ],
)
def test_a_mutex(held: bool, op: Any, answer: bool, states: list[bool]) -> None:
    assert after(Mutex(), held, Lock(op), answer) == states


def test_a_mutex_when_the_answer_is_lost() -> None:
    assert after(Mutex(), False, Lock("acquire"), definite=False) == [True]
    assert after(Mutex(), True, Lock("acquire"), definite=False) == []


def test_where_they_begin() -> None:
    assert (Register().initial(), Register(7).initial(), Mutex().initial(), Mutex(True).initial()) == (None, 7, False, True)


def test_other_calls_are_none_of_theirs() -> None:
    with pytest.raises(TypeError, match="no call of a register"):
        after(Register(), 0, Lock("acquire"))


ACTIONS = [
    *((Read(), answer) for answer in (0, 1, None)),
    *((Write(value), None) for value in (0, 1)),
    *((CompareAndSet(old, new), answer) for old in (0, 1) for new in (0, 1) for answer in (False, True)),
]
LOCKS = [(Lock(op), answer) for op in ("acquire", "release") for answer in (False, True)]


@pytest.mark.parametrize("definite", [True, False])
def test_an_unknown_object_allows_all_that_one_in_a_known_state_does(definite: bool) -> None:
    """Each state after a call in a known one is among those after it in the unknown one, or these have the unknown one."""
    specification: Register | Mutex
    for specification, calls, states in ((Register(), ACTIONS, [0, 1, 2, None]), (Mutex(), LOCKS, [False, True])):
        for action, answer in calls:
            unknown = after(specification, UNKNOWN, action, answer, definite=definite)
            for state in states:
                known = after(specification, state, action, answer, definite=definite)
                assert UNKNOWN in unknown or set(known) - ({state} if not definite else set()) <= set(unknown), (state, action)


def test_an_unknown_register_is_known_by_its_first_read() -> None:
    assert after(Register(), UNKNOWN, Read(), 5) == [5]
    assert after(Register(), UNKNOWN, CompareAndSet(1, 2), True) == [2]
    assert after(Register(), UNKNOWN, CompareAndSet(1, 2), False) == [UNKNOWN]
    assert after(Register(), UNKNOWN, Append("x")) == [UNKNOWN]
    assert after(Mutex(), UNKNOWN, Lock("release"), True) == [False]
    assert after(Mutex(), UNKNOWN, Lock("release"), False) == [False]
