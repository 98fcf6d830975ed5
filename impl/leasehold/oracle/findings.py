"""From a failure to a finding: shrunk, confirmed, and given the number of the rule that was broken."""

from __future__ import annotations

import contextlib
import math
import time

from attrs import evolve, frozen

from leasehold.oracle.answers import Door, Hung, OutOfTime, Unknown, by_the_clock
from leasehold.oracle.binding import Unbound
from leasehold.oracle.blame import LARGE
from leasehold.oracle.rejudge import done_though_contended
from leasehold.oracle.run import BOUND, Execution, Failure, Indefinite, Reopen, Run, Silence, Step, execute
from leasehold.oracle.run import failure as failure_of
from leasehold.oracle.shrink import LOSING_TRIES, REAL_TTL, Shrinker
from leasehold.oracle.worlds import READS
from leasehold_model.attachment import CommitRefs, Forget, ListUncommitted, RecordIntent, SaveMeta
from leasehold_model.claim import AbandonClaim, ClaimByIds, ClaimReady, RenewClaim
from leasehold_model.commit import CommitState
from leasehold_model.decisions import MAX_MS
from leasehold_model.graph import LoadNode, LoadSession, Tombstone, Vacuum
from leasehold_model.ids import BatchId, Body, MergeKey, Millis, Name, SessionId, SourceKey
from leasehold_model.lease import ReleaseLease, RenewLease, TryClaimLease
from leasehold_model.machine import Command, Contract, Response, initial, step
from leasehold_model.outcome import Absent, Refused
from leasehold_model.queue import CancelBatch, Enqueue, ListQueued
from leasehold_model.state import NO_FENCE, State

NAMING = 5.0
"""Seconds that it may take to find out which rule was broken, and to see the failure again where answers get lost."""

SHORT_DEADLINE = 0.5
"""Seconds after which a call is taken to hang while a hanging run is shrunk."""


@frozen
class Finding:
    """One broken rule, with the shortest run that shows it."""

    requirement: str
    also: tuple[str, ...]
    failure: Failure
    confirmed: bool

    @property
    def commands(self) -> int:
        """Store operations of the minimised run."""
        return sum(not isinstance(one.action, Reopen) for one in self.failure.steps)


@frozen
class _Past:
    """One step of a minimised run before the last, as the model saw it."""

    index: int
    command: Command | Reopen
    response: Response | None
    before: State
    after: State


def investigate(door: Door, contract: Contract, failure: Failure, seconds: float) -> Finding:
    """Shrink, confirm by running once more, and name the rule."""
    deadline, ends = door.deadline, door.ends
    if isinstance(failure.answers[-1], Hung):
        door.deadline = min(deadline, SHORT_DEADLINE)  # each try that still hangs costs this much; the confirmation gets it all
        seconds = min(seconds, 5 * SHORT_DEADLINE)
    door.ends = time.monotonic() + seconds
    small = Shrinker(door, contract, failure, seconds).shrink()
    door.deadline, door.ends = deadline, math.inf
    small = _with_ordinary_times(door, contract, small)
    confirmed = _confirmed(door, contract, small)
    named = (confirmed or small.killed) and not isinstance(
        small.answers[-1], Hung
    )  # a hang is LAW-13's, and each look costs a deadline
    door.ends = time.monotonic() + NAMING
    try:
        requirement, also = name_rule(door, contract, small) if named else _as_it_seems(door, contract, small)
    except OutOfTime:
        requirement, also = _as_it_seems(door, contract, small)
    finally:
        door.ends = ends
    return Finding(requirement, also, small, confirmed)


def _confirmed(door: Door, contract: Contract, small: Failure) -> bool:
    """The same run fails again; where answers have to get lost for that, or a kill has to hit, in one of several tries."""
    ends = time.monotonic() + NAMING
    timed = small.killed and by_the_clock(small.unit)
    for _ in range(LOSING_TRIES if small.lost or timed else 1):
        again = execute(door, contract, small.steps)
        if again is not None and (again.mismatch.rule == small.mismatch.rule or timed):
            return True
        if time.monotonic() > ends:
            break
    return False


def _with_ordinary_times(door: Door, contract: Contract, small: Failure) -> Failure:
    """What fails with ordinary times as well is no matter of large ones (LAW-14)."""
    if small.mismatch.rule != "LAW-14":
        return small
    return execute(door, contract, [evolve(one, action=_ordinary(one.action, one.at)) for one in small.steps]) or small


def _ordinary(command: Command | Reopen, now: int) -> Command | Reopen:
    if isinstance(command, Enqueue) and command.available_at >= LARGE:
        return evolve(command, available_at=Millis(now + REAL_TTL))
    if isinstance(command, TryClaimLease | RenewLease | ClaimReady | ClaimByIds | RenewClaim) and command.ttl >= LARGE:
        return evolve(command, ttl=REAL_TTL)
    return command


def name_rule(door: Door, contract: Contract, failure: Failure) -> tuple[str, tuple[str, ...]]:
    """The rule that was broken, and others that were too.

    In a minimised run every step is needed. So a needed step that the model calls inert (a refusal, a replay, a reopen) was not so
    on the store, and that is the rule it breaks; else a wrong read is the fault of the change it was the first to see.
    """
    rule = failure.mismatch.rule
    if failure.killed:
        calm = execute(door, contract, [evolve(one, kill=0) for one in failure.steps])
        if calm is None:  # it takes the kill, so what was held before it is not what is held after
            return _of_a_kill(failure)
        failure, rule = calm, calm.mismatch.rule
    if failure.lost:
        again = _without_losses(door, contract, failure.steps)
        if again is None:  # what lost calls did is not known, so no other step can be blamed
            return "LAW-12", _others("LAW-12", (rule, *failure.mismatch.also))
        failure, rule = again, again.mismatch.rule
    if done_though_contended(failure, door.capabilities, contract):
        return "LAW-1", _others("LAW-1", (rule, *failure.mismatch.also))
    past = _past(contract, failure.steps)
    for one in reversed(past):
        inert = _inert_rule(one)
        if inert and _needed(door, contract, failure, one.index):
            own = getattr(one.response, "rule", "")
            return inert, _others(inert, (own, "LAW-11" if isinstance(one.command, CommitState) else "", rule))
    last = failure.steps[-1].action
    if isinstance(last, READS) and not _only_the_question(door, contract, failure):
        for one in reversed(past):
            if one.after != one.before:
                changed = _change_rule(one.command, last)
                if changed == "COMMIT-8" and _by_its_release(door, contract, failure, one):
                    changed = "QUEUE-9"
                if changed:
                    return changed, _others(changed, (rule,))
                break
    blamed = _by_experiment(door, contract, failure, past)
    return blamed or rule, _others(blamed or rule, (rule, *failure.mismatch.also))


def _as_it_seems(door: Door, contract: Contract, failure: Failure) -> tuple[str, tuple[str, ...]]:
    """The rule of a failure that cannot be looked at more closely."""
    if failure.killed:
        return _of_a_kill(failure)
    if done_though_contended(failure, door.capabilities, contract):
        return "LAW-1", _others("LAW-1", (failure.mismatch.rule, *failure.mismatch.also))
    rule = "LAW-12" if failure.lost else failure.mismatch.rule
    return rule, _others(rule, (failure.mismatch.rule, *failure.mismatch.also))


def _of_a_kill(failure: Failure) -> tuple[str, tuple[str, ...]]:
    """A commit that was under way may have been cut in two."""
    torn = any(one.kill > 0 and isinstance(one.action, CommitState) for one in failure.steps)
    return "LAW-10", _others("LAW-10", ("LAW-11" if torn else "", failure.mismatch.rule, *failure.mismatch.also))


def _without_losses(door: Door, contract: Contract, steps: Run) -> Failure | None:
    """How the run fails when no answer gets lost; None if it does not, or if answers always get lost."""
    for _ in range(LOSING_TRIES):
        execution = Execution(door, contract)
        mismatch = None
        with contextlib.suppress(Indefinite):
            for one in steps:
                with contextlib.suppress(Unbound, Silence):
                    mismatch = execution.do(one)
                if mismatch is not None:
                    break
        if not any(isinstance(answer, Unknown) for answer in execution.answers):
            return failure_of(execution, mismatch) if mismatch is not None else None
    return None


def _others(rule: str, candidates: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one for one in candidates if one and one != rule))


def _past(contract: Contract, steps: Run) -> list[_Past]:
    state = initial(contract, BOUND)
    past = []
    for index, one in enumerate(steps[:-1]):
        if isinstance(one.action, Reopen):
            past.append(_Past(index, one.action, None, state, state))
            continue
        after, response = step(state, one.action, Millis(one.at), contract)
        past.append(_Past(index, one.action, response, state, after))
        state = after
    return past


def _inert_rule(one: _Past) -> str:
    """The rule that says that this step changes nothing, if one does."""
    if isinstance(one.command, Reopen):
        return "LAW-10"
    if one.after != one.before or isinstance(one.command, READS) or one.response is None:
        return ""
    if isinstance(one.response, Refused | Absent):
        return "LAW-1"
    rule: str = getattr(one.response, "rule", "")
    return "LAW-7" if rule == "COMMIT-4" else rule


def _needed(door: Door, contract: Contract, failure: Failure, index: int) -> bool:
    """Without the step it fails no more; and with it, it fails once more, so that was not by chance."""
    without = failure.steps[:index] + failure.steps[index + 1 :]
    rule = failure.mismatch.rule
    return not _fails(door, contract, without, rule) and _fails(door, contract, failure.steps, rule)


def _fails(door: Door, contract: Contract, steps: Run, rule: str) -> bool:
    """The run fails, by this rule."""
    again = execute(door, contract, steps)
    return again is not None and again.mismatch.rule == rule


def _change_rule(command: Command | Reopen, read: Command | Reopen) -> str:
    """The rule of a change that a list or load shows to be wrong."""
    if isinstance(read, ListQueued):
        if isinstance(command, AbandonClaim):
            return "QUEUE-12"
        if isinstance(command, CancelBatch):
            return "QUEUE-13"
        if isinstance(command, RenewClaim):
            return "QUEUE-11"
        if isinstance(command, ReleaseLease):
            return "QUEUE-9"
        return "COMMIT-8" if isinstance(command, CommitState) else ""
    if isinstance(read, LoadSession | LoadNode):
        if isinstance(command, Tombstone):
            return "GRAPH-6"
        return "GRAPH-7" if isinstance(command, Vacuum) else ""
    if isinstance(read, ListUncommitted):
        if isinstance(command, CommitRefs | CommitState):
            return "ATTACH-2"
        if isinstance(command, Forget):
            return "ATTACH-4"
        return "ATTACH-1" if isinstance(command, RecordIntent) else ""
    return "META-1" if isinstance(command, SaveMeta) else ""


def _by_experiment(door: Door, contract: Contract, failure: Failure, past: list[_Past]) -> str:
    """Runs that differ from the minimised one in one thing: if the failure goes with it, that was at fault. Empty: nothing was."""
    *steps, last = failure.steps
    rule = failure.mismatch.rule
    if isinstance(last.action, ClaimByIds) and rule == "QUEUE-10":  # QUEUE-10 is defined by the claim that QUEUE-4 to 8 would make
        by_ids = last.action
        ready = ClaimReady(
            by_ids.session, by_ids.fence, by_ids.owner, by_ids.idle, by_ids.ttl, max(1, len(by_ids.batches)), by_ids.name
        )
        again = execute(door, contract, (*steps, evolve(last, action=ready)))
        if again is not None and again.steps[-1].action == ready:
            failure, rule = again, again.mismatch.rule
            *steps, last = again.steps
    if rule in ISOLATED and _crosses(past, last.action):
        session = _session(last.action)
        alone = [one for one in steps if _session(one.action) in {None, session}]
        if _passes(door, contract, (*alone, last)) and not _fails_shifted(door, contract, (*alone, last), failure.mismatch.rule):
            return "LAW-9"
    for one in reversed(past):
        if isinstance(one.command, CommitState) and one.command.completions and isinstance(last.action, RenewClaim | AbandonClaim):
            kept = evolve(failure.steps[one.index], action=evolve(one.command, completions=()))
            if _passes(door, contract, (*failure.steps[: one.index], kept, *failure.steps[one.index + 1 :])):
                return "COMMIT-8"  # it completed more than it named
        if one.after.lanes == one.before.lanes:
            continue
        blamed = _release_rule(door, contract, failure, one)
        if blamed:
            return blamed
    return rule if rule != failure.mismatch.rule or isinstance(last.action, ClaimReady) else ""


ISOLATED = frozenset(
    (
        *("LEASE-1", "LEASE-2", "LEASE-3", "LEASE-4", "LEASE-5", "COMMIT-5", "LAW-2", "LAW-4", "LAW-5"),
        *(f"QUEUE-{number}" for number in range(3, 12)),
    )
)
"""Rules that may seem broken where another session's lane or queue had a say in the answer (LAW-9)."""


def _passes(door: Door, contract: Contract, steps: Run) -> bool:
    """Every step of the run can be sent, and is answered rightly."""
    execution = Execution(door, contract)
    try:
        return all(execution.do(one) is None for one in steps)
    except (Unbound, Silence, Indefinite):
        return False


SHIFTED = 4
"""How many ids are used up before a run to see whether it is only them that matter."""


def _fails_shifted(door: Door, contract: Contract, steps: Run, rule: str) -> bool:
    """It fails after all once ids were used up in the session itself: then another session's steps only shifted them."""
    if not {"enqueue_queued_work", "cancel_queued_work_batch"} <= door.capabilities.ops:
        return False
    session, at = SessionId(_session(steps[-1].action) or BOUND), steps[0].at
    before: list[Step] = []
    for number in range(SHIFTED):
        name = 900_000 + number
        batch = Enqueue(session, SourceKey(0), False, False, MergeKey(0), Millis(0), Body(1), Name(name))
        before += [Step(at, 0, batch), Step(at, 0, CancelBatch(session, BatchId(name)))]
        if _fails(door, contract, (*before, *steps), rule):
            return True
    return False


def _by_its_release(door: Door, contract: Contract, failure: Failure, one: _Past) -> bool:
    """A list is wrong after a commit only because of the lease that the commit releases: so the release has touched claims."""
    steps, command = failure.steps, one.command
    if not isinstance(command, CommitState) or command.release.token == 0:
        return False
    kept = evolve(steps[one.index], action=evolve(command, release=NO_FENCE))
    return _passes(door, contract, (*steps[: one.index], kept, *steps[one.index + 1 :]))


def _release_rule(door: Door, contract: Contract, failure: Failure, one: _Past) -> str:
    """Whether a release was at fault: as part of a commit (COMMIT-8, COMMIT-4), or for what it did to claims (QUEUE-9)."""
    steps, command = failure.steps, one.command
    at = steps[one.index]
    before, after = steps[: one.index], steps[one.index + 1 :]
    if isinstance(command, CommitState) and command.release.token != 0:
        kept = evolve(at, action=evolve(command, release=NO_FENCE))
        apart = evolve(at, action=ReleaseLease(command.release))
        if _passes(door, contract, (*before, kept, apart, *after)):
            return str(getattr(one.response, "rule", ""))
        without: Run = (*before, kept, *after)
    elif isinstance(command, ReleaseLease):
        without = (*before, *after)
    else:
        return ""
    of_claims = isinstance(steps[-1].action, RenewClaim) or failure.mismatch.rule == "COMMIT-7"
    return "QUEUE-9" if of_claims and _passes(door, contract, without) else ""


def _only_the_question(door: Door, contract: Contract, failure: Failure) -> bool:
    """A list of intents is wrong for the time that was asked for only: then no change is at fault."""
    last = failure.steps[-1]
    if not isinstance(last.action, ListUncommitted):
        return False
    every = evolve(last, action=ListUncommitted(Millis(min(MAX_MS, door.capabilities.max_integer))))
    return _passes(door, contract, (*failure.steps[:-1], every))


def _crosses(past: list[_Past], last: Command | Reopen) -> bool:
    """Some step of the run was about another session than its last one, which names none but its own."""
    session = _session(last)
    fence = getattr(last, "fence", None)
    own = fence is None or fence.token == 0 or fence.session == session
    return own and session is not None and any(_session(one.command) not in (None, session) for one in past)


def _session(command: Command | Reopen) -> int | None:
    for name in ("fence", "completion"):
        if hasattr(command, name) and not hasattr(command, "session"):
            return int(getattr(command, name).session)
    session = getattr(command, "session", None)
    return None if session is None else int(session)
