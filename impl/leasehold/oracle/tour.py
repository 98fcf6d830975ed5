"""The scripted part of the tour: sizes that random runs do not reach, the same on every check.

Real stores broke where a scan was limited, a path was walked by recursion, or a list was sorted as text.
"""

from __future__ import annotations

from collections.abc import Iterator

from leasehold.oracle.probe import ANN, LOAD, LONG, PATH, claim, commit, enqueue, fence, lane
from leasehold.oracle.run import BOUND, START, Run, Step
from leasehold.store import Capabilities
from leasehold_model.claim import ClaimReady
from leasehold_model.decisions import MAX_MS
from leasehold_model.ids import Name
from leasehold_model.machine import Command
from leasehold_model.queue import ListQueued

DEEP = 120
"""Batches that stand before the one that is due."""

LONG_PATH = 1_200
"""Nodes on one path: more than Python's or a database's usual recursion limit."""


def _run(*commands: Command) -> Run:
    return tuple(Step(START, 0, command) for command in commands)


def _one_by_one(first: int, count: int) -> Iterator[Command]:
    for number in range(count):
        yield ClaimReady(BOUND, fence(), ANN, True, LONG, 1, Name(first + number))


def tour(capabilities: Capabilities) -> Iterator[Run]:
    """Long runs through the operations that the store offers."""
    queue = {"try_claim_session_execution_lease", "enqueue_queued_work", "claim_ready_queued_work"} <= capabilities.ops
    far = min(MAX_MS, capabilities.max_integer)
    if queue:
        waiting = [enqueue(10 + number, available=far) for number in range(DEEP)]
        yield _run(lane(), *waiting, enqueue(500), claim(600), ListQueued(BOUND, False))
        joined = [enqueue(10 + number) for number in range(DEEP)]
        yield _run(lane(), *joined, claim(600, DEEP - 1), enqueue(500), claim(601), ListQueued(BOUND, True))
        yield _run(lane(), *joined[:40], *_one_by_one(600, 39), claim(700), ListQueued(BOUND, True))
    if {"try_claim_session_execution_lease", "commit_runtime_state", "load_session"} <= capabilities.ops:
        chain = [(number, number - 1) for number in range(1, LONG_PATH + 1)]
        yield _run(lane(), commit(2_000, *chain, leaf=LONG_PATH), PATH)
        yield _run(lane(), *(commit(2_000 + number, (number, number - 1), leaf=number) for number in range(1, 15)), LOAD)
