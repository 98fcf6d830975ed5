"""Stores whose answers get lost now and then: right ones, and ones that use it to do something else than once or never."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, ClassVar

from attrs import evolve

from leasehold.records import Unchanged
from leasehold.store import OPERATIONS, Contended, Indeterminate, Refusal
from leasehold.stores.memory import MemoryStore
from leasehold.stores.sqlite import SqliteStore
from tests.liars.patching import Factory, in_a_folder

Do = Callable[[], Any]
"""Lets the call take effect."""

RATE = 0.05
"""The share of calls whose answer is lost, unless said otherwise."""


class Loss:
    """What becomes of the calls of one store. The next store loses other answers: a run does not go the same way twice."""

    stores: ClassVar[int] = 0

    def __init__(self, rate: float) -> None:
        type(self).stores += 1
        self.rate = rate
        self.rng = random.Random(17 * type(self).stores)
        self.late: list[Do] = []
        self.inside = False

    def call(self, store: Any, op: str, args: tuple[Any, ...], do: Do) -> Any:
        """One call of the store."""
        if self.inside:
            return do()
        self.inside = True
        try:
            for one in [one for one in self.late if self.rng.random() < 0.4]:
                self.late.remove(one)
                self.quietly(one)
            if self.rng.random() < self.rate:
                self.lose(store, op, args, do)
                raise Indeterminate(f"no answer to {op} came back")
            return do()
        finally:
            self.inside = False

    def lose(self, store: Any, op: str, args: tuple[Any, ...], do: Do) -> None:
        """The call takes effect at once, or never."""
        if self.rng.random() < 0.5:
            self.quietly(do)

    def quietly(self, do: Do) -> None:
        """Nobody hears the answer."""
        try:
            do()
        except Refusal:
            return


class LateLoss(Loss):
    """A call whose answer was lost may also take effect some calls later."""

    def lose(self, store: Any, op: str, args: tuple[Any, ...], do: Do) -> None:
        if self.rng.random() < 0.3:
            self.late.append(do)
        else:
            super().lose(store, op, args, do)


class TwiceLoss(Loss):
    """A call whose answer was lost is sent once more, although the first has taken effect."""

    def lose(self, store: Any, op: str, args: tuple[Any, ...], do: Do) -> None:
        if op in {"enqueue_queued_work", "commit_runtime_state"}:
            self.quietly(do)
        self.quietly(do)


class HalfLoss(Loss):
    """A commit whose answer was lost has stored its head and nothing else."""

    def lose(self, store: Any, op: str, args: tuple[Any, ...], do: Do) -> None:
        if op == "commit_runtime_state":
            half = evolve(args[0], graph=Unchanged(None), usage_deltas=(), turn_commit=None, completed_queue_claims=())
            self.quietly(lambda: store.commit_runtime_state(half))


class UnstampedLoss(Loss):
    """A commit whose answer was lost took effect, but not its turn stamp: tried again, it is committed twice."""

    def lose(self, store: Any, op: str, args: tuple[Any, ...], do: Do) -> None:
        if op == "commit_runtime_state":
            self.quietly(lambda: store.commit_runtime_state(evolve(args[0], turn_commit=None)))


class UnkeyedLoss(Loss):
    """An enqueue whose answer was lost took effect, but its source key is not remembered: tried again, it is queued twice."""

    def lose(self, store: Any, op: str, args: tuple[Any, ...], do: Do) -> None:
        self.quietly(do)
        if op == "enqueue_queued_work":
            queue = store._state.queues.get(args[0].session_id)
            if queue is not None:
                queue.by_source_key.pop(args[0].source_key, None)


class UndoneLoss(Loss):
    """An enqueue whose answer was lost is seen by the next calls, and then undone."""

    def lose(self, store: Any, op: str, args: tuple[Any, ...], do: Do) -> None:
        if op == "enqueue_queued_work" and args[0].source_key is None:
            batch = do()
            self.late.append(lambda: store.cancel_queued_work_batch(batch.session_id, batch.batch_id))


class BurntLoss(Loss):
    """A claim whose answer was lost has taken the batches away for good."""

    def lose(self, store: Any, op: str, args: tuple[Any, ...], do: Do) -> None:
        if op == "claim_ready_queued_work":
            claim = do()
            if claim is not None:
                for batch in claim.batches:
                    store.abandon_queued_work_claim(claim)
                    store.cancel_queued_work_batch(batch.session_id, batch.batch_id)


class LateTwiceLoss(Loss):
    """What lies between client and store resends a call whose answer was lost, although the first has taken effect."""

    def lose(self, store: Any, op: str, args: tuple[Any, ...], do: Do) -> None:
        self.quietly(do)
        if op in {"enqueue_queued_work", "commit_runtime_state"}:
            self.late.append(do)


class ResentLoss(Loss):
    """The answer is lost on the way, so the store's own client sends the call once more, and tells of the second one's answer."""

    def call(self, store: Any, op: str, args: tuple[Any, ...], do: Do) -> Any:
        if not self.inside and op == "enqueue_queued_work" and self.rng.random() < self.rate:
            self.inside = True
            self.quietly(do)
            self.inside = False
        return do()


class RefusedLoss(Loss):
    """The answer is lost on the way, and the caller is told that nothing happened."""

    def call(self, store: Any, op: str, args: tuple[Any, ...], do: Do) -> Any:
        value = do()
        if not self.inside and op == "enqueue_queued_work" and self.rng.random() < self.rate:
            raise Contended("timed out")
        return value


class HalfClaimLoss(Loss):
    """A claim that ran out of time has taken the first of its batches, but none of the others."""

    def lose(self, store: Any, op: str, args: tuple[Any, ...], do: Do) -> None:
        if op == "claim_ready_queued_work":
            self.quietly(lambda: store.claim_ready_queued_work(*args[:-1], min(1, args[-1])))


class OnlyReleasedLoss(Loss):
    """Of a commit that ran out of time only the release of the lane took place."""

    def lose(self, store: Any, op: str, args: tuple[Any, ...], do: Do) -> None:
        if op == "commit_runtime_state" and args[0].release_session_execution_lease is not None:
            self.quietly(lambda: store.release_session_execution_lease(args[0].release_session_execution_lease))


class UncheckedLoss(Loss):
    """A cancellation that came late takes the batch away, whoever has claimed it by then."""

    def lose(self, store: Any, op: str, args: tuple[Any, ...], do: Do) -> None:
        if op != "cancel_queued_work_batch":
            super().lose(store, op, args, do)
            return

        def late() -> None:
            queue = store._state.queues.get(args[0])
            entry = None if queue is None else queue.entries.get(args[1])
            if queue is not None and entry is not None:
                queue.remove(entry)

        self.late.append(late)


class RevivingLoss(Loss):
    """A renewal that came late gives the lane back to who had it when it was sent."""

    def lose(self, store: Any, op: str, args: tuple[Any, ...], do: Do) -> None:
        if op != "renew_session_execution_lease":
            super().lose(store, op, args, do)
            return
        lease = store._held_lease(args[0])
        if lease is not None:
            self.late.append(lambda: store._set_expiry(lease, store._clock.now_ms() + args[1]))


def lossy(kind: type[Loss] = Loss, rate: float = RATE) -> Factory:
    """A factory of memory stores that lose answers."""
    return type("LossyMemory", (MemoryStore,), _methods(MemoryStore, kind, rate))


def lossy_sqlite(kind: type[Loss] = Loss, rate: float = RATE) -> Factory:
    """A factory of SQLite stores that lose answers."""
    return in_a_folder(type("LossySqlite", (SqliteStore,), _methods(SqliteStore, kind, rate)))


def _methods(store_class: Any, kind: type[Loss], rate: float) -> dict[str, Any]:
    return {op: _method(store_class, kind, rate, op) for op in OPERATIONS}


def _method(store_class: Any, kind: type[Loss], rate: float, op: str) -> Any:
    def method(self: Any, *args: Any) -> Any:
        loss = vars(self).get("loss")
        if loss is None:
            loss = vars(self)["loss"] = kind(rate)
        return loss.call(self, op, args, lambda: getattr(store_class, op)(self, *args))

    return method
