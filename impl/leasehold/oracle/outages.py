"""Power losses: what a disk may hold when the power goes in the middle of a run has to be the store as it was, and nothing mixed.

A run is walked on the SQLite store while `leasehold.crash.power` records what is asked of the disk. Then, at points all over the
run, the files are made that the disk may hold, and a store opened on them is read back and judged: it has to be as it was after the
last operation that was acknowledged, or after the one that was being done.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import define

from leasehold.crash.power import EXTREMES, Recorder, cuts, images, seeded
from leasehold.oracle.concurrent import RaceFinding
from leasehold.oracle.drive import advance
from leasehold.oracle.drive import seeded as drawing
from leasehold.oracle.explain import Possible
from leasehold.oracle.judge import judge
from leasehold.oracle.moment import Mismatch, Moment
from leasehold.oracle.provoke import Tally
from leasehold.oracle.python_door import PythonDoor
from leasehold.oracle.run import Execution, Indefinite
from leasehold.oracle.walker import FOCI, Walker
from leasehold.store import Clock, Store
from leasehold_model.ids import Millis
from leasehold_model.machine import Command, Contract, step

Opener = Callable[[Path, Clock], Store]
"""Opens the store in a directory, and makes it if there is none."""

STEPS = 25
"""Operations of one run."""

CUTS = 12
"""Power losses of one run."""


@define
class _At:
    """Where the disk's journal stood when an operation began and when it was answered, and what the store was from then on."""

    begun: int
    ended: int
    after: Possible
    now: int


class Outages:
    """An endless source of power losses. ``run`` does some, and returns what it found."""

    def __init__(self, opener: Opener, contract: Contract, seed: int, tally: Tally) -> None:
        self.contract = contract
        self.tally = tally
        self._opener = opener
        self._rng = random.Random(seed)
        self._number = 0

    def run(self) -> RaceFinding | None:
        """One run, and the power lost at several points of it."""
        self._number += 1
        with tempfile.TemporaryDirectory(prefix="leasehold-power-", ignore_cleanup_errors=True) as name:
            root = Path(name)
            (root / "disk").mkdir()
            with Recorder(root / "disk") as recorder:
                done = list(self._walked(root / "disk", recorder))
            if len(done) < 2:
                return None
            places = cuts(recorder.journal, CUTS, done[0].ended)
            lost = [
                (cut, self._rng.choice(EXTREMES) if number % 2 else seeded(self._rng.randrange(2**32)))
                for number, cut in enumerate(places)
            ]

            def place() -> Path:
                shutil.rmtree(root / "image", ignore_errors=True)
                (root / "image").mkdir()
                return root / "image"

            for cut, directory in images(recorder.journal, lost, place):
                self.tally.power_losses += 1
                found = self._survived(directory, cut, done)
                if found is not None:
                    return found
        return None

    def _walked(self, directory: Path, recorder: Recorder) -> Iterator[_At]:
        door = PythonDoor(lambda clock: self._opener(directory, clock), "sqlite")
        execution = Execution(door, self.contract)
        focus = FOCI[self._number % len(FOCI)]
        walker = Walker(drawing(self._rng.randrange(2**32)), self.contract, door.capabilities, focus)
        yield _At(recorder.length, recorder.length, Possible(execution.state, execution.binding.copy()), execution.now)
        try:
            for _ in range(STEPS):
                begun = recorder.length
                if advance(execution, walker) is not None or execution.worlds:
                    return  # a run without a power loss finds that too
                yield _At(begun, recorder.length, Possible(execution.state, execution.binding.copy()), execution.now)
        except Indefinite:
            return
        finally:
            door.close()

    def _survived(self, directory: Path, cut: int, done: list[_At]) -> RaceFinding | None:
        """The store on this disk is as one of these left it: the last that was acknowledged, or the one being done."""
        last = max(number for number, one in enumerate(done) if one.ended <= cut)
        allowed = [done[last], *(one for one in done[last + 1 : last + 2] if one.begun < cut)]
        door = PythonDoor(lambda clock: self._opener(directory, clock), "sqlite")
        try:
            return self._judged(door, allowed, cut)
        finally:
            door.close()

    def _judged(self, door: PythonDoor, allowed: list[_At], cut: int) -> RaceFinding | None:
        walker = Walker(drawing(1), self.contract, door.capabilities)
        left = [one.after for one in allowed]
        now = allowed[-1].now
        door.clock(now)
        for command in walker.read_back(allowed[-1].after.state):
            op, args = left[0].binding.call(command)
            answer = door.call(0, op, args)
            right, wrong = [], list[Mismatch]()
            for one in left:
                binding = one.binding.copy()
                mismatch = judge(binding, self._moment(op, command, now, one), answer)
                if mismatch is None:
                    right.append(Possible(one.state, binding))
                else:
                    wrong.append(mismatch)
            if not right:
                first = wrong[0]
                return RaceFinding(
                    "LAW-10",
                    f"after a power loss at write {cut} of run {self._number}, {op} shows what no operation left: {first.where}: "
                    f"the contract allows {first.allowed}; the store answered {first.given}",
                    also=tuple(dict.fromkeys(one.rule for one in wrong)),
                )
            left = right
        return None

    def _moment(self, op: str, command: Command, now: int, one: Possible) -> Moment:
        after, response = step(one.state, command, Millis(now), self.contract)
        return Moment(op, command, now, one.state, after, response, self.contract)
