"""Calls whose answer was lost: all states that the store may be in, and how later answers narrow them.

A lost call takes effect once or never (LAW-12), and not before it was sent; nothing says how soon. So every state that the store
may be in is kept with what is known of its ids, and with the lost calls that may still take effect. What contradicts an answer is
dropped; a store is wrong only where nothing is left.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve, frozen

from leasehold.oracle.binding import Binding
from leasehold_model.attachment import ListUncommitted, LoadMeta
from leasehold_model.claim import AbandonClaim, ClaimByIds, RenewClaim
from leasehold_model.commit import CommitState
from leasehold_model.graph import LoadNode, LoadSession
from leasehold_model.ids import BatchId, ClaimId, FencingToken, LeaseToken, Millis
from leasehold_model.machine import Command, Contract, step
from leasehold_model.outcome import Silent
from leasehold_model.queue import CancelBatch, Completion, ListQueued
from leasehold_model.state import Fence, State

READS = (LoadSession, LoadNode, ListQueued, ListUncommitted, LoadMeta)
"""Commands that only look: when their answer is lost, nothing else is."""

MOST_LOST = 3
"""Lost calls that may still take effect. With more of them a run ends: there would be too many orders."""

MOST_WORLDS = 100
"""Possible states that are followed. With more of them a run ends."""


class TooMany(Exception):
    """There are more possibilities than are followed."""


@frozen
class Lost:
    """A call whose answer was lost: the number of its step, and the command in the terms of the state it was sent to."""

    index: int
    command: Command
    at: int = -1
    """What the clock showed when it was sent: the request may carry that time."""


@frozen
class Took:
    """A lost call took effect before the step with the number ``before``, when the store's clock showed ``at``."""

    lost: Lost
    before: int
    at: int


@frozen(eq=False)
class World:
    """One state that the store may be in."""

    state: State
    binding: Binding
    lost: tuple[Lost, ...] = ()
    took: tuple[Took, ...] = ()

    def same(self, other: World) -> bool:
        """Nothing that comes can tell the two apart."""
        return self.lost == other.lost and self.state == other.state and self.binding == other.binding


def after_losing(world: World, index: int, command: Command, at: int) -> World:
    """The same world with one more call that may still take effect."""
    if isinstance(command, READS):
        return world
    if len(world.lost) == MOST_LOST:
        raise TooMany(f"more than {MOST_LOST} calls may still take effect")
    return evolve(world, lost=(*world.lost, Lost(index, command, at)))


def reachable(world: World, contract: Contract, number: int, times: tuple[int, ...]) -> list[World]:
    """The world, and all that it may have become before step ``number``, with the clock at each of these times in turn."""
    found = [world]
    for at in times:
        index = 0
        while index < len(found):  # grows while it is walked: one lost call may take effect after another
            found += [one for one in _next(found[index], contract, number, at) if not any(one.same(other) for other in found)]
            index += 1
            if len(found) > MOST_WORLDS:
                raise TooMany(f"there are more than {MOST_WORLDS} possible states")
    return found


def _next(world: World, contract: Contract, number: int, at: int) -> list[World]:
    """The worlds in which one of the lost calls has just taken effect."""
    worlds = []
    for lost, when in [(one, when) for one in world.lost for when in dict.fromkeys((at, one.at))]:
        after, response = step(world.state, lost.command, Millis(when), contract)
        if isinstance(response, Silent):
            raise TooMany(f"the contract does not say what the lost call of step {lost.index + 1} does: {response.why}")
        if after is not world.state and after != world.state:
            left = tuple(one for one in world.lost if one is not lost)
            worlds.append(World(after, world.binding.copy(), left, (*world.took, Took(lost, number, when))))
    return worlds


def distinct(worlds: list[World]) -> list[World]:
    """Without those that nothing can tell from an earlier one."""
    kept: list[World] = []
    for one in worlds:
        if not any(one.same(other) for other in kept):
            kept.append(one)
    if len(kept) > MOST_WORLDS:
        raise TooMany(f"there are more than {MOST_WORLDS} possible states")
    return kept


def translated(command: Command, source: Binding, target: Binding) -> Command:
    """The command in another world's terms. The same id may be another lost call's there, and fencing tokens count differently."""
    if source is target:
        return command
    changed: dict[str, Any] = {}
    for name in ("fence", "completion", "release"):
        fence = getattr(command, name, None)
        if isinstance(fence, Fence) and fence.token != 0:
            number = FencingToken(target.number(fence.session, source.fencing(fence.session, fence.fencing)))
            changed[name] = evolve(fence, token=LeaseToken(_token(fence, source, target)), fencing=number)
    if isinstance(command, RenewClaim | AbandonClaim):
        changed |= {
            "claim": ClaimId(_claim(command.claim, source, target)),
            "token": LeaseToken(_claim(command.token, source, target)),
        }
    if isinstance(command, RenewClaim | AbandonClaim | ClaimByIds):
        changed["batches"] = tuple(BatchId(_batch(one, source, target)) for one in command.batches)
    if isinstance(command, CancelBatch):
        changed["batch"] = BatchId(_batch(command.batch, source, target))
    if isinstance(command, CommitState):
        changed["completions"] = tuple(
            Completion(
                one.session,
                ClaimId(_claim(one.claim, source, target)),
                LeaseToken(_claim(one.token, source, target)),
                tuple(BatchId(_batch(batch, source, target)) for batch in one.batches),
            )
            for one in command.completions
        )
    return evolve(command, **changed) if any(getattr(command, name) != value for name, value in changed.items()) else command


def _token(fence: Fence, source: Binding, target: Binding) -> int:
    text = source.tokens.get(fence.token)
    return int(fence.token) if text is None else target.token_of.get((fence.session, text), int(fence.token))


def _claim(name: int, source: Binding, target: Binding) -> int:
    known = source.claims.get(name)
    return name if known is None else target.claim_of.get(known.claim_id, name)


def _batch(name: int, source: Binding, target: Binding) -> int:
    known = source.batches.get(name)
    return name if known is None else target.batch_of.get(known.batch_id, name)
