"""References within a run, kept as relations while steps are deleted: "the fence of that grant", "one more than the revision then".

Fencing tokens and revisions are numbers that shift when earlier steps go. `related` notes, once, what each number meant in the
original run; `resolved` gives a shortened run its numbers back, and leaves out what refers to things that no longer happen.
"""

from __future__ import annotations

from attrs import evolve, frozen

from leasehold.oracle.run import BOUND, Reopen, Run, Step
from leasehold_model.claim import AbandonClaim, ClaimByIds, Claimed, RenewClaim
from leasehold_model.commit import EXPECT_NOTHING, CommitState
from leasehold_model.ids import BatchId, Body, FencingToken, Millis
from leasehold_model.lease import Leased
from leasehold_model.machine import Command, Contract, Response, initial, step
from leasehold_model.queue import CancelBatch, Queued
from leasehold_model.state import NO_FENCE, NO_PART, Fence, Part, State


@frozen
class Related:
    """A step and what its numbers mean: for each fence the grant it is counted from and how far, and the revision's distance."""

    step: Step
    fences: dict[str, tuple[int, int]]
    revision: int | None


class _Known:
    """What a run has minted so far."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.state: State = initial(contract, BOUND)
        self.fencing: dict[int, int] = {}
        self.last_grant: dict[int, int] = {}
        self.claims: set[int] = set()
        self.batches: set[int] = set()

    def learn(self, at: int, command: Command) -> None:
        self.state, response = step(self.state, command, Millis(at), self.contract)
        self._mint(response)

    def _mint(self, response: Response) -> None:
        if isinstance(response, Leased):
            self.fencing[response.lane.token] = response.lane.fencing
            self.last_grant[response.lane.session] = response.lane.token
        elif isinstance(response, Claimed):
            self.claims.add(response.hold.claim)
        elif isinstance(response, Queued):
            self.batches.add(response.batch.batch)


_FENCES = ("fence", "completion", "release")


def related(steps: Run, contract: Contract) -> list[Related]:
    """What every number of the run means."""
    known = _Known(contract)
    result = []
    for one in steps:
        command = one.action
        if isinstance(command, Reopen):
            result.append(Related(one, {}, None))
            continue
        fences = {}
        for name in _FENCES:
            fence = getattr(command, name, None)
            if isinstance(fence, Fence) and fence.token != 0:
                anchor = fence.token if fence.token in known.fencing else known.last_grant.get(fence.session, 0)
                fences[name] = (anchor, fence.fencing - known.fencing.get(anchor, 0))
        revision = None
        if isinstance(command, CommitState) and command.expected_revision != EXPECT_NOTHING:
            revision = command.expected_revision - known.state.head.revision
        result.append(Related(one, fences, revision))
        known.learn(one.at, command)
    return result


def resolved(steps: list[Related], contract: Contract) -> Run:
    """A runnable list of steps with the same meaning."""
    known = _Known(contract)
    result = []
    for one in steps:
        if isinstance(one.step.action, Reopen):
            result.append(one.step)
            continue
        command = _resolve(one, one.step.action, known)
        if command is not None:
            result.append(evolve(one.step, action=command))
            known.learn(one.step.at, command)
    return tuple(result)


def _resolve(one: Related, command: Command, known: _Known) -> Command | None:
    for name, (anchor, distance) in one.fences.items():
        fence = getattr(command, name)
        if fence.token == 0:  # simplified away
            continue
        gone = fence.token > 0 and fence.token not in known.fencing
        if gone and name != "release":
            return None
        new = NO_FENCE if gone else evolve(fence, fencing=FencingToken(max(0, known.fencing.get(anchor, 0) + distance)))
        if new != fence:
            command = evolve(command, **{name: new})  # type: ignore[arg-type]
    if isinstance(command, RenewClaim | AbandonClaim):
        if command.claim > 0 and command.claim not in known.claims:
            return None
        return evolve(command, batches=_minted(command.batches, known))
    if isinstance(command, CancelBatch):
        return command if _minted((command.batch,), known) else None
    if isinstance(command, ClaimByIds):
        return evolve(command, batches=_minted(command.batches, known))
    if isinstance(command, CommitState):
        return _commit(one, command, known)
    return command


def _minted(batches: tuple[BatchId, ...], known: _Known) -> tuple[BatchId, ...]:
    return tuple(batch for batch in batches if batch < 0 or batch in known.batches)


def _commit(one: Related, command: CommitState, known: _Known) -> CommitState:
    completions = tuple(
        evolve(done, batches=_minted(done.batches, known))
        for done in command.completions
        if (done.claim < 0 or done.claim in known.claims) and (done.token < 0 or done.token in known.claims)
    )
    current = known.state.head.checkpoint
    checkpoint = evolve(
        command.checkpoint,
        tool_state=_part(command.checkpoint.tool_state, current.tool_state),
        plugin_snapshot=_part(command.checkpoint.plugin_snapshot, current.plugin_snapshot),
        execution_state=_part(command.checkpoint.execution_state, current.execution_state),
    )
    expected = command.expected_revision
    if one.revision is not None and expected != EXPECT_NOTHING:
        expected = max(0, known.state.head.revision + one.revision)
    return evolve(command, completions=completions, checkpoint=checkpoint, expected_revision=expected)


def _part(part: Part, before: Part) -> Part:
    if part.ref > 0 and part.ref != before.body:
        return Part(part.body, Body(0)) if part.body else NO_PART
    return part
