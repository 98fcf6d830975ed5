"""The identity of a turn's commit (COMMIT-9): what tells an honest retry of a turn from another commit under its name.

A retry is built anew, so the hash leaves out what legitimately differs between two attempts: the revision and lease they ran
under, and the ids and times that were minted on the way. All the rest counts, completions and attachments included.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

LEASES = ("session_execution_lease", "release_session_execution_lease")
"""Members of a commit that are left out: the lease it runs under is no part of what it says."""

VOLATILE = ("node_id", "parent_node_id", "leaf_node_id", "timestamp")
"""Members left out of every object, at any depth: minted anew by each attempt."""

MESSAGE = ("role", "parts")
"""An object with these members is a message; its ``id`` is minted too."""

MESSAGE_PART = ("kind", "content", "prune_state")
"""An object with these members is a message part; its ``id`` is minted too."""


def turn_commit_hash(commit: Mapping[str, Any]) -> str:
    """SHA-256, 64 lower-case hex digits, of the canonical text of a commit in wire JSON (COMMIT-9)."""
    return hashlib.sha256(canonical_text(commit).encode("utf-8")).hexdigest()


def canonical_text(commit: Mapping[str, Any]) -> str:
    """The text that is hashed: compact JSON, sorted keys, characters beyond ASCII as they are, volatile members left out.

    Revision and stamp are null whether they were given, null or absent, and both leases are left out. Every other member counts
    as it stands: an absent optional member and a null one give different texts. The canonical form is the one that
    `leasehold.wire.codec` writes and `leasehold_model.session_state` builds: null for an optional member that is none, except
    in graph nodes, where it is absent.
    """
    semantic = {name: member for name, member in commit.items() if name not in LEASES}
    semantic |= {"expected_head_revision": None, "turn_commit": None}
    return json.dumps(without_volatile(semantic), ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)


def without_volatile(value: Any) -> Any:
    """A JSON value without the members that differ between two attempts at the same turn."""
    if isinstance(value, Mapping):
        dropped: tuple[str, ...] = VOLATILE
        if all(name in value for name in MESSAGE) or all(name in value for name in MESSAGE_PART):
            dropped = (*VOLATILE, "id")
        return {name: without_volatile(member) for name, member in value.items() if name not in dropped}
    if isinstance(value, (list, tuple)):
        return [without_volatile(item) for item in value]
    return value
