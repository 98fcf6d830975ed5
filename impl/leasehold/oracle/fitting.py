"""Fitting a saved run to what a store can do: another one made it, with other capabilities."""

from __future__ import annotations

from typing import Any

import attrs
from attrs import evolve

from leasehold.oracle.probe import FAR
from leasehold.oracle.run import Reopen, Run, Step
from leasehold.oracle.shrink import REAL_TTL, with_plain_payloads
from leasehold.oracle.vocabulary import RICH
from leasehold.store import Capabilities
from leasehold_model.decisions import MAX_MS
from leasehold_model.ids import Millis
from leasehold_model.machine import Command

HOUR = 3_600_000


def fit(one: Step, began: int, capabilities: Capabilities, not_killed: str = "") -> tuple[Step | None, str]:
    """The step as it can be sent, or None; and what is not as it was.

    ``began``: the time of the run's first step. ``not_killed``: why the process that holds the store is not killed.
    """
    if isinstance(one.action, Reopen):
        if one.kill and not not_killed:
            return one, ""
        if not capabilities.reopen:
            return None, "is left out: the store does not declare reopen"
        return evolve(one, kill=0), f"killed nothing: {not_killed}" if one.kill else ""
    action, notes = one.action, []
    if capabilities.max_integer < MAX_MS:
        action = with_plain_payloads(action, RICH)
    if capabilities.max_integer < MAX_MS and _largest(action, one.at) > capabilities.max_integer:
        return None, f"is left out: it needs integers above {capabilities.max_integer}"
    if one.kill and not_killed:
        notes.append(f"killed nothing: {not_killed}")
        one = evolve(one, kill=0)
    if one.handle >= capabilities.handles:
        notes.append(f"used handle 0 for handle {one.handle}: the store takes {capabilities.handles} at once")
        one = evolve(one, handle=0)
    if capabilities.clock == "real":
        if one.at != began:
            notes.append(f"was not {one.at - began} ms after the first: the store's clock is real")
        action = _for_a_real_clock(action, one.at)
    return evolve(one, action=action), "; ".join(notes)


def fitted(run: Run, capabilities: Capabilities) -> Run:
    """The steps that can be sent. Nothing is killed."""
    steps = (fit(one, run[0].at, capabilities, "this is a run")[0] for one in run)
    return tuple(one for one in steps if one is not None)


def _largest(value: Any, now: int) -> int:
    """The largest integer that a command brings or a store makes of it: a ttl is added to the time."""
    if isinstance(value, int):
        return value
    if isinstance(value, tuple):
        return max((_largest(one, now) for one in value), default=0)
    ends = now + getattr(value, "ttl", 0)
    return max(ends, *(_largest(getattr(value, one.name), now) for one in attrs.fields(type(value))), 0)


def _for_a_real_clock(command: Command, now: int) -> Command:
    """What would end or begin within the hour does so in two, or at once."""
    changes: dict[str, Millis] = {}
    if 0 < getattr(command, "ttl", 0) <= HOUR:
        changes["ttl"] = REAL_TTL
    if 0 < getattr(command, "available_at", 0) < FAR:
        changes["available_at"] = FAR if getattr(command, "available_at", 0) > now else Millis(0)
    return evolve(command, **changes) if changes else command  # type: ignore[arg-type]  # those that have such members
