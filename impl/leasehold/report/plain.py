"""Plain words for readers who never saw the contract: what each operation does, what the words of a report mean."""

from __future__ import annotations

import re
from collections.abc import Iterable

DOES = {
    "load_session": "loads the session",
    "load_node": "loads one node of the graph",
    "commit_runtime_state": "commits the session's state",
    "try_claim_session_execution_lease": "asks for the session's lease",
    "renew_session_execution_lease": "asks to extend a lease",
    "release_session_execution_lease": "gives a lease back",
    "enqueue_queued_work": "enqueues a batch of work",
    "claim_ready_queued_work": "claims the work that is ready",
    "claim_ready_queued_work_by_batch_ids": "claims the batches it names",
    "renew_queued_work_claim": "asks to extend a claim",
    "abandon_queued_work_claim": "gives a claim back",
    "cancel_queued_work_batch": "cancels a batch",
    "list_queued_work": "lists the queued work",
    "list_pending_queued_work": "lists the work that nobody holds",
    "save_session_meta": "saves the session's metadata",
    "load_session_meta": "loads the session's metadata",
    "tombstone_nodes": "hides nodes of the graph",
    "vacuum": "removes hidden nodes for good",
    "gc_unreachable": "deletes what no checkpoint needs",
    "record_intent": "announces an attachment",
    "commit_refs": "marks attachments as committed",
    "list_uncommitted": "lists attachments never committed",
    "forget": "forgets an attachment",
}
"""Operation -> what its caller does."""

GLOSSARY = {
    "store": "The program under test. It keeps the state of agent sessions, and hands out leases and queued work.",
    "lane": "Where a session runs: one for each session. Who holds its lease holds the lane.",
    "lease": (
        "The right to run a session, held by one owner at a time (here ann, bob, ...) until it is given back or expires. "
        "At the instant of its expiry it has expired."
    ),
    "fencing token": (
        "The number of a lease or claim, in the drawing #1, #2, ... It rises with every new grant, so that whoever comes late "
        "with an old number is recognised."
    ),
    "live": "Held and not expired: the time is before its expiry.",
    "fence": "What an owner shows to prove that it holds the lease: session, owner, lease token and fencing token.",
    "batch": "A piece of queued work. Batches stand in the order in which they were enqueued.",
    "source key": "A name that the sender gives a batch. Sent again while it is queued, it is not queued a second time.",
    "claim": "A hold on batches of queued work for a limited time, so that no two workers do the same work.",
    "commit": "One atomic change of everything that a session stores. It needs the session's live lease.",
    "head revision": "How many commits the session has had. Each accepted commit, and nothing else, raises it by one.",
    "replay": "The same turn committed again, as after a lost answer. It returns the first result and changes nothing.",
    "checkpoint": "What an agent resumes from: parts of a commit, given as bodies or as references to earlier ones.",
    "graph": "The nodes of the session's history, each with its parent. The leaf is where the active path ends.",
    "tombstone": "The mark of a hidden node: no load shows it, until a vacuum removes it for good.",
    "ledger": "The token usage of all accepted commits, summed by source and model.",
    "manifest": "The list of attachments that were announced, and whether each was committed.",
    "refused": "An error that says that nothing happened.",
    "lost answer": (
        "No answer to a call came back, as when a connection breaks. It may have taken effect, or not, or may do so later: "
        "once at most."
    ),
    "at once": (
        "Calls of several clients that overlap in time. Each has to take effect at one instant between its start and its return, "
        "so some order of them has to explain all the answers (they are linearizable)."
    ),
    "kill": (
        "The process that holds the store is ended from outside, as by kill -9, and started again on the data it left. What was "
        "answered before has to be there; a call that was under way has happened whole or not at all."
    ),
    "null": "No value, also called None: not granted, or not there. Nothing happened.",
    "handle": "One open connection to the store.",
    "policy": "A point where the contract leaves stores a choice. The check finds out the choice and holds the store to it.",
}
"""Word -> what it means, in the order in which one would learn them."""

_WORDS = {
    "session_execution_lease": ("lease", "fencing token"),
    "claim_ready": ("lease", "fencing token", "batch", "claim"),
    "work_claim": ("batch", "claim", "fencing token"),
    "queued": ("batch",),
    "commit_runtime": ("lease", "fencing token", "commit", "head revision"),
    "load": ("commit", "head revision", "graph"),
    "tombstone": ("graph", "tombstone"),
    "vacuum": ("graph", "tombstone"),
    "gc_": ("commit", "checkpoint"),
    "intent": ("manifest",),
    "uncommitted": ("manifest",),
    "refs": ("manifest",),
    "forget": ("manifest",),
}


def words_for(ops: Iterable[str], texts: Iterable[str]) -> dict[str, str]:
    """The words that a reader of these operations, and of these texts, has to know."""
    needed = {word for op in ops for part, words in _WORDS.items() if part in op for word in words}
    said = " ".join(texts).lower()
    needed |= {word for word in GLOSSARY if word != "store" and re.search(rf"\b{word}(?:e?s|ed)?\b", said)}
    return {word: meaning for word, meaning in GLOSSARY.items() if word in needed}


def does(op: str) -> str:
    """What the caller of an operation does."""
    return DOES.get(op, op or "closes every handle and opens the store again")
