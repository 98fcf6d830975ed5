"""A saved race run again: as it was, with its change of turns moved a little, at every point, and with free threads.

The store's code may have changed since, so a point is where it was only roughly. What shows up is judged like any other history.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from itertools import permutations, repeat

from attrs import frozen

from leasehold.oracle.concurrent import Hung, RaceFinding, Threads, finding, judged
from leasehold.oracle.points import Points
from leasehold.oracle.provoke import LONG_WAIT, LONG_WAITS, RERUNS, seen_again
from leasehold.oracle.races import Race, races
from leasehold.oracle.run import Failure
from leasehold.oracle.schedule import Schedule
from leasehold.store import Capabilities
from leasehold_model.lease import TryClaimLease

NEAR = 8
"""How far from where it was a change of turns is tried, in points."""

FREE = 20
"""How often free threads are let loose."""

SECONDS = 5.0
"""How long a race is looked for."""

KILLED, KILLED_LONGER = 200, 4
"""How often an adapter is killed in a race, and how many times as long that may take."""


@frozen
class Rerun:
    """What came of it. ``failure``: it went wrong before the clients started.

    ``judged``: how many histories could be; ``why`` the others could not.
    """

    found: RaceFinding | None = None
    judged: int = 0
    failure: Failure | None = None
    why: str = ""


def rerun(threads: Threads, race: Race, schedule: Schedule | None, seconds: float = SECONDS, kill: int = 0) -> Rerun:
    """Run a race until it shows something, or all was tried. ``kill``: an adapter is killed at some time about then, in each."""
    ends, decided, rng = time.monotonic() + seconds * (KILLED_LONGER if kill else 1), 0, random.Random(kill)
    why = "no history of it could be judged"
    for one in _schedules(race, schedule) if not kill else repeat(None, KILLED):
        at = rng.randint(1, 2 * kill) if kill else 0
        try:
            history = threads.run(race, one, at)
        except Hung as hung:
            return Rerun(RaceFinding("LAW-13", f"{race.name}: {hung}", race=race), decided)
        if isinstance(history, Failure):
            return Rerun(None, decided, history)
        if history is not None:
            result, silence = judged(history)
            why = silence or why
            decided += result is not None and result.verdict != "undecided"
            if result is not None and result.verdict == "not linearizable":
                return Rerun(seen_again(threads, finding(history, result, race, one, at)), decided)
        if time.monotonic() > ends:
            break
    return Rerun(None, decided, None, why)


def _schedules(race: Race, schedule: Schedule | None) -> Iterator[Schedule | None]:
    if schedule is not None:
        for _ in range(RERUNS):
            yield schedule.anew()
        for _ in range(LONG_WAITS):
            yield Schedule(schedule.order, schedule.changes, fine=schedule.fine, patience=LONG_WAIT)
        for off in range(1, NEAR + 1):
            for by in (off, -off):
                moved = [change + by for change in schedule.changes]
                if moved and moved[0] > 0:
                    yield Schedule(schedule.order, moved, fine=schedule.fine)
    spread = []
    for order in permutations(range(len(race.clients))):
        whole = Schedule(order, [])
        yield whole
        spread.append((order, Points(count=whole.shared)))
    while spread:
        for one in tuple(spread):
            order, points = one
            at = points.next()
            if at is None:
                spread.remove(one)
                continue
            points.tried.add(at)
            yield Schedule(order, [at])
        yield None
    for _ in range(FREE):
        yield None


def first_leases(capabilities: Capabilities) -> list[Race]:
    """Clients that ask for a lane that was never claimed (LEASE-8)."""
    return [one for one in races(capabilities) if not one.before and isinstance(one.clients[0][0], TryClaimLease)]
