"""Stores that are wrong only when their process is killed, or when answers get lost."""

from __future__ import annotations

from attrs import evolve

from tests.liars import crashing, wrappers
from tests.liars.liars import Liar, wrapped
from tests.liars.lossy import (
    HalfClaimLoss,
    LateTwiceLoss,
    Loss,
    OnlyReleasedLoss,
    RefusedLoss,
    ResentLoss,
    RevivingLoss,
    UncheckedLoss,
    lossy,
)


def killed(name: str, why: str, rules: str) -> Liar:
    """A store of `crashing`."""
    called = name.replace("-", "_")
    liar = wrapped(name, why, rules, "sqlite", crashing.STORES[called])
    return evolve(liar, needs="kill", target=f"python:tests.liars.crashing:{called}")


def lost(name: str, why: str, rules: str, kind: type[Loss]) -> Liar:
    """A memory store that loses one answer in ten, and then does something else than once or never."""
    return evolve(wrapped(name, why, rules, "memory", lossy(kind, 0.1)), needs="lost")


TORN = (
    killed("stamps-afterwards", "a commit's stamp is a transaction of its own, after the commit's", "LAW-10 LAW-11 COMMIT-8"),
    killed("stamps-before", "a commit's stamp is a transaction of its own, before the commit's", "LAW-10 LAW-11 COMMIT-8"),
    killed("commits-in-two", "nodes are stored in one transaction, the rest of a commit in another", "LAW-10 LAW-11 COMMIT-8"),
    killed("usage-in-a-second-transaction", "a commit's usage is a second transaction", "LAW-10 LAW-11 LAW-8"),
    killed("completes-in-a-second-transaction", "completed batches are removed in a second transaction", "LAW-10 LAW-11 LAW-5"),
    killed("completes-first", "completed batches are removed in a transaction before the commit", "LAW-10 LAW-11 LAW-5"),
    killed("releases-in-a-second-transaction", "the lane is released in a second transaction", "LAW-10 LAW-11 COMMIT-8"),
    killed("releases-first", "the lane is released in a transaction before the commit", "LAW-10 LAW-11 COMMIT-8"),
    killed("attachments-in-a-second-transaction", "attachments are stamped in a second transaction", "LAW-10 LAW-11 ATTACH-2"),
    killed("bodies-in-a-second-transaction", "the head is stored before the bodies that it refers to", "LAW-10 LAW-11 COMMIT-10"),
    killed("claims-one-by-one", "each batch of a claim is a transaction of its own", "LAW-10 QUEUE-8 LAW-12"),
    killed("hides-one-by-one", "each node that is hidden is a transaction of its own", "LAW-10 GRAPH-6 LAW-12"),
    killed("keys-afterwards", "a batch's source key is written in a second transaction", "LAW-10 QUEUE-2 LAW-12"),
    killed("grants-anew", "a grant deletes the lane's row and inserts another in the next transaction", "LAW-10 LAW-3 LEASE-1"),
    killed("cancels-in-two", "a cancelled batch is claimed for good, and deleted in a second transaction", "LAW-10 LAW-5 QUEUE-13"),
)

FORGOTTEN = (
    killed("counts-in-memory", "the fencing counters of free lanes are kept by the process", "LAW-10 LAW-3 LEASE-6"),
    killed("crash-forgets-stamps", "stamps are in memory only", "LAW-10 LAW-7 COMMIT-4"),
    killed(
        "crash-answers-with-the-head", "a repeated turn is answered with the revision of the last start", "LAW-10 LAW-7 COMMIT-4"
    ),
    killed("crash-forgets-tombstones", "tombstones are in memory only", "LAW-10 GRAPH-6"),
    killed("crash-forgets-fencing", "fencing counters of released lanes are in memory only", "LAW-10 LAW-3 LEASE-6"),
    killed("crash-mints-again", "tokens and claim ids are counted in memory, from 1", "LAW-10 LAW-4"),
    killed("crash-forgets-keys", "source keys are in memory only", "LAW-10 QUEUE-2"),
    killed("crash-numbers-again", "batches are counted in memory, from the greatest number that is stored", "LAW-10 QUEUE-1"),
    killed("crash-frees-claims", "who holds a batch is in memory only", "LAW-10 QUEUE-9 LAW-4"),
    killed("crash-forgets-claim-fencing", "fencing counters of free batches are in memory only", "LAW-10 LAW-4"),
    killed("crash-forgets-leases", "leases are in memory only", "LAW-10 LEASE-3 LAW-2"),
    killed("crash-forgets-attachment-stamps", "attachment stamps are in memory only", "LAW-10 ATTACH-2"),
    killed("crash-forgets-meta", "metadata is in memory only", "LAW-10 META-1"),
    killed("crash-forgets-execution-state", "a part of the checkpoint is in memory only", "LAW-10 COMMIT-10 GRAPH-2"),
    killed("renews-in-memory", "renewals are not written, for they are many", "LAW-10 LEASE-4"),
    killed("heartbeats-later", "a lease's renewal is written with the next entry", "LAW-10 LEASE-4 LEASE-2"),
    killed("overwrites-heartbeats", "a lease's renewal is written over the last one, which is cut off first", "LAW-10 LEASE-4"),
    killed("abandons-in-memory", "abandonments are not written, for the claim expires anyway", "LAW-10 QUEUE-12"),
)

WRITTEN = (
    killed("writes-behind", "what a call changed is written by the next one", "LAW-10"),
    killed("writes-by-eights", "calls are written eight at a time, and answered before", "LAW-10"),
    killed("rewrites-in-place", "the file is written again in place; half of one is taken for a new store", "LAW-10"),
    killed("refuses-torn-files", "the file is written again in place; half of one is refused", "LAW-10 LAW-15"),
    killed("stays-locked", "a lock file outlives the process that made it", "LAW-10 LAW-15"),
    killed("compacts-in-place", "the log is emptied and written again when the store is opened", "LAW-10"),
    killed("appends-after-torn-tail", "what is written after half an entry of the log is never read again", "LAW-10"),
)

LOST = (
    lost(
        "lost-and-late-twice",
        "a call whose answer was lost takes effect at once and again some calls later",
        "LAW-12",
        LateTwiceLoss,
    ),
    lost("resent-by-itself", "the store's client resends an enqueue whose answer was lost", "LAW-12 QUEUE-3 LAW-5", ResentLoss),
    lost("lost-and-refused", "an enqueue whose answer was lost is reported as contended", "LAW-1", RefusedLoss),
    lost("lost-and-half-claimed", "a claim that ran out of time has claimed the first of its batches", "LAW-12", HalfClaimLoss),
    lost("lost-and-released", "of a commit that ran out of time only the release took place", "LAW-12", OnlyReleasedLoss),
    lost("lost-and-unchecked", "a late cancellation takes a batch away that was claimed meanwhile", "LAW-12", UncheckedLoss),
    lost("lost-and-revived", "a late renewal gives the lane back to who released it meanwhile", "LAW-12", RevivingLoss),
)

SKEWED = tuple(
    evolve(one, needs="clock")
    for one in (
        wrapped(
            "clock-of-a-handle",
            "each client decides by its own clock what has expired, and the second one's is fast",
            "LEASE-1 LEASE-2 LEASE-3 QUEUE-1",
            "memory",
            wrappers.ClockOfAHandle,
        ),
        wrapped(
            "real-clock-of-a-handle",
            "the store is on the real clock, and the second client's is three minutes fast",
            "LEASE-1 LEASE-2 QUEUE-1 QUEUE-8",
            "memory",
            wrappers.RealClockOfAHandle,
        ),
    )
)

INTERRUPTED: tuple[Liar, ...] = (*TORN, *FORGOTTEN, *WRITTEN, *LOST, *SKEWED)
