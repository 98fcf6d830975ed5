"""Findings that take more than one client or one process, made without a whole check: races, and runs with a kill."""

from __future__ import annotations

from functools import cache
from typing import Any

from attrs import evolve

from leasehold.oracle.answers import AFTER
from leasehold.oracle.concurrent import RaceFinding, Threads
from leasehold.oracle.findings import Finding, investigate
from leasehold.oracle.kill import KillDoor
from leasehold.oracle.probe import LOAD, lane
from leasehold.oracle.python_door import PythonDoor
from leasehold.oracle.races import Race, races, spent
from leasehold.oracle.rerun import rerun
from leasehold.oracle.run import START, Execution, Reopen, Run, Step, execute
from leasehold_model.attachment import LoadMeta, SaveMeta
from leasehold_model.ids import Body
from leasehold_model.machine import RECOMMENDED, Command
from tests.impl.wrong import HERE, KILLABLE, Unlocked

NAMES = ("three ask for a lane that was never claimed", "a path while commits land", "a completion against a renewal")
"""Races: without and with steps before, with a call that has not returned, with an exception."""


def named(name: str) -> Race:
    """One of the races that a check runs."""
    return next(one for one in races(Unlocked.capabilities) if one.name == name)


@cache
def raced(name: str, store: Any = Unlocked) -> RaceFinding:
    """What a race shows on a store without a lock."""
    again = rerun(Threads(PythonDoor(store, HERE + store.__name__), RECOMMENDED), named(name), None)
    assert again.found is not None, f"{name} showed nothing"
    return again.found


def run(*commands: Command | Reopen, kill: int) -> Run:
    """The commands, with a kill in the last but one."""
    return tuple(Step(START, 0, one, kill=kill if index == len(commands) - 2 else 0) for index, one in enumerate(commands))


@cache
def half_done() -> Finding:
    """A commit of which a kill left a part."""
    door = KillDoor(HERE + "usage_later", KILLABLE, 5.0)
    try:
        assert execute(door, RECOMMENDED, run(lane(), spent(31), LOAD, kill=AFTER)) is None
        failed = (execute(door, RECOMMENDED, run(lane(), spent(31), LOAD, kill=at)) for at in range(lines(door), 0, -1))
        return investigate(door, RECOMMENDED, next(one for one in failed if one is not None), 2.0)
    finally:
        door.shut()


@cache
def emptied() -> Finding:
    """A store that was killed while it was opened."""
    door = KillDoor("python:tests.liars.crashing:compacts_in_place", KILLABLE, 5.0)
    try:
        saved, reopened, loaded = run(SaveMeta(Body(3)), Reopen(), LoadMeta(), kill=AFTER)
        assert execute(door, RECOMMENDED, (saved, reopened, loaded)) is None
        failed = execute(door, RECOMMENDED, (saved, evolve(reopened, kill=door.opening_marks[0]), loaded))
        assert failed is not None
        return investigate(door, RECOMMENDED, failed, 2.0)
    finally:
        door.shut()


def lines(door: KillDoor) -> int:
    """How many lines of the store's code that commit has."""
    execution = Execution(door, RECOMMENDED)
    for one in run(lane(), spent(31), LOAD, kill=AFTER)[:2]:
        wrong = execution.do(one)
        assert wrong is None, wrong
    return door.points


@cache
def forgotten() -> Finding:
    """Something that was acknowledged and then lost by a kill."""
    door = KillDoor(HERE + "meta_in_memory", KILLABLE, 5.0)
    try:
        failed = execute(door, RECOMMENDED, run(SaveMeta(Body(3)), LoadMeta(), kill=AFTER))
        assert failed is not None
        return investigate(door, RECOMMENDED, failed, 2.0)
    finally:
        door.shut()
