"""Crash runs: the process that holds the store is killed in the middle of a call; then nothing may be lost, and nothing half done.

Every call of the races is killed at every point of it, and after it was answered, one point after the other; then drawn runs are
killed at drawn points. Now and then the process is killed once more while it opens the store again; an adapter that takes several
calls at once is killed with several under way, too. What follows reads everything back, does the same once more, and asks for what
a store that forgot would grant.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from statistics import median_low

from attrs import define, evolve

from leasehold.oracle.answers import AFTER, CONNECTION, SERVER, Crashing, Door, Unknown, by_the_clock
from leasehold.oracle.binding import operation, renamed
from leasehold.oracle.concurrent import History, Hung, RaceFinding, Threads, finding, judged
from leasehold.oracle.coverage import Coverage
from leasehold.oracle.drive import advance, end, seeded
from leasehold.oracle.kill import KillDoor
from leasehold.oracle.points import Points
from leasehold.oracle.probe import LONG, enqueue
from leasehold.oracle.provoke import RERUNS, Tally, do, do_all, one_by_one, seen_again
from leasehold.oracle.races import ALL, BOB, Race, races
from leasehold.oracle.run import BOUND, OTHER, START, Execution, Failure, Indefinite, Reopen, Run, Step, attempt, failure, repeat
from leasehold.oracle.walker import FOCI, Walker
from leasehold.oracle.worlds import READS
from leasehold.store import Capabilities
from leasehold.wire.client import WireDoor
from leasehold_model.attachment import SaveMeta
from leasehold_model.claim import AbandonClaim, ClaimReady, RenewClaim
from leasehold_model.commit import CommitState
from leasehold_model.ids import BatchId, Body, ClaimId, FencingToken, LeaseToken, Millis, Name, SessionId
from leasehold_model.lease import ReleaseLease, RenewLease, TryClaimLease
from leasehold_model.machine import Command, Contract, initial, step
from leasehold_model.state import Fence, State, lane_of

WALKED = 0.3
"""How likely it is that a drawn run comes after the points of a call."""

TWICE = 0.3
"""How likely it is that the process is killed a second time in a run."""

RECOVERY = 0.3
"""How likely it is that after a call's kills the process is killed twice: in the call, and while it opens the store again."""

LIKELY = 0.5
"""How often an adapter that changes files while it opens a store is killed at such a change then, if the time is drawn."""

RECOVERIES = 3
"""How often that is done then."""

ASKED = 0.5
"""How likely it is that the lane is asked for before the call is repeated: a repeated turn makes up for a release that was lost."""

TRIPS = 3
"""Within how many times what a call takes an adapter is killed while several are under way."""

CROWDED = 0.5
"""How often many calls of three clients are under way when an adapter is killed, and not those of a race."""

LIKELIEST = 4
"""At how many of the points between two changes of its files the process is killed before any call is looked at again."""

DRAWN = 2
"""At how many drawn times of each call an adapter is killed before any call is looked at again."""

COMMITS = 4
"""How many commits are killed for one of each other operation."""

AT_ONCE = 3
"""Points of one call at which it is killed before the next call is looked at."""

AGAIN = 9_000
"""Names from here on are those of what is done after the kill."""

CONNECTIONS, SERVERS, LATEST = 0.5, 0.1, 3_000
"""How likely it is that after a call's kills its connection is ended, or its server killed; up to so many microseconds after it."""

LONG_AFTER, LONG_RUN = 24, 400
"""After so many calls that were killed comes a long run, and how many steps it has."""

UNUSUAL, MOST_MARKS = 4, 4
"""So many of its calls are killed, at so many points each."""

LENGTHS = (3, 6, 12, 20)

RENEWALS = RenewLease | RenewClaim
"""What may overwrite what the last one of its kind has written, so it is killed right after one, too."""


@define
class _Target:
    """One call, what comes before it, and where it was killed so far. ``resent``: it is sent again if it had no answer."""

    before: Run
    command: Command
    points: Points
    resent: bool = True


class Crashes:
    """An endless source of crash runs. ``run`` does one and returns what it found."""

    def __init__(self, door: Crashing, contract: Contract, seed: int, coverage: Coverage, tally: Tally) -> None:
        self.door = door
        self.contract = contract
        self.coverage = coverage
        self.tally = tally
        self._seed = seed
        self._rng = random.Random(seed)
        self._drawn = 0
        able = door.capabilities.concurrent and door.capabilities.handles > 1 and isinstance(door, WireDoor)
        self.threads = Threads(door, contract) if able else None
        every = list(races(door.capabilities))
        self._rng.shuffle(every)
        self._races = cycle(every or [None])
        self._runs = self._all()

    def run(self) -> RaceFinding | Failure | None:
        """The next run."""
        return next(self._runs)

    def _all(self) -> Iterator[RaceFinding | Failure | None]:
        targets = list(_targets(self.door))
        self._rng.shuffle(targets)
        targets = _in_turn(sorted(targets, key=lambda one: -_changes(one, self.contract)))
        for number, one in enumerate(targets, start=1):
            if number % LONG_AFTER == 0:
                yield from self._long()
            yield self._killed(one, AFTER)
            likely = [at for at in one.points.likely if at not in one.points.tried]
            for at in self._rng.sample(likely, min(len(likely), LIKELIEST)):
                one.points.tried.add(at)
                yield self._killed(one, at)
            for _ in range(DRAWN if by_the_clock(self.door.unit) and one.points.count > 0 else 0):
                at = self._rng.randint(1, one.points.count)
                one.points.tried.add(at)
                yield self._killed(one, at)
            yield from self._recovering(one)
            yield from self._database(one)
            yield self._under_way()
        while True:
            for one in targets:
                for _ in range(AT_ONCE):
                    at_next = one.points.next()
                    if at_next is not None:
                        one.points.tried.add(at_next)
                        yield self._killed(one, at_next)
                yield from self._recovering(one)
                yield from self._database(one)
                yield self._under_way()
                if self._rng.random() < WALKED:
                    yield self._walked()

    def _killed(self, one: _Target, at: int) -> Failure | None:
        """The call, killed there; then what would show that something was lost."""
        self.tally.kills += 1
        return self._execute((*one.before, Step(START, 0, one.command, kill=at)), one)

    def _recovering(self, one: _Target) -> Iterator[Failure | None]:
        """The process is killed in the call, and again while it opens the store: above all where that changes data."""
        if self._rng.random() >= RECOVERY:
            return
        at = self._rng.choice((AFTER, *sorted(one.points.tried)))
        run = (*one.before, Step(START, 0, one.command, kill=at))
        self.tally.kills += 2
        yield self._execute((*run, Step(START, 0, Reopen(), kill=AFTER)), one)
        likely = self.door.opening_marks[:-1]
        timed = by_the_clock(self.door.unit)
        drawn = [self._opening() for _ in range(RECOVERIES if timed and not likely else 1)]
        for there in (*drawn, *self._rng.sample(likely, min(len(likely), RECOVERIES if timed else RECOVERIES - 1))):
            self.tally.kills += 2
            yield self._execute((*run, Step(START, 0, Reopen(), kill=there)), one)

    def _opening(self) -> int:
        """A drawn point of the opening, or after it."""
        points, likely = self.door.opening, self.door.opening_marks[:-1]
        if likely and by_the_clock(self.door.unit) and self._rng.random() < LIKELY:
            return self._rng.choice(likely)
        return self._rng.randint(1, points + points // 8) if points else AFTER

    def _under_way(self) -> RaceFinding | Failure | None:
        """The adapter is killed while calls of several clients are under way."""
        threads, race = self.threads, next(self._races)
        if threads is not None and "enqueue_queued_work" in self.door.capabilities.ops and self._rng.random() < CROWDED:
            race = crowd(self.door.capabilities)
        if threads is None or race is None:
            return None
        at = self._rng.randint(1, int(TRIPS * threads.trip * 1_000_000))
        self.tally.kills += 1
        found = self._raced(threads, race, at)
        if not isinstance(found, RaceFinding):
            return found
        for _ in range(RERUNS):  # what is wrong without a kill is told better without one
            calm = self._raced(threads, race, 0)
            if isinstance(calm, RaceFinding):
                found = calm
                break
        return one_by_one(threads, race, self._seed) or seen_again(threads, found)

    def _raced(self, threads: Threads, race: Race, kill: int) -> RaceFinding | Failure | None:
        """What is wrong with a race in which the adapter is killed, or, with 0, is not."""
        try:
            history = threads.run(race, None, kill)
        except Hung as hung:
            return RaceFinding("LAW-13", f"{race.name}: {hung}", race=race)
        if not isinstance(history, History):
            return history
        result, _ = judged(history)
        self.tally.histories += 1
        self.tally.calls += len(history.calls)
        self.tally.silent += result is None
        self.tally.undecided += result is not None and result.verdict == "undecided"
        wrong = result is not None and result.verdict == "not linearizable"
        return finding(history, result, race, kill=kill) if result is not None and wrong else None

    def _database(self, one: _Target) -> Iterator[Failure | None]:
        """Now and then it is the database below the store that fails."""
        faults = self.door.faults
        if CONNECTION in faults and self._rng.random() < CONNECTIONS:
            self.tally.connections += 1
            yield self._execute((*one.before, Step(START, 0, one.command, kill=-CONNECTION - self._rng.randrange(LATEST))), one)
        if SERVER in faults and self._rng.random() < SERVERS:
            self.tally.servers += 1
            yield self._execute((*one.before, Step(START, 0, one.command, kill=-SERVER - self._rng.randrange(LATEST))), one)

    def _execute(self, steps: Run, one: _Target) -> Failure | None:
        execution = Execution(self.door, self.contract, self.coverage)
        resend = one.resent
        try:
            for step in steps:
                found = do(execution, step)
                if found is not None:
                    return found
                if step.kill == AFTER and step.action is one.command:
                    resend = not isinstance(one.command, TryClaimLease | RENEWALS)
                    one.points.count = self.door.points
                    one.points.likely = self.door.marks[:-1]  # after the last change nothing is half done
            return do_all(execution, self._afterwards(execution, one.command, resend))
        except Indefinite:
            return None

    def _afterwards(self, execution: Execution, command: Command, resend: bool) -> Iterator[Step]:
        """Read everything back; then what a client would do that had no answer; then what a store that forgot gives twice.

        A lease or a claim that was answered is not renewed once more: that would make up for an expiry that was lost.
        Now and then the process is killed once more: what the first one after the kill wrote may hang on what was half done.
        """
        walker = Walker(seeded(self._rng.randrange(2**32)), self.contract, self.door.capabilities)
        reads = walker.read_back(execution.state)
        again = renamed(command, AGAIN)
        stamped = [one.action for one in execution.steps if isinstance(one.action, CommitState) and one.action.stamp.turn]
        asked = [TryClaimLease(BOUND, BOB, LONG, Name(AGAIN + 6))] if self._rng.random() < ASKED else []
        resent = [again] if resend else []
        for one in (*reads, *asked, *resent, *stamped, enqueue(AGAIN + 1), enqueue(AGAIN + 2, source=1)):
            yield Step(execution.now, 0, one)
        for name, session in ((AGAIN + 3, BOUND), (AGAIN + 4, OTHER)):
            held = holder(execution, session)
            if held.token > 0:  # a re-entry shows until when
                yield Step(execution.now, 0, TryClaimLease(session, held.owner, Millis(1), Name(name + 10)))
            yield Step(execution.now, 0, ReleaseLease(holder(execution, session)))
            yield Step(execution.now, 0, TryClaimLease(session, BOB, LONG, Name(name)))
        taken = ClaimReady(BOUND, holder(execution, BOUND), BOB, True, LONG, 10, Name(AGAIN + 5))
        yield Step(execution.now, 0, taken)
        later = START + LONG + 1 if self.door.capabilities.clock == "virtual" else execution.now
        yield from (Step(later, 0, one) for one in reads)  # what was renewed outlives the time that it had before
        if self._rng.random() < TWICE:
            self.tally.kills += 1
            closed = self.door.capabilities.reopen and self._rng.random() < 0.5
            saved = Step(execution.now, 0, SaveMeta(Body(AGAIN)), kill=AFTER)
            yield Step(execution.now, 0, Reopen(), kill=self._opening()) if closed else saved
            for one in reads:
                yield Step(execution.now, 0, one)

    def _long(self) -> Iterator[Failure | None]:
        """A long run, killed in those calls that write more often than others of their kind: now and then a store tidies up."""
        door = self.door
        if not isinstance(door, KillDoor):
            return
        self._drawn += 1
        walker = Walker(seeded(self._seed * 104_729 + self._drawn), self.contract, door.capabilities, FOCI[0])
        among = walker.offered([op for op, weight in FOCI[0].weights.items() for _ in range(weight) if op != "reopen"])
        execution, marks = Execution(door, self.contract, self.coverage), dict[int, list[int]]()
        try:
            door.counting = True
            for _ in range(LONG_RUN):
                mismatch = advance(execution, walker, among)
                if mismatch is not None:
                    yield failure(execution, mismatch)
                    return
                marks[len(execution.steps) - 1] = door.marks
        except Indefinite:
            return
        finally:
            door.counting = False
        for number in _unusual(execution.steps, marks):
            earlier, likely = tuple(execution.steps[:number]), marks[number][:-1]
            for at in self._rng.sample(likely, min(len(likely), MOST_MARKS)):
                yield self._repeated((*earlier, evolve(execution.steps[number], kill=at)))

    def _repeated(self, steps: Run) -> Failure | None:
        """The same run, with a kill at its end; then everything is read."""
        self.tally.kills += 1
        execution = Execution(self.door, self.contract, self.coverage)
        try:
            found = repeat(execution, steps)
            if found is not None:
                return found
            walker = Walker(seeded(self._seed), self.contract, self.door.capabilities)
            return do_all(execution, (Step(execution.now, 0, one) for one in walker.read_back(execution.state)))
        except Indefinite:
            return None

    def _walked(self) -> Failure | None:
        """A drawn run with a kill at a drawn point, and the rest of the run after it."""
        self._drawn += 1
        focus = FOCI[self._drawn % len(FOCI)]
        walker = Walker(seeded(self._seed * 104_729 + self._drawn), self.contract, self.door.capabilities, focus)
        execution = Execution(self.door, self.contract, self.coverage)
        try:
            for _ in range(self._rng.choice(LENGTHS)):
                mismatch = advance(execution, walker)
                if mismatch is not None:
                    return failure(execution, mismatch)
            found = self._kill_drawn(execution, walker)
            if found is not None:
                return found
            for _ in range(self._rng.choice(LENGTHS)):
                mismatch = advance(execution, walker)
                if mismatch is not None:
                    return failure(execution, mismatch)
            return end(execution, walker)
        except Indefinite:
            return None

    def _kill_drawn(self, execution: Execution, walker: Walker) -> Failure | None:
        points = self.door.points
        before = execution.state
        one = walker.next(before)
        if isinstance(one.action, (Reopen, *READS)):
            return None
        at = self._rng.randint(1, max(1, 2 * points)) if self._rng.random() < 0.8 else AFTER
        count = len(execution.steps)
        mismatch = attempt(execution, evolve(one, kill=at))
        self.tally.kills += 1
        if mismatch is None and len(execution.steps) > count:
            if isinstance(execution.answers[-1], Unknown):
                walker.lost(one.action)
            else:
                walker.took(one.action, False, before, execution.state)
            walker.pending += walker.read_back(execution.state)
        return None if mismatch is None else failure(execution, mismatch)


def _unusual(steps: Sequence[Step], marks: Mapping[int, Sequence[int]]) -> list[int]:
    """The steps with more marks than is usual for their operation, those with most of them first."""
    usual: dict[str, list[int]] = {}
    for number, found in marks.items():
        usual.setdefault(_op(steps[number]), []).append(len(found))
    over = {number: len(found) - median_low(usual[_op(steps[number])]) for number, found in marks.items()}
    return sorted((number for number, more in over.items() if more > 0), key=lambda number: (-over[number], number))[:UNUSUAL]


def _op(one: Step) -> str:
    return "" if isinstance(one.action, Reopen) else operation(one.action)


def crowd(able: Capabilities) -> Race:
    """Many calls that all change something, and need nothing of each other: whichever was answered has to be found again."""
    batches = [[enqueue(10 * client + number) for number in range(1, 4)] for client in (1, 2, 3)]
    listing = [batches[1][0], ALL, batches[1][1], ALL]
    return Race("batches of three clients", (), tuple(map(tuple, (batches[0], listing, batches[2])))[: able.handles])


def _changes(one: _Target, contract: Contract) -> int:
    """How many rows of a state the call changes: the more, the more can be half done."""
    state = initial(contract, BOUND)
    for step_ in one.before:
        if not isinstance(step_.action, Reopen):
            state, _ = step(state, _filled(step_.action, state), Millis(step_.at), contract)
    after, _ = step(state, _filled(one.command, state), Millis(START), contract)
    return sum(len(set(_rows(two)) - set(_rows(other))) for two, other in ((after, state), (state, after)))


def _filled(command: Command, state: State) -> Command:
    """The command with all batches of the claims that it names, which a race leaves to be filled in."""

    def held(claim: ClaimId) -> tuple[BatchId, ...]:
        return tuple(batch.batch for batch in state.queue if batch.hold.claim == claim)

    if isinstance(command, RenewClaim | AbandonClaim):
        return evolve(command, batches=command.batches or held(command.claim))
    if isinstance(command, CommitState):
        return evolve(
            command, completions=tuple(evolve(one, batches=one.batches or held(one.claim)) for one in command.completions)
        )
    return command


def _rows(state: State) -> list[object]:
    return [state.head, state.meta, *state.nodes, *state.ledger, *state.stamps, *state.lanes, *state.queue, *state.manifest]


def _in_turn(targets: list[_Target]) -> list[_Target]:
    """Each operation in turn, and of commits, of which most can be half done, several."""
    counts: Counter[str] = Counter()
    ranked: list[tuple[int, int, _Target]] = []
    for one in targets:
        op = operation(one.command)
        ranked.append((counts[op] // (COMMITS if isinstance(one.command, CommitState) else 1), len(ranked), one))
        counts[op] += 1
    return [one for _, _, one in sorted(ranked, key=lambda item: item[:2])]


def holder(execution: Execution, session: SessionId) -> Fence:
    """What the holder of a session's lane shows; what nobody ever held, if it is free."""
    lane = lane_of(execution.state, session)
    return (
        Fence(session, lane.owner, lane.token, lane.fencing) if lane.token else Fence(session, BOB, LeaseToken(-1), FencingToken(1))
    )


def _targets(door: Door) -> Iterator[_Target]:
    """Each call of a race that changes something, alone, after what comes before it there; some also after one like it."""
    seen, doubled = set(), set()
    for race in races(door.capabilities):
        for client in race.clients:
            earlier: Run = race.before
            for command in client:
                key = (earlier, renamed(command, 0))
                if not isinstance(command, READS) and key not in seen:
                    seen.add(key)
                    yield _Target(earlier, command, Points())
                    if isinstance(command, RENEWALS) and type(command) not in doubled:
                        doubled.add(type(command))
                        yield _Target((*earlier, Step(START, 0, command)), evolve(command), Points(), resent=False)
                earlier = (*earlier, Step(START, 0, command))
