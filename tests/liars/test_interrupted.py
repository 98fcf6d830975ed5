"""Stores that are wrong for clients at once, when killed, or when answers get lost: caught then, and not accused otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest

from tests.liars import lossy
from tests.liars.catching import BY_NAME, crashed, opened, outcome, outcome_alone, outcome_of, raced, walked
from tests.liars.crowded import CROWDED
from tests.liars.interrupted import INTERRUPTED
from tests.liars.liars import Liar
from tests.liars.oddities import Oddity
from tests.liars.racing import RACING

SEED = 1
BUDGET = 60.0
HISTORIES = 4_000
KILLS = 1_000
RUNS = 7
ALONE = 0.4
ODD_BUDGET = 1.0

SOON = (
    "lane-check-then-act",
    "claim-check-then-act",
    "source-key-check-then-insert",
    "stamp-check-then-act",
    "completion-check-then-delete",
    "stamps-one-by-one",
    "unlocked-load",
    "sql-looks-at-the-lane-before",
    "commits-in-two",
    "usage-in-a-second-transaction",
    "bodies-in-a-second-transaction",
    "claims-one-by-one",
    "grants-anew",
    "counts-in-memory",
    "crash-forgets-fencing",
    "crash-mints-again",
    "crash-forgets-keys",
    "crash-frees-claims",
    "crash-forgets-leases",
    "writes-behind",
    "writes-by-eights",
    "rewrites-in-place",
    "lost-and-late-twice",
    "resent-by-itself",
    "lost-and-refused",
    "lost-and-half-claimed",
)
"""Caught within a few hundred histories or a few kills; the others are left to the heavy tests."""

INTERRUPTIBLE = [one for one in (*RACING, *INTERRUPTED) if one.needs in {"race", "kill"}]
LOST = [one for one in INTERRUPTED if one.needs in {"lost", "clock"}]


def _each(liars: Iterable[Liar], *, all_heavy: bool = False) -> list[object]:
    marks = {liar.name: [pytest.mark.heavy] if all_heavy or liar.name not in SOON else [] for liar in liars}
    return [pytest.param(one, id=one.name, marks=[pytest.mark.requirement(*one.rules), *marks[one.name]]) for one in liars]


@pytest.mark.parametrize("liar", _each(INTERRUPTIBLE))
def test_a_liar_is_caught_by_what_it_needs(liar: Liar) -> None:
    """By as many histories, or kills, as a check of a minute has room for; without the rest of a check."""
    rule, _ = raced(liar, SEED, HISTORIES) if liar.needs == "race" else crashed(liar, SEED, KILLS)
    assert rule in liar.rules, f"{liar.why}: expected one of {liar.rules}, got {rule or 'nothing'}"


@pytest.mark.parametrize("liar", [*_each(INTERRUPTIBLE, all_heavy=True), *_each(LOST)])
def test_the_default_check_catches_a_liar_for_the_rule_it_breaks(liar: Liar) -> None:
    found = outcome_of(liar, BUDGET, SEED)
    assert found.verdict == "violates", f"{liar.why}: not caught in {found.operations} operations"
    assert found.named(liar.rules), f"{liar.why}: expected one of {liar.rules}, got {found.told}"


@pytest.mark.parametrize("liar", INTERRUPTIBLE, ids=lambda liar: liar.name)
def test_one_client_that_is_not_killed_does_not_see_it(liar: Liar) -> None:
    rules, judged = walked(liar, RUNS)
    assert rules == [], f"{liar.why}, but without a {liar.needs} too"
    assert judged > RUNS


@pytest.mark.heavy
@pytest.mark.parametrize("liar", INTERRUPTIBLE, ids=lambda liar: liar.name)
def test_one_client_that_is_not_killed_does_not_see_it_in_a_whole_check(liar: Liar) -> None:
    assert outcome_alone(liar, 6.0, SEED).rules == ()


def test_one_client_does_see_what_is_wrong_for_one() -> None:
    assert walked(BY_NAME["commit-not-fenced"], 40)[0] != []


KINDS = (
    lossy.LateTwiceLoss,
    lossy.ResentLoss,
    lossy.RefusedLoss,
    lossy.HalfClaimLoss,
    lossy.OnlyReleasedLoss,
    lossy.UncheckedLoss,
    lossy.RevivingLoss,
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_store_that_loses_no_answer_is_not_accused(kind: type[lossy.Loss]) -> None:
    assert outcome(kind.__name__, lossy.lossy(kind, 0.0), ALONE, SEED).rules == ()


@pytest.mark.parametrize("oddity", CROWDED, ids=lambda oddity: oddity.name)
def test_an_oddity_is_not_accused(oddity: Oddity) -> None:
    found = outcome_of(oddity, ODD_BUDGET, SEED)
    assert found.rules == (), f"{oddity.why}, but {found.told}"


@pytest.mark.heavy
@pytest.mark.parametrize("oddity", CROWDED, ids=lambda oddity: oddity.name)
def test_an_oddity_is_not_accused_in_many_runs(oddity: Oddity) -> None:
    assert outcome_of(oddity, 20.0, SEED).rules == ()


def test_they_are_many_of_each_kind() -> None:
    kinds = Counter(one.needs for one in (*RACING, *INTERRUPTED))
    assert set(kinds) == {"race", "kill", "lost", "clock"}
    assert min(kinds.pop("clock"), 2) == 2
    assert min(kinds.values()) >= 6
    assert len(INTERRUPTIBLE) >= 24
    assert {one.name for one in (*INTERRUPTIBLE, *LOST)} > set(SOON)


def test_those_that_need_a_kill_can_be_killed() -> None:
    for one in INTERRUPTED:
        if one.needs == "kill":
            with opened(one) as door:
                assert door.not_killed == "", one.name
                assert not door.capabilities.concurrent, one.name
