"""Can the model explain a concurrent history (LAW-12)? The store as a specification for `leasehold_model.linearize`.

Each possible state is the model's with what is known of the store's ids in it. A call is possible in a state if `step` allows its
answer there, as in a sequential run: the same judge. A call whose answer was lost may take effect or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from attrs import frozen

from leasehold import records
from leasehold.oracle.answers import Answer, Ok
from leasehold.oracle.binding import Binding
from leasehold.oracle.judge import judge
from leasehold.oracle.moment import Mismatch, Moment
from leasehold.oracle.worlds import translated
from leasehold_model.claim import ClaimByIds, ClaimReady, RenewClaim
from leasehold_model.history import Call
from leasehold_model.ids import Millis
from leasehold_model.lease import RenewLease, TryClaimLease
from leasehold_model.linearize import Result, linearize
from leasehold_model.machine import Command, Contract, step
from leasehold_model.outcome import Silent
from leasehold_model.queue import Enqueue
from leasehold_model.state import State

Judged: TypeAlias = "Result[Possible]"
"""A verdict on a history."""

EVER = (-(2**62), 2**62)
"""Any time."""

NODES = 20_000
"""Possible orders that are looked at for one history; with more of them it stays undecided."""


@frozen
class Asked:
    """What a client asked, in the view's names, and between which times by the store's clock (milliseconds) it took effect.

    ``likely``: times among them at which a call whose answer was lost may have done so. ``repeats``: how often it was refused as
    contended, and so sent again; ``began``: when it was sent first, in the history's count.
    """

    op: str
    command: Command
    first: int
    last: int
    likely: tuple[int, ...] = ()
    repeats: int = 0
    began: int = 0


Asking: TypeAlias = Call[Asked, Answer]
"""A call of a client."""


class Silence(Exception):
    """The contract is silent on a call in a state that the store may be in, so nothing can be said."""


class Possible:
    """A state that the store may be in, with what is known of its ids."""

    __slots__ = ("_hash", "binding", "state")

    def __init__(self, state: State, binding: Binding) -> None:
        self.state = state
        self.binding = binding
        self._hash: int | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Possible) and self.state == other.state and self.binding == other.binding

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(self.state)
        return self._hash


@frozen(eq=False)
class StoreSpecification:
    """A store from this state on. ``view``: the names that the calls' commands are in.

    ``loose``: the store's times are not known to the millisecond, so the times in answers are not compared, and what ends about now
    may have ended or not.
    """

    contract: Contract
    state: State
    binding: Binding
    view: Binding
    loose: bool = False

    def initial(self) -> Possible:
        """Where the clients start."""
        return Possible(self.state, self.binding)

    def next(self, state: Possible, call: Asking) -> Sequence[Possible]:
        """The states in which the call may leave the store. Raises `Silence`."""
        found = []
        for now in instants(state.state, call, self.loose):
            possible, _ = self.taken(state, call, now)
            if possible is not None and possible not in found:
                found.append(possible)
        return found

    def taken(self, state: Possible, call: Asking, now: int) -> tuple[Possible | None, Mismatch | None]:
        """The call takes effect in this state at this time: the state it leaves, or why its answer is wrong."""
        command = translated(call.action.command, self.view, state.binding)
        after, response = step(state.state, command, Millis(now), self.contract)
        if isinstance(response, Silent):
            raise Silence(response.why)
        if not call.definite:
            return (None if after == state.state else Possible(after, state.binding)), None
        binding = state.binding.copy()
        if self.loose:
            binding.lost = (EVER,)
        moment = Moment(call.action.op, command, now, state.state, after, response, self.contract, EVER if self.loose else None)
        mismatch = judge(binding, moment, call.answer)
        return (Possible(after, binding), None) if mismatch is None else (None, mismatch)

    def why_not(self, state: Possible, call: Asking) -> Mismatch | None:
        """Why the call cannot take effect next; None if it can, or need not."""
        if not call.definite:
            return None
        wrong = None
        for now in instants(state.state, call, self.loose):
            _, mismatch = self.taken(state, call, now)
            if mismatch is None:
                return None
            wrong = wrong or mismatch
        return wrong


def explain(calls: Sequence[Asking], specification: StoreSpecification, nodes: int | None = NODES) -> Judged:
    """Whether some order of the calls, within their times, is right. Raises `Silence`."""
    return linearize(calls, specification, nodes)


def instants(state: State, call: Asking, loose: bool) -> list[int]:
    """The times at which the call may have taken effect that differ in anything: what the answer shows, or around each expiry."""
    asked = call.action
    if asked.first == asked.last:
        return [asked.first]
    shown = shown_time(asked.command, call.answer) if call.definite else None
    if shown is not None and asked.first <= shown <= asked.last and not loose:
        return [shown]
    return [asked.first, *sorted({at for at in (*_turns(state), *asked.likely) if asked.first < at <= asked.last})]


def is_loose(calls: Iterable[Asking]) -> bool:
    """When some lost call took effect is not known to the millisecond."""
    return any(not call.definite and call.action.first != call.action.last for call in calls)


def _turns(state: State) -> list[int]:
    """Times at which something ends or falls due."""
    turns = [int(lane.expires_at) for lane in state.lanes]
    for batch in state.queue:
        turns += [int(batch.available_at), int(batch.hold.expires_at)]
    return turns


def shown_time(command: Command, answer: Any) -> int | None:
    """The time that an answer shows for its call."""
    value = answer.value if isinstance(answer, Ok) else None
    if isinstance(value, records.Batch) and isinstance(command, Enqueue):
        return value.enqueued_at_ms
    if isinstance(value, records.Lease | records.Claim):
        renewed = isinstance(command, RenewLease | RenewClaim)
        if not renewed and isinstance(command, ClaimReady | ClaimByIds):
            return value.claimed_at_epoch_ms
        if isinstance(command, TryClaimLease) and value.expires_at_epoch_ms - value.claimed_at_epoch_ms == command.ttl:
            return value.claimed_at_epoch_ms
        ttl = getattr(command, "ttl", None)
        return value.expires_at_epoch_ms - ttl if isinstance(ttl, int) and value.expires_at_epoch_ms < records.MAX_MS else None
    return None
