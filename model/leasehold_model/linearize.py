"""Is there an order of the calls that a sequential specification allows, and that keeps what was over before what began later?

Wing & Gong, "Testing and verifying concurrent objects" (1993), with Lowe's improvements, "Testing for linearizability" (2017): no
configuration is tried twice, and a call takes effect just in time, when a return forces it. Calls that may never have taken effect
are never forced. All they can do is help others: so one that changes nothing is not tried, nor a configuration that used up
more of them than another that is the same in all else.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Generic, Literal

from attrs import frozen

from leasehold_model.history import Call, S, Specification

Verdict = Literal["linearizable", "not linearizable", "undecided"]
_Calls = Sequence[Call[Any, Any]]
_Alike = Callable[[Call[Any, Any]], Hashable] | None
_Effectless = Callable[[Call[Any, Any]], bool] | None
_Order = tuple[Any, int] | None
"""A linked list, the last call first: orders share their beginnings."""

_Configuration = tuple[int, int, S, _Order]
"""Bits of the answered calls done, bits of the others used up, the object's state, and how it came to it."""


@frozen
class Result(Generic[S]):
    """``order``: the calls, by index, in an order that explains the answers: all of them, or as far as one was found.

    ``state``: the object's after that order. ``stuck``: the call with the first return that no order found so far explains. If the
    verdict is "not linearizable", none does, and what was called up to that return is wrong already.
    """

    verdict: Verdict
    order: tuple[int, ...]
    state: S
    visited: int
    stuck: int | None = None


_Open = tuple[tuple[int, int, bool], ...]
_Level = tuple[int, int, bool, _Open, _Open, int]
"""The moment just before a call returns: if it has an answer it has to have taken effect, else this is its last chance.

Its index, its bit, whether it is optional; the others that are open then, the same way; likewise those without effect, itself
among them; and how many of the calls that never return have been made.
"""


def linearize(
    calls: _Calls,
    specification: Specification[S],
    budget: int | None = None,
    alike: _Alike = None,
    effectless: _Effectless = None,
) -> Result[S]:
    """Judge a history. More than ``budget`` visited configurations end in "undecided", never in a verdict.

    What is known of the calls saves time. ``alike``: those that never returned and are equal under it are interchangeable, but for
    their start. ``effectless``: such a call, if it can take effect, leaves any state as it is.
    """
    return Search(calls, specification, alike, effectless).run(budget)


class Search(Generic[S]):
    """A search that can be continued."""

    def __init__(
        self, calls: _Calls, specification: Specification[S], alike: _Alike = None, effectless: _Effectless = None
    ) -> None:
        self._calls, self._next = calls, specification.next
        self._levels, self._lost = _levels(calls, alike, effectless)
        self._seen: list[dict[tuple[int, S], list[int]]] = [{} for _ in self._levels]
        initial = specification.initial()
        self._best: tuple[int, int, S, _Order] = (0, 0, initial, None)  # level, calls done there, state, order
        self._stack = [self._tried(*self._beyond(-1, 0, 0, initial, None))]
        self._budget: int | None = None
        self.visited = 0

    def run(self, budget: int | None = None) -> Result[S]:
        """Go on until there is a verdict, or until ``budget`` configurations have been visited in all."""
        self._budget = budget
        stack, end = self._stack, len(self._levels)
        while stack and self._best[0] < end:
            for further in stack[-1]:
                if further is None:
                    return self._result("undecided")
                stack.append(self._tried(*further))
                break
            else:
                stack.pop()
        return self._result("linearizable" if self._best[0] == end else "not linearizable")

    def _tried(self, at: int, found: list[_Configuration[S]]) -> Iterator[tuple[int, list[_Configuration[S]]] | None]:
        """Try configurations of a level, each as it is, then after others. Yields what they lead to; None: the budget is spent."""
        call, bit, optional, _, _, _ = self._levels[at]
        tried, entered = 0, len(found)
        for one in found:  # which grows
            while tried < len(found):
                while self.visited == self._budget:
                    yield None
                self.visited += 1
                done, used, state, order = found[tried]
                tried += 1
                after = self._next(state, self._calls[call])
                if optional:
                    used &= ~bit
                    after = [then for then in after if then != state]
                    if tried <= entered:  # not after others: these have chances of their own
                        yield self._beyond(at, done, used, state, order)
                elif not after and (at, done.bit_count()) > self._best[:2]:
                    self._best = (at, done.bit_count(), state, order)
                if after and tried > entered:
                    done, order = self._idled(at, done, state, order)
                for then in after:
                    yield self._beyond(at, done, used, then, (order, call))
            self._widen(at, found, *one)

    def _idled(self, at: int, done: int, state: S, order: _Order) -> tuple[int, _Order]:
        """Let calls without effect, but for the level's own, take effect as soon as they can: that is never worse."""
        own, _, _, _, idle, _ = self._levels[at]
        for call, bit, _ in idle:
            if call != own and not done & bit and self._next(state, self._calls[call]):
                done, order = done | bit, (order, call)
        return done, order

    def _beyond(self, at: int, done: int, used: int, state: S, order: _Order) -> tuple[int, list[_Configuration[S]]]:
        """To the next level whose call has not taken effect yet."""
        for further in range(at + 1, len(self._levels)):
            _, bit, optional, _, idle, _ = self._levels[further]
            for call, idle_bit, _ in idle:
                if not done & idle_bit and self._next(state, self._calls[call]):
                    done, order = done | idle_bit, (order, call)
            if not (used if optional else done) & bit:
                return further, [(done, used, state, order)] if self._new(further, done, used, state) else []
            if optional:
                used ^= bit
            else:
                done ^= bit
        self._best = (len(self._levels), 0, state, order)
        return len(self._levels), []

    def _widen(self, at: int, found: list[_Configuration[S]], done: int, used: int, state: S, order: _Order) -> None:
        """Let one other call take effect before the level's call does."""
        _, _, _, others, _, lost = self._levels[at]
        done, order = self._idled(at, done, state, order)
        for call, bit, optional in others:
            if not (used if optional else done) & bit:
                then = (done, used | bit) if optional else (done | bit, used)
                found += [
                    (*then, after, (order, call))
                    for after in self._next(state, self._calls[call])
                    if not (optional and after == state) and self._new(at, *then, after)
                ]
        for call, bit, before in self._lost[:lost]:
            if not used & bit and used & before == before:
                found += [
                    (done, used | bit, after, (order, call))
                    for after in self._next(state, self._calls[call])
                    if after != state and self._new(at, done, used | bit, after)
                ]

    def _new(self, at: int, done: int, used: int, state: S) -> bool:
        """Was there none that is the same with no more used up? Then this one is kept."""
        less = self._seen[at].setdefault((done, state), [])
        for one in less:
            if one & ~used == 0:
                return False
        less.append(used)
        return True

    def _result(self, verdict: Verdict) -> Result[S]:
        at, _, state, order = self._best
        indexes = list[int]()
        while order is not None:
            order, index = order
            indexes.append(index)
        stuck = next((call for call, _, optional, *_ in self._levels[at:] if not optional), None)
        return Result(verdict, tuple(reversed(indexes)), state, self.visited, stuck)


def _levels(calls: _Calls, alike: _Alike, effectless: _Effectless) -> tuple[list[_Level], list[tuple[int, int, int]]]:
    """The levels, and the calls that never return, by start: index, bit, bit of the one before that is alike."""
    levels, lost, last = list[_Level](), list[tuple[int, int, int]](), dict[Hashable, int]()
    free, top = (list[int](), list[int]()), [1, 1]  # bits that are used again, so that they are as many as calls overlap
    others, idle = dict[int, tuple[int, int, bool]](), dict[int, tuple[int, int, bool]]()
    for _, kind, index in _moments(calls):
        if kind:
            optional = kind == 2
            _, bit, _ = idle.get(index) or others.pop(index)
            free[optional].append(bit)
            levels.append((index, bit, optional, tuple(others.values()), tuple(idle.values()), len(lost)))
            idle.pop(index, None)
            continue
        call = calls[index]
        optional = not call.definite or call.end is None
        bit = free[optional].pop() if free[optional] else top[optional]
        top[optional] <<= bit == top[optional]
        if call.end is None:
            key = alike(call) if alike else index
            lost.append((index, bit, last.get(key, 0)))
            last[key] = bit
        elif effectless is not None and not optional and effectless(call):
            idle[index] = (index, bit, False)
        else:
            others[index] = (index, bit, optional)
    return levels, lost


def _moments(calls: _Calls) -> list[tuple[int, int, int]]:
    """Starts and ends, by index. At one time the starts are first: a clock that stood still puts nothing in order."""
    moments = [(call.start, 0, index) for index, call in enumerate(calls)]
    for index, call in enumerate(calls):
        if call.end is not None:
            if call.end < call.start:
                raise ValueError(f"call {index} ends at {call.end}, before its start at {call.start}")
            moments.append((call.end, 1 if call.definite else 2, index))  # what need not have happened leaves last
    return sorted(moments)
