"""The search for a linearization: known verdicts, brute force, memory and budget. Wrong searches disagree with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from leasehold_model.history import Call, Specification
from leasehold_model.linearize import Result, Search, linearize
from leasehold_model.register import CompareAndSet, Read, Register, Write
from tests.model.histories import History, call, drawn, explains, holds, in_real_time

REGISTER = Register(0)

KNOWN = {
    "nothing was called": (True, []),
    "one after the other": (True, [call(0, 1, Write(1)), call(2, 3, Read(), 1)]),
    "a stale read": (False, [call(0, 1, Write(1)), call(2, 3, Read(), 0)]),
    "a read during the write may see either": (True, [call(0, 9, Write(1)), call(1, 2, Read(), 0), call(3, 4, Read(), 1)]),
    "but not go back": (False, [call(0, 9, Write(1)), call(1, 2, Read(), 1), call(3, 4, Read(), 0)]),
    "what ends when another starts overlaps it": (True, [call(0, 1, Write(1)), call(1, 2, Read(), 0)]),
    "all at one moment": (True, [call(5, 5, Read(), 1), call(5, 5, Write(1)), call(5, 5, Read(), 0)]),
    "both of two compare-and-sets win": (
        False,
        [call(0, 5, CompareAndSet(0, 1), True), call(0, 5, CompareAndSet(0, 2), True), call(6, 7, Read(), 1)],
    ),
    "one of two wins": (True, [call(0, 5, CompareAndSet(0, 1), False), call(0, 5, CompareAndSet(0, 2), True)]),
    "a lost write took effect": (True, [call(0, None, Write(1)), call(5, 6, Read(), 1)]),
    "a lost write did not": (True, [call(0, None, Write(1)), call(5, 6, Read(), 0)]),
    "a lost write took effect late": (True, [call(0, None, Write(1)), call(5, 6, Read(), 0), call(7, 8, Read(), 1)]),
    "a lost write took effect twice": (
        False,
        [call(0, None, Write(1)), call(1, 2, Read(), 1), call(3, 4, Write(0)), call(5, 6, Read(), 1)],
    ),
    "a lost write took effect before it was called": (False, [call(1, 2, Read(), 1), call(3, None, Write(1))]),
    "lost but over: not later than its end": (
        False,
        [call(0, 1, Write(1), definite=False), call(2, 3, Read(), 0), call(4, 5, Read(), 1)],
    ),
    "lost but over: it did in time": (
        True,
        [call(0, 3, Write(1), definite=False), call(2, 3, Read(), 0), call(4, 5, Read(), 1)][:2],
    ),
    "of two lost calls the wrong one must not be used up": (
        True,
        [
            call(0, None, Write(1)),
            call(0, None, CompareAndSet(0, 1)),
            call(1, 2, Read(), 1),
            call(3, 4, Write(2)),
            call(5, 6, Read(), 1),
        ],
    ),
    "it never returned, but would have answered so": (False, [call(0, None, CompareAndSet(1, 2), True), call(3, 4, Read(), 2)]),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_verdicts(name: str) -> None:
    linearizable, calls = KNOWN[name]
    assert holds(calls, REGISTER) == linearizable
    assert linearize(calls, REGISTER).verdict == ("linearizable" if linearizable else "not linearizable")


def test_what_ends_before_it_starts_is_no_call() -> None:
    with pytest.raises(ValueError, match="call 0 ends at 3, before its start at 4"):
        linearize([call(4, 3, Write(1))], REGISTER)


# -- against brute force ---------------------------------------------------------------------------------------------------------

HISTORIES = [drawn(Random(seed)) for seed in range(3000)]


@cache
def truth() -> list[bool]:
    """Which of them are linearizable, by brute force."""
    return [holds(calls, REGISTER) for calls in HISTORIES]


def by_action(one: Call[Any, Any]) -> object:
    return one.action, one.definite, one.answer


def effectless(one: Call[Any, Any]) -> bool:
    return isinstance(one.action, Read) or (isinstance(one.action, CompareAndSet) and not one.answer)


def check_result(calls: History, result: Result[Any], specification: Specification[Any] = REGISTER) -> None:
    """The order is one, and explains what it says."""
    order = [calls[index] for index in result.order]
    assert len(set(result.order)) == len(order)
    assert in_real_time(order) and explains(order, specification)
    assert linearize([], Register(result.state)).state == result.state
    answered = {index for index, one in enumerate(calls) if one.definite and one.end is not None}
    if result.verdict == "linearizable":
        assert answered <= set(result.order) and result.stuck is None
        return
    assert result.stuck in answered - set(result.order) or (result.verdict == "undecided" and not answered)
    end = calls[result.stuck].end if result.stuck is not None else 0
    assert end is not None
    earlier = {index for index in answered if (calls[index].end or 0) < end}
    assert earlier <= set(result.order), "what returned before is explained"


def up_to(calls: History, stuck: int) -> History:
    """What was called up to a return. What was open then may be without effect yet."""
    end = calls[stuck].end or 0
    before = [one for one in calls if one.start <= end]
    return [evolve(one, end=None) if one.definite and one.end is not None and one.end > end else one for one in before]


def test_brute_force_agrees() -> None:
    verdicts = Counter[tuple[str, bool]]()
    for calls, right in zip(HISTORIES, truth(), strict=True):
        expected = "linearizable" if right else "not linearizable"
        plain, alike, idle = (
            linearize(calls, REGISTER),
            linearize(calls, REGISTER, alike=by_action),
            linearize(calls, REGISTER, None, by_action, effectless),
        )
        assert plain.verdict == alike.verdict == idle.verdict == expected, calls
        for result in (plain, alike, idle):
            check_result(calls, result)
        if plain.stuck is not None:
            assert plain.stuck == alike.stuck == idle.stuck
            assert not holds(up_to(calls, plain.stuck), REGISTER)
        verdicts[expected, any(not one.definite for one in calls)] += 1
    assert len(verdicts) == 4 and min(verdicts.values()) > 200, verdicts


def lost_is_taken(calls: History) -> History:
    return [evolve(one, definite=True, answer=True, end=99 if one.end is None else one.end) for one in calls]


WRONG: dict[str, Callable[[History], History]] = {
    "ignores real time": lambda calls: [evolve(one, start=0, end=None if one.end is None else 99) for one in calls],
    "orders what overlaps": lambda calls: [evolve(one, end=None if one.end is None else one.start) for one in calls],
    "takes lost calls": lost_is_taken,
    "drops lost calls": lambda calls: [one for one in calls if one.definite],
    "lost calls end": lambda calls: [evolve(one, end=one.start if one.end is None else one.end) for one in calls],
    "lost calls never end": lambda calls: [one if one.definite else evolve(one, end=None) for one in calls],
}


@pytest.mark.parametrize("name", WRONG)
def test_twin_a_wrong_search_disagrees(name: str) -> None:
    """A search that took a history for such another one would be noticed."""
    wrong = [
        (linearize(WRONG[name](calls), REGISTER).verdict == "linearizable") != right
        for calls, right in zip(HISTORIES, truth(), strict=True)
    ]
    assert sum(wrong) >= 3


def test_twin_what_is_said_of_calls_has_to_be_true() -> None:
    calls = [call(0, None, Write(1)), call(1, None, Write(2)), call(2, 3, Read(), 2), call(4, 5, Read(), 1)]
    assert linearize(calls, REGISTER, alike=by_action).verdict == "linearizable"
    assert linearize(calls, REGISTER, alike=lambda _: 0).verdict == "not linearizable"
    calls = [call(0, 9, Write(1)), call(1, 2, Write(2)), call(10, 11, Read(), 1)]
    assert linearize(calls, REGISTER, effectless=effectless).verdict == "linearizable"
    assert linearize(calls, REGISTER, effectless=lambda _: True).verdict == "not linearizable"


class Hasty(Search[Any]):
    """It remembers configurations without what they used up."""

    def _new(self, at: int, done: int, used: int, state: Any) -> bool:
        return super()._new(at, done, 0, state)


class Narrow(Search[Any]):
    """It lets no other call take effect before the one that returns."""

    def _widen(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize("search", [Hasty, Narrow])
def test_twin_a_search_that_leaves_out_too_much_disagrees(search: type[Search[Any]]) -> None:
    answers = [(search(calls, REGISTER).run().verdict == "linearizable") != right for right, calls in KNOWN.values()]
    assert any(answers)


class Dice:
    """A register whose write may leave the value or the one after it: nondeterministic."""

    def initial(self) -> Any:
        return 0

    def next(self, state: Any, one: Call[Any, Any]) -> Sequence[Any]:
        match one.action:
            case Read():
                return (state,) if not one.definite or one.answer in (state, None) else ()
            case Write(int(value)):
                return (value, (value + 1) % 3)
            case _:
                return ((state + 1) % 3, state) if one.answer else ()


def test_brute_force_agrees_with_several_states_after_a_call() -> None:
    verdicts = Counter[str]()
    for calls in HISTORIES[:1500]:
        result = linearize(calls, Dice())
        assert (result.verdict == "linearizable") == holds(calls, Dice()), calls
        verdicts[result.verdict] += 1
    assert min(verdicts.values()) > 200


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(0, 300))
def test_moving_all_times_or_the_order_of_the_calls_changes_nothing(seed: int, factor: int, shift: int) -> None:
    random = Random(seed)
    calls = drawn(random)
    verdict = linearize(calls, REGISTER).verdict
    moved = [
        evolve(one, start=one.start * factor + shift, end=None if one.end is None else one.end * factor + shift) for one in calls
    ]
    random.shuffle(moved)
    assert linearize(moved, REGISTER).verdict == verdict


@given(st.integers(0, 2**32))
def test_more_time_for_a_call_never_hurts(seed: int) -> None:
    random = Random(seed)
    calls = drawn(random)
    chosen = random.randrange(len(calls))
    one = calls[chosen]
    wider = [*calls[:chosen], evolve(one, start=one.start - 1, end=None if one.end is None else one.end + 1), *calls[chosen + 1 :]]
    if linearize(calls, REGISTER).verdict == "linearizable":
        assert linearize(wider, REGISTER).verdict == "linearizable"
    else:
        assert not holds(calls, REGISTER)


# -- cost ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writers", [4, 8, 12])
def test_no_configuration_is_tried_twice(writers: int) -> None:
    """There are (writers)! orders, but at most a set of writes and the last one of them to remember at each of the returns."""
    calls = [call(0, 9, Write(value)) for value in range(writers)]
    result = linearize([*calls, call(0, 8, Read(), -1)], REGISTER)
    assert result.verdict == "not linearizable"
    assert result.visited <= writers * 2 ** (writers - 1) + 1


@pytest.mark.parametrize("lost", [5, 50, 500])
def test_lost_calls_do_not_multiply(lost: int) -> None:
    """A subset of them each was what made lost answers exponential."""
    calls = [call(0, None, Write(value % 5)) for value in range(lost)]
    reads = [call(2 * at, 2 * at + 1, Read(), at % 5) for at in range(1, 4)]
    result = linearize([*calls, *reads, call(20, 21, Read(), 7)], REGISTER, alike=lambda one: one.action)
    assert result.verdict == "not linearizable"
    assert result.stuck == lost + 3
    assert result.visited <= 50


def test_a_long_history_costs_no_recursion_and_little() -> None:
    calls = [call(3 * at, 3 * at + 1 + at % 4, Write(at)) for at in range(20_000)]
    result = linearize(calls, REGISTER)
    assert (result.verdict, len(result.order)) == ("linearizable", 20_000)
    assert result.visited <= 20_001


def test_a_budget_ends_in_undecided_and_never_in_a_wrong_verdict() -> None:
    seen = Counter[str]()
    for calls in HISTORIES[:1000]:
        whole = linearize(calls, REGISTER)
        for budget in range(whole.visited + 2):
            result = linearize(calls, REGISTER, budget)
            assert result.verdict == ("undecided" if budget < whole.visited else whole.verdict)
            assert result.visited == min(budget, whole.visited)
            if result.verdict == "undecided":
                check_result(calls, result)
            seen[result.verdict] += 1
    assert min(seen.values()) > 500 and len(seen) == 3


def test_a_search_goes_on_where_it_stopped() -> None:
    for calls in HISTORIES[:500]:
        search = Search(calls, REGISTER)
        result = search.run(0)
        while result.verdict == "undecided":
            result = search.run(search.visited + 1)
        assert result == linearize(calls, REGISTER) == search.run()
