"""The answers that every concept shares. Each answer carries ``rule``: the requirement that decided it."""

from __future__ import annotations

from attrs import frozen

BINDING_MISMATCH = "session_binding_mismatch"
REVISION_CONFLICT = "head_revision_conflict"
TURN_CONFLICT = "runtime_turn_commit_conflict"
LEASE_EXPIRED = "session_execution_lease_expired"
CLAIM_EXPIRED = "queued_work_claim_expired"
ANY_ERROR = ""
"""Where the contract names no code, any definite error is right (section 8)."""


@frozen
class Refused:
    """An error: nothing changed (LAW-1). ``details`` are the numbers the error carries, in the order of contract section 8."""

    rule: str
    code: str
    details: tuple[int, ...] = ()


@frozen
class Absent:
    """``None``: not granted, or not there. Nothing changed (LAW-1)."""

    rule: str


@frozen
class Done:
    """Success without a value."""

    rule: str


@frozen
class Silent:
    """The contract does not say what happens here. Nothing may be concluded from the store's answer, nor from what follows it."""

    why: str


INVALID_NUMBER = Refused("LAW-15", "invalid_request")
"""A negative ttl or limit: input that no store should accept (contract section 8)."""
