"""Shrinking: the shortest run that still fails by the same rule, by deleting chunks of steps and simplifying what is left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from attrs import evolve, fields, has

from leasehold.oracle.answers import Door, OutOfTime, Unknown, by_the_clock
from leasehold.oracle.relations import Related, related, resolved
from leasehold.oracle.run import START, Failure, Reopen, Run, Step, execute
from leasehold.oracle.vocabulary import EMPTY, RICH, RICHER
from leasehold_model.claim import ClaimByIds, ClaimReady, RenewClaim
from leasehold_model.commit import EXPECT_NOTHING, CommitState, TurnStamp
from leasehold_model.graph import UNCHANGED, Delta, LoadSession
from leasehold_model.ids import MergeKey, Millis, NodeId, OwnerId, SessionId, SourceKey, TurnHash, TurnId
from leasehold_model.lease import RenewLease, TryClaimLease
from leasehold_model.machine import Command, Contract
from leasehold_model.queue import Enqueue
from leasehold_model.state import NO_FENCE, NO_PART

PLAIN_TTL = Millis(60_000)
REAL_TTL = Millis(7_200_000)

LOSING_TRIES = 120
"""How often a run is tried in which an answer has to get lost again."""


TIMED_TRIES = 3
"""The same where a process has to be killed at the right time."""


class Shrinker:
    """Shrinks one failure on one door. Ends early after ``seconds``; what it has then is still a failure, only longer."""

    def __init__(self, door: Door, contract: Contract, failure: Failure, seconds: float = 3.0) -> None:
        self.door = door
        self.contract = contract
        self.best = failure
        self.rule = failure.mismatch.rule
        self.ends = time.monotonic() + seconds
        self.tries = 0

    def shrink(self) -> Failure:
        """The smallest failing run that was found."""
        if self.best.lost or self.best.killed:
            self._spare()
            self._essence()
        size = 0
        while size != len(self.best.steps) and not self._late():
            size = len(self.best.steps)
            self._delete()
            self._simplify()
        return self.best

    def _late(self) -> bool:
        return time.monotonic() > self.ends

    def _fails(self, steps: Run) -> bool:
        timed = self.best.killed and by_the_clock(self.best.unit)
        for _ in range(LOSING_TRIES if self.best.lost else TIMED_TRIES if timed else 1):
            if self._late():
                return False
            self.tries += 1
            try:
                failure = execute(self.door, self.contract, steps)
            except OutOfTime:
                return False
            if failure is not None and (failure.mismatch.rule == self.rule or (self.best.killed and failure.killed)):
                self.best = failure  # what a kill left undone or lost shows by whatever is read first
                return True
        return False

    def _spare(self) -> None:
        """Kills while the store is opened that it does not take. First of all, since the last kill of a run is what is blamed."""
        for index, one in enumerate(self.best.steps):
            steps = self.best.steps
            if isinstance(one.action, Reopen) and one.kill and one in steps[index : index + 1]:
                self._fails((*steps[:index], evolve(one, kill=0), *steps[index + 1 :]))

    def _essence(self) -> None:
        """Answers have to get lost again in the same places, and in a long run they rarely do. So the least is tried first.

        Likewise where a process has to be killed and started again for each try.
        """
        steps, last = self.best.steps, self.best.steps[-1]
        answered = zip(steps, self.best.answers, strict=True)
        lost = {type(one.action) for one, answer in answered if one.kill or isinstance(answer, Unknown)}
        asked = type(last.action)
        for more in ((), (asked,), (TryClaimLease,), (TryClaimLease, CommitState), (TryClaimLease, Enqueue, ClaimReady, asked)):
            kept = lost.union(more)
            meaning = [one for one in related(steps, self.contract) if one.step is last or type(one.step.action) in kept]
            if self._fails(resolved(meaning, self.contract)):
                return

    def _delete(self) -> None:
        chunk = max(1, len(self.best.steps) // 2)
        while chunk >= 1:
            end = len(self.best.steps) - 1
            deleted = False
            while end > 0:
                if self._late():
                    return
                meaning: list[Related] = related(self.best.steps, self.contract)
                start = max(0, end - chunk)
                if self._fails(resolved(meaning[:start] + meaning[end:], self.contract)):
                    deleted = True
                    end = min(start, len(self.best.steps) - 1)
                else:
                    end -= chunk
            if chunk == 1 and not deleted:
                return
            chunk = chunk // 2 if chunk > 1 else 1

    def _from_the_start(self) -> None:
        """The run as it would be if it began when runs begin."""
        late = self.best.steps[0].at - START
        if late > 0:
            self._fails(tuple(evolve(one, at=one.at - late) for one in self.best.steps))

    def _simplify(self) -> None:
        self._from_the_start()
        plain = tuple(evolve(one, action=with_plain_payloads(one.action)) for one in self.best.steps)
        if plain != self.best.steps:
            self._fails(plain)
        index = 0
        while index < len(self.best.steps) and not self._late():
            index += not self._simplify_step(index)

    def _simplify_step(self, index: int) -> bool:
        steps = self.best.steps
        plain = REAL_TTL if self.door.capabilities.clock == "real" else PLAIN_TTL
        for simpler in _simpler(steps, index, plain):
            if self._late():
                return False
            meaning = related(steps, self.contract)
            meaning[index] = Related(simpler, meaning[index].fences, meaning[index].revision)
            tried = resolved(meaning, self.contract)
            if simpler != steps[index] and tried != steps and self._fails(tried):
                return True
        return False


def with_plain_payloads(value: Any, plain: int = 0) -> Any:
    """The same with plain payloads for rich ones (`vocabulary.RICH`); with ``plain`` RICH, without large integers only."""
    if isinstance(value, int):
        rich = RICH < value < RICH + EMPTY or RICHER < value < RICHER + EMPTY
        return plain + value % RICH if rich else value
    if isinstance(value, tuple):
        return tuple(with_plain_payloads(one, plain) for one in value)
    if not has(type(value)):
        return value
    return evolve(value, **{one.name: with_plain_payloads(getattr(value, one.name), plain) for one in fields(type(value))})


def _simpler(steps: Run, index: int, plain: Millis) -> Iterator[Step]:
    """Simpler forms of one step, the simplest first."""
    one = steps[index]
    if one.handle != 0:
        yield evolve(one, handle=0)
    if index > 0 and one.at > steps[index - 1].at:
        yield evolve(one, at=steps[index - 1].at)
    if isinstance(one.action, Reopen):
        if one.kill:
            yield evolve(one, kill=0)
        return
    for command in _simpler_command(one.action, plain):
        yield evolve(one, action=command)


def _simpler_command(command: Command, plain: Millis) -> Iterator[Command]:
    if isinstance(command, TryClaimLease | RenewLease | ClaimReady | ClaimByIds | RenewClaim) and command.ttl != plain:
        yield evolve(command, ttl=plain)
    if isinstance(command, TryClaimLease) and command.owner != 1:
        yield evolve(command, owner=OwnerId(1))
    if isinstance(command, ClaimReady) and (command.limit != 10 or not command.idle):
        yield evolve(command, limit=10, idle=True)
    if isinstance(command, Enqueue):
        simple = {
            "available_at": Millis(0),
            "source": SourceKey(0),
            "merge": MergeKey(0),
            "after_commit": False,
            "exclusive": False,
        }
        if command.source >= 100:  # QUEUE-14: a wake or a command has the slot policy and the merge key that it has
            simple = {"source": SourceKey(0)}
        for name, value in simple.items():
            if getattr(command, name) != value:
                yield evolve(command, **{name: value})  # type: ignore[arg-type]
    if isinstance(command, LoadSession) and not command.full:
        yield LoadSession(True, NodeId(0))
        if command.leaf != 0:
            yield LoadSession(False, NodeId(0))
    if isinstance(command, CommitState):
        yield from _simpler_commit(command)


def _simpler_commit(command: CommitState) -> Iterator[Command]:
    checkpoint = command.checkpoint
    bare = evolve(checkpoint, tool_state=NO_PART, plugin_snapshot=NO_PART, execution_state=NO_PART, plugin_snapshot_revision=-1)
    no_stamp = TurnStamp(SessionId(0), TurnId(0), TurnHash(0))
    plainest = evolve(
        command,
        checkpoint=bare,
        usage=(),
        attachments=(),
        stamp=no_stamp,
        release=NO_FENCE,
        expected_revision=EXPECT_NOTHING,
        delta=Delta(UNCHANGED, (), NodeId(0)),
        completions=(),
    )
    if command == plainest:
        return
    yield plainest
    names = ("checkpoint", "usage", "attachments", "stamp", "release", "expected_revision", "delta", "completions")
    for kept in names:
        yield evolve(plainest, **{kept: getattr(command, kept)})
    for kept in names:
        for other in names:
            if kept < other:
                yield evolve(plainest, **{kept: getattr(command, kept), other: getattr(command, other)})
    for name in names:
        if getattr(command, name) != getattr(plainest, name):
            yield evolve(command, **{name: getattr(plainest, name)})
    for part in ("tool_state", "plugin_snapshot", "execution_state"):
        if getattr(checkpoint, part) != NO_PART:
            yield evolve(command, checkpoint=evolve(checkpoint, **{part: NO_PART}))  # type: ignore[arg-type]
    nodes = command.delta.nodes
    for chunk in (len(nodes) // 2, len(nodes) // 4, 1 if len(nodes) <= 12 else 0):
        for start in range(0, len(nodes) if chunk else 0, chunk or 1):
            yield evolve(command, delta=evolve(command.delta, nodes=nodes[:start] + nodes[start + chunk :]))
    for index in range(len(command.completions)):
        yield evolve(command, completions=command.completions[:index] + command.completions[index + 1 :])
