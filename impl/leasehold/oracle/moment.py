"""One step as it is judged, and what is wrong with it."""

from __future__ import annotations

from attrs import define, frozen

from leasehold_model.machine import Command, Contract, Response
from leasehold_model.state import State


@define  # not frozen: one is made for every step of every run
class Moment:
    """What was asked, when, of which state, and what the model says. ``span``: a real clock's readings around the call."""

    op: str
    command: Command
    now: int
    before: State
    after: State
    response: Response
    contract: Contract
    span: tuple[int, int] | None = None


@frozen
class Mismatch:
    """The store broke ``rule``: at ``where`` in its answer the model allows ``allowed``, the store gave ``given``."""

    rule: str
    where: str
    allowed: str
    given: str
    also: tuple[str, ...] = ()
