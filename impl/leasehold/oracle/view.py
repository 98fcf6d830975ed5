"""What the clients of a concurrent run have seen: the store's ids, each under the name of the call that showed it to its client.

A call names what it mints, and a later command of the same client refers to that name. Before such a command is sent, the view
fills in what only the store could know: the fencing token, the batches that a claim took. When a history is explained, the commands
are translated from these names into those of each possible state, by the store's own ids (`leasehold.oracle.worlds.translated`).
"""

from __future__ import annotations

from threading import Lock
from typing import Any

from attrs import evolve

from leasehold import records
from leasehold.oracle.answers import Answer, Ok
from leasehold.oracle.binding import Binding, parts
from leasehold_model.claim import AbandonClaim, ClaimByIds, ClaimReady, RenewClaim
from leasehold_model.commit import CommitState
from leasehold_model.ids import BatchId, FencingToken
from leasehold_model.lease import TryClaimLease
from leasehold_model.machine import Command
from leasehold_model.queue import CancelBatch, Completion, Enqueue
from leasehold_model.state import Fence

UNNAMED = 5_000_000
"""Batches that a client met in a claim, and not by enqueueing them, are named from here on."""


class View:
    """The ids that were shown, by name. It starts from what is known when the clients start. Threads use it with ``lock``."""

    def __init__(self, known: Binding) -> None:
        self.binding = known.copy()
        self.lock = Lock()
        self._unnamed = UNNAMED
        self._fencings: dict[int, int] = {}

    def resolved(self, command: Command) -> Command | None:
        """The command as it can be sent now; None if it refers to what its client was not granted."""
        known, changed = self.binding, dict[str, Any]()
        for part in ("fence", "completion", "release"):
            fence = getattr(command, part, None)
            if isinstance(fence, Fence) and fence.token > 0:
                if fence.token not in known.tokens:
                    return None
                changed[part] = evolve(fence, fencing=FencingToken(self._fencings.get(int(fence.token), int(fence.fencing))))
        if isinstance(command, RenewClaim | AbandonClaim):
            if command.claim > 0 and command.claim not in known.claims:
                return None
            if command.claim in known.claims:  # it is sent as it was given
                changed["batches"] = self._taken(int(command.claim))
        if isinstance(command, CommitState) and command.completions:
            if any(one.claim > 0 and one.claim not in known.claims for one in command.completions):
                return None
            changed["completions"] = tuple(self._filled(one) for one in command.completions)
        named = command.batches if isinstance(command, ClaimByIds) else (command.batch,) if isinstance(command, CancelBatch) else ()
        if any(one > 0 and one not in known.batches for one in named):
            return None
        return evolve(command, **changed) if changed else command

    def learn(self, command: Command, answer: Answer) -> None:
        """Remember the ids of an answer under the name of its call."""
        value = answer.value if isinstance(answer, Ok) else None
        if isinstance(command, TryClaimLease) and isinstance(value, records.Lease):
            self._lease(command, value)
        elif isinstance(command, Enqueue) and isinstance(value, records.Batch):
            self._batch(int(command.name), value)
        elif isinstance(command, ClaimReady | ClaimByIds) and isinstance(value, records.Claim):
            self.binding.claims[int(command.name)] = value
            self.binding.claim_of.setdefault(value.claim_id, int(command.name))
        elif isinstance(command, CommitState) and isinstance(value, records.CommitResult):
            for kind, part in parts(command.checkpoint):
                shown = getattr(value.manifest, kind + "_ref")
                if part.body and isinstance(shown, str):
                    self.binding.show_ref(kind, part.body, shown, current=True)

    def _lease(self, command: TryClaimLease, lease: records.Lease) -> None:
        session, name = int(command.session), int(command.name)
        self.binding.tokens[name] = lease.lease_token
        self.binding.token_of.setdefault((session, lease.lease_token), name)
        number = self.binding.number(session, lease.fencing_token)
        self.binding.fences.setdefault(session, {})[number] = lease.fencing_token
        self._fencings[name] = number

    def _batch(self, name: int, batch: records.Batch) -> None:
        self.binding.batches[name] = batch
        self.binding.batch_of.setdefault(batch.batch_id, name)

    def _filled(self, one: Completion) -> Completion:
        return evolve(one, batches=one.batches or self._taken(int(one.claim)))

    def _taken(self, claim: int) -> tuple[BatchId, ...]:
        """The names of all batches that a claim took."""
        return tuple(BatchId(self._name(batch)) for batch in self.binding.claims[claim].batches)

    def _name(self, batch: records.Batch) -> int:
        if batch.batch_id not in self.binding.batch_of:
            self._unnamed += 1
            self._batch(self._unnamed, batch)
        return self.binding.batch_of[batch.batch_id]
