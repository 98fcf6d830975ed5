"""Identifiers and numbers of the model. All are integers, compared with ``==`` (and order, where the contract orders them).

0 stands for *none* in every identifier. Ids that a store mints (tokens, batches, claims, checkpoint references) are named by the
caller of `machine.step`: the command carries ``name``, a number not used before; what the store minted is paired with it outside.
"""

from __future__ import annotations

from typing import NewType

SessionId = NewType("SessionId", int)
OwnerId = NewType("OwnerId", int)
LeaseToken = NewType("LeaseToken", int)
FencingToken = NewType("FencingToken", int)
BatchId = NewType("BatchId", int)
ClaimId = NewType("ClaimId", int)
SourceKey = NewType("SourceKey", int)
MergeKey = NewType("MergeKey", int)
NodeId = NewType("NodeId", int)
TurnId = NewType("TurnId", int)
TurnHash = NewType("TurnHash", int)
AttachmentId = NewType("AttachmentId", int)
CheckpointRef = NewType("CheckpointRef", int)

Body = NewType("Body", int)
"""A handle for a payload that no rule looks into."""

Millis = NewType("Millis", int)
"""Milliseconds: a time since the epoch, or a ttl."""

Name = NewType("Name", int)
"""A number that was not used before, by which the model calls what a command mints."""

NEVER = MergeKey(0)
PAYLOAD_DEFAULT = MergeKey(1)
"""Merge keys from 2 up are groups."""
