"""Every requirement and law, by identifier. Nothing else knows the list; reports, tests and documents are made from it."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

Level = Literal["requirement", "law"]


@frozen
class Requirement:
    """One statement of the contract. ``level``: one rule of one operation, or a law across operations."""

    id: str
    level: Level
    statement: str


def _group(level: Level, prefix: str, *statements: str) -> tuple[Requirement, ...]:
    return tuple(Requirement(f"{prefix}-{number}", level, text) for number, text in enumerate(statements, start=1))


REQUIREMENTS: tuple[Requirement, ...] = (
    *_group(
        "law",
        "LAW",
        "A refusal is inert: an operation that returns an error, or None for 'not granted', changes nothing observable.",
        "One writer: at any time at most one owner holds a live lease on a session's lane.",
        "Fences rise: a lane's fencing token never decreases, and every fresh grant's token is greater than all before on that lane.",
        "Claims are fenced: a claim's fencing token is greater than that of every earlier claim that included any of its batches;"
        " a lease token or claim id never becomes valid again.",
        "Conservation: every accepted batch is exactly one of pending, claimed, completed, cancelled; nothing is lost or duplicated.",
        "Revision: an accepted commit, and nothing else, raises the head revision, by exactly 1.",
        "Replay: a replayed stamped commit returns the first result and changes nothing, save the lease release it names.",
        "Ledger: the loaded ledger is the exact sum of the usage rows of accepted commits, by (source, model), in first-seen order.",
        "Sessions are isolated: what an operation on one session returns never depends on another session's lane or queue.",
        "Reopen is the identity: closing and opening a durable store again, or a kill of its process, changes nothing observable; "
        "an operation under way then has happened whole or not at all.",
        "Atomic commit: all parts of a commit become visible together or not at all; no load mixes two revisions.",
        "Linearizable: every concurrent operation appears to take effect at one instant between its call and its return; a call whose answer was lost took effect once or never.",
        "Terminates: every operation ends on every input, malformed parent links included.",
        "Large times: times up to 2^63-1 are ordinary; sums saturate there; a far-future time is never treated as past.",
        "Typed refusal: contention, bad input and unreadable data surface as errors, never as absence, emptiness or success.",
    ),
    *_group(
        "requirement",
        "LEASE",
        "A lane that is not live is granted: a greater fencing token, a fresh lease token, claimed_at = now, expires_at = now + ttl.",
        "A live lane is re-entered by its owner: same lease token, fencing token and claimed_at; expires_at per P-REENTRY.",
        "A live lane is not granted to another owner: None.",
        "A live lane whose owner, token and fencing token all match is renewed: expires_at = now + ttl, the rest unchanged.",
        "Any other renewal is refused: session_execution_lease_expired.",
        "A matching release, live or not, clears the lane and keeps the fencing counter.",
        "Any other release succeeds and changes nothing; an old release never clears a newer lease.",
        "Of two handles that claim a never-claimed lane at once, exactly one is granted.",
    ),
    *_group(
        "requirement",
        "COMMIT",
        "A commit for another session than the head is bound to is refused: session_binding_mismatch. A refused commit never binds.",
        "A stamp for another session than the commit's is refused: runtime_turn_commit_conflict.",
        "A stamp stored under (session, turn) with another hash is refused: runtime_turn_commit_conflict.",
        "A stamp stored with the same hash: the named release is done if it matches, and the stored result is returned. Nothing else counts.",
        "Without the fence of this session's live lease a commit is refused: session_execution_lease_expired.",
        "An expected head revision that is not the actual one (0 without a head) is refused: head_revision_conflict.",
        "Each completed claim must be of this session and still hold every named batch: else queued_work_claim_expired.",
        "An accepted commit stores checkpoint, usage, graph, head, completions, attachment stamps, turn stamp and release in one step.",
        "A turn's identity is the hash of the commit without revisions, leases and volatile members; the store keeps it as opaque text.",
        "A body given now gets a reference; a later commit that passes the reference without a body keeps the body.",
    ),
    *_group(
        "requirement",
        "GRAPH",
        "A graph delta is unchanged, append or replace_full; the head's leaf becomes the given one.",
        "load_session is None before any commit; after, it returns head fields, graph, hydrated checkpoint and merged ledger.",
        "full_graph: every node not tombstoned, in storage order; the graph's leaf is the head's.",
        "active_path: the nodes from the root to the leaf along parents; a missing parent ends the path; an unknown leaf gives no nodes.",
        "load_node: the record, or None if unknown or tombstoned.",
        "tombstone_nodes hides nodes from every load at once; unknown ids are ignored; it needs no lease and raises no revision.",
        "vacuum removes tombstoned nodes and says how many this call removed; an immediate second vacuum returns 0.",
        "Duplicate, revived and unknown ids are handled by one policy each.",
        "gc_unreachable is safe at any time: afterwards the current checkpoint still hydrates in full.",
    ),
    *_group(
        "requirement",
        "QUEUE",
        "enqueue appends with an enqueue_seq greater than all before, enqueued_at = now, and assigned item ids. It needs no lease.",
        "A source key already queued for that session returns the stored batch unchanged. Keys are per session.",
        "list_queued_work: all batches of the session by enqueue_seq; list_pending_queued_work: those without a live claim.",
        "claim_ready: at most 0 batches gives None; then the fence as in COMMIT-5, else session_execution_lease_expired.",
        "Candidates are the session's batches that are due and not live-claimed, by enqueue_seq; none: None. Other work is skipped over.",
        "At an active turn's checkpoint a first candidate that waits for the turn's commit gives None, whatever follows.",
        "An exclusive first candidate is claimed alone; a join one with the candidates after it of equal delivery policy and merge key,"
        " up to max_batches.",
        "A granted claim has one claim id, lease token and fencing token, claimed_at = now, expires_at = now + ttl, batches by enqueue_seq.",
        "A claim lives until its own expiry, whatever becomes of the session lease; then its batches are candidates again.",
        "claim by batch ids is granted iff the ordinary claim would be exactly those batches in that order; else None.",
        "renew_claim: iff every batch is still held under claim id and token, expires_at = now + ttl; else queued_work_claim_expired.",
        "abandon_claim: batches still held become pending, fencing counters kept; else success and nothing changes.",
        "cancel removes and returns a batch iff it has no live claim; else None.",
        "A process wake and a session command become ordinary batches with a derived source key.",
    ),
    *_group(
        "requirement",
        "ATTACH",
        "record_intent makes an uncommitted row.",
        "commit_refs, or a commit's attachment ids, stamp rows of that session; the first stamp stays; others' rows are ignored.",
        "list_uncommitted: rows with no stamp and intent_at <= older_than.",
        "forget removes the row; unknown ids are ignored.",
        "A no-op manifest accepts everything and its list is always empty.",
    ),
    *_group("requirement", "META", "load_session_meta returns the last saved value, all six fields; None before the first."),
    *_group("requirement", "TIER", "The declared durability tier is what the store reports."),
)

STATEMENTS: dict[str, str] = {requirement.id: requirement.statement for requirement in REQUIREMENTS}
"""Identifier -> statement."""
