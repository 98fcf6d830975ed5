"""Which races are run under which schedules: every race at every point, the likeliest first; then drawn ones, and free threads."""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from attrs import define, evolve

from leasehold.oracle.concurrent import History, Hung, RaceFinding, Threads, finding, judged, reads, reopening, repeated
from leasehold.oracle.drive import advance, seeded
from leasehold.oracle.points import LinePoints, Lines
from leasehold.oracle.races import Kind, Race, races
from leasehold.oracle.run import START, Execution, Failure, Indefinite, Reopen, Step, attempt, failure
from leasehold.oracle.schedule import Schedule
from leasehold.oracle.view import View
from leasehold.oracle.walker import FOCI, Walker
from leasehold.wire.client import WireDoor
from leasehold_model.lease import TryClaimLease
from leasehold_model.machine import Command

AT_FIRST, AT_ONCE = 2, 4
"""Schedules of one race that are tried before the next one is looked at, at first and later.

Few at first, so that where calls are slow every race is looked at.
"""

MORE: dict[Kind, int] = {"apart": 8, "opens": 3, "reads": 2}
"""So many times more: of some kinds there are few races, and many lines."""

LONG_WAIT, LONG_WAITS, WAITED = 0.11, 1, 0.08
"""Seconds for which clients are left to wait for another, how often for each operation, and how much of the time that may take.

Who gives up waiting has to say so. Each operation waits for its like, and for another, which changes more of its answer.
"""

RERUNS = 5
"""How often a race is run again, under the same schedule, to see whether the finding comes back."""

KILLED_RERUNS, KILLED_SECONDS = 50, 3.0
"""The same where an adapter has to be killed at the right time, and the seconds that it may take."""

DRAWN_STEPS = (2, 5, 10, 18)
"""How many steps come before the clients of a drawn race start."""


@define
class Tally:
    """What the concurrent and the crash runs came to. ``silent``: histories of which the contract says nothing.

    ``connections`` and ``servers``: how often the connections to a database were ended, and the database server killed.
    """

    histories: int = 0
    first_leases: int = 0
    calls: int = 0
    undecided: int = 0
    silent: int = 0
    kills: int = 0
    connections: int = 0
    servers: int = 0
    power_losses: int = 0


@define
class _Ordered:
    """A race in one order, and the points at which it can be interrupted."""

    race: Race
    order: tuple[int, ...]
    points: LinePoints | None = None


class Provoker:
    """An endless source of concurrent runs. ``run`` does one and returns what it found.

    ``apart``: the same store with each client in a process of its own, where there is that.
    """

    def __init__(self, threads: Threads, seed: int, tally: Tally, apart: Threads | None = None) -> None:
        self.threads = threads
        self.apart = apart
        self.tally = tally
        self._rng = random.Random(seed)
        self._seed = seed
        self._drawn = 0
        self._lines: defaultdict[Kind, Lines] = defaultdict(Lines)
        self._waited: Counter[tuple[bool, bool, str]] = Counter()
        self._spent, self._patient = 0.0, 0.0  # seconds: in all races, and in those with long waits
        self._runs = self._all()

    def run(self) -> RaceFinding | Failure | None:
        """The next run."""
        return next(self._runs)

    def _all(self) -> Iterator[RaceFinding | Failure | None]:
        points = []
        for race in races(self.threads.door.capabilities):
            orders = _orders(len(race.clients))
            self._rng.shuffle(orders)
            points += [(rank, _Ordered(race, order)) for rank, order in enumerate(orders)]
        self._rng.shuffle(points)
        points.sort(key=lambda one: (not _is_first_lease(one[1].race), one[0]))  # every race in one order, before any in another
        turn = 0
        while True:
            turn += 1
            for _, one in points:
                yield from self._systematic(one, AT_ONCE if turn > 1 else AT_FIRST)
                count = len(one.points.places) if one.points else 0
                if turn > 1 or count == 0:
                    yield self._once(one.race, None)
                if self.apart is not None:
                    yield self._once(one.race, None, self.apart)
                if turn > 2:
                    yield self._randomly(one.race, count)
            drawn = self._draw()
            if drawn is not None:
                yield from self._loosely(drawn)
            if not points:
                yield None

    def _systematic(self, one: _Ordered, most: int = AT_ONCE) -> Iterator[RaceFinding | Failure | None]:
        if one.points is None:
            first = Schedule(one.order, [])
            yield self._once(one.race, first)
            one.points = LinePoints(self._lines[one.race.kind], first.places[: first.shared], one.race.operations)
        apart = one.race.sessions > 1
        operations = [(apart, len(one.race.operations) > 1, op) for op in one.race.operations]
        for _ in range(MORE.get(one.race.kind, 1) * most):
            at = one.points.next()
            if at is None:
                return
            schedule = Schedule(one.order, [at])
            found = self._once(one.race, schedule)
            one.points.tried(at, waited=schedule.stuck > 0 and not one.race.opens)  # a handle may be open before its client waits
            yield found
            seldom = self._patient < WAITED * self._spent
            if schedule.stuck and seldom and min(self._waited[op] for op in operations) < LONG_WAITS:
                self._waited.update(operations)
                before = self._spent
                found = self._once(one.race, Schedule(one.order, [at], patience=LONG_WAIT))
                self._patient += self._spent - before
                yield found

    def _randomly(self, race: Race, count: int) -> RaceFinding | Failure | None:
        """Several changes, at lines or opcodes."""
        fine = self._rng.random() < 0.5
        most = max(1, count * (8 if fine else 1))
        changes = [self._rng.randint(1, most) for _ in range(self._rng.choice((1, 2, 3)))]
        order = list(range(len(race.clients)))
        self._rng.shuffle(order)
        return self._once(race, Schedule(order, changes, fine=fine))

    def _loosely(self, race: Race) -> Iterator[RaceFinding | Failure | None]:
        order = tuple(range(len(race.clients)))
        first = Schedule(order, [])
        yield self._once(race, first)
        for _ in range(AT_ONCE):
            yield self._randomly(race, first.points)
        yield self._once(race, None)

    # -- one run -------------------------------------------------------------------------------------------------------

    def _once(self, race: Race, schedule: Schedule | None, threads: Threads | None = None) -> RaceFinding | Failure | None:
        threads = threads or self.threads
        if isinstance(threads.door, WireDoor):  # no lines of another program are seen: its clients would come in turn
            schedule = None
        began = time.monotonic()
        try:
            history = threads.run(race, schedule)
        except Hung as hung:
            return RaceFinding("LAW-13", f"{race.name}: {hung}", race=race)
        finally:
            self._spent += time.monotonic() - began
        if history is None or isinstance(history, Failure):
            return history
        result, _ = judged(history)
        self.tally.histories += 1
        self.tally.first_leases += _is_first_lease(race)
        self.tally.calls += len(history.calls)
        if result is None:
            self.tally.silent += 1
        elif result.verdict == "undecided":
            self.tally.undecided += 1
        elif result.verdict == "not linearizable":
            alone = one_by_one(self.threads, race, self._seed)
            if alone is not None:
                return alone
            return self._surest(seen_again(threads, finding(history, result, race, schedule)))
        return None

    def _surest(self, found: RaceFinding) -> RaceFinding:
        """Where clients waited for each other, who went on first was luck: a point nearby may show it without."""
        schedule, race = found.schedule, found.race
        if schedule is None or race is None or found.again == found.tries or len(schedule.changes) != 1:
            return found
        for off in (1, -1, 2, -2, 3, -3):
            near = Schedule(schedule.order, [schedule.changes[0] + off], fine=schedule.fine)
            with contextlib.suppress(Hung):
                history = self.threads.run(race, near)
                result = judged(history)[0] if isinstance(history, History) else None
                if isinstance(history, History) and result is not None and result.verdict == "not linearizable" and not near.stuck:
                    return seen_again(self.threads, finding(history, result, race, near))
        return found

    # -- drawn races ---------------------------------------------------------------------------------------------------

    def _draw(self) -> Race | None:
        """What happened before is walked, and then each client draws from the state that was reached."""
        self._drawn += 1
        door, contract, rng = self.threads.door, self.threads.contract, self._rng
        walker = Walker(seeded(self._seed * 7_919 + self._drawn), contract, door.capabilities, FOCI[self._drawn % len(FOCI)])
        execution = Execution(door, contract)
        try:
            for _ in range(rng.choice(DRAWN_STEPS)):
                if advance(execution, walker) is not None:
                    return None  # a run of one client meets it too
        except Indefinite:
            return None
        clients = []
        for _ in range(min(rng.choice((2, 2, 3)), door.capabilities.handles)):
            drawn = [walker.next(execution.state).action for _ in range(rng.choice((1, 1, 2, 3)))]
            clients.append(tuple(one for one in drawn if not isinstance(one, Reopen)))
        return Race("drawn", tuple(execution.steps), tuple(clients))


def do(execution: Execution, one: Step) -> Failure | None:
    """Execute a step, once what a race leaves to be filled in is."""
    if not isinstance(one.action, Reopen):
        ready = View(execution.binding).resolved(one.action)
        if ready is None:
            return None
        one = evolve(one, action=ready)
    mismatch = attempt(execution, one)
    return None if mismatch is None else failure(execution, mismatch)


def do_all(execution: Execution, steps: Iterable[Step]) -> Failure | None:
    """Execute steps until one is answered wrongly. They may be made as they are asked for, from what was answered before."""
    return next((found for one in steps if (found := do(execution, one)) is not None), None)


def one_by_one(threads: Threads, race: Race, seed: int) -> Failure | None:
    """What is wrong without a second client is told better by a run of one client."""
    for order in _orders(len(race.clients)):
        execution = Execution(threads.door, threads.contract)
        steps = [*race.before]
        for number in order:
            steps += [Step(race.before[-1].at if race.before else START, number, one) for one in race.clients[number]]
        try:
            found = do_all(execution, steps)
            if found is None:
                walker = Walker(seeded(seed), threads.contract, threads.door.capabilities)
                actions = _afterwards(threads, race, walker.read_back(execution.state))
                found = do_all(execution, (Step(execution.now, 0, action) for action in actions))
        except Indefinite:
            continue
        if found is not None:
            return found
    return None


def _afterwards(threads: Threads, race: Race, everything: list[Command]) -> Iterator[Command | Reopen]:
    """What is done after a race, too."""
    capabilities = threads.door.capabilities
    yield from (*everything, *reads(capabilities.ops), *repeated(race, capabilities.ops))
    if capabilities.reopen:
        yield from (Reopen(), *reopening(capabilities.ops))


def seen_again(threads: Threads, found: RaceFinding) -> RaceFinding:
    """The finding, with how often it comes back; where it takes a kill, with one at some time about then."""
    again, tries, ends = 0, 0, time.monotonic() + KILLED_SECONDS
    rng = random.Random(found.kill)
    while tries < (KILLED_RERUNS if found.kill else RERUNS) and (time.monotonic() < ends or not found.kill):
        tries += 1
        schedule = found.schedule and found.schedule.anew()
        try:
            history = threads.run(found.race, schedule, rng.randint(1, 2 * found.kill) if found.kill else 0) if found.race else None
        except Hung:
            break
        if history is None or isinstance(history, Failure):
            continue
        result, _ = judged(history)
        again += result is not None and result.verdict == "not linearizable"
    return evolve(found, again=again, tries=tries)


def _is_first_lease(race: Race) -> bool:
    """Clients ask for a lane that was never claimed (LEASE-8)."""
    return not race.before and isinstance(race.clients[0][0], TryClaimLease)


def _orders(clients: int) -> list[tuple[int, ...]]:
    """Each client first once."""
    return [tuple((first + number) % clients for number in range(clients)) for first in range(clients)]
