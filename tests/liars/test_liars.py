"""Every wrong store is caught by the default check, for the right rule; no right one is ever accused."""

from __future__ import annotations

import re
from typing import Literal

import pytest

from leasehold.stores.memory import MemoryStore
from leasehold.stores.sqlite import SqliteStore
from leasehold_model.policy import POINTS, option
from leasehold_model.requirements import REQUIREMENTS
from tests.liars.catching import BY_NAME, EVERY, EVERY_ODDITY, outcome, outcome_through_the_wire
from tests.liars.liars import LIARS, Liar
from tests.liars.oddities import ODDITIES, OTHERWISE, Oddity
from tests.liars.patching import Factory, Patch, in_a_folder, patched, source

SEED = 1
BUDGET = 20.0
ODD_BUDGET = 3.0
SLOW_BUDGET = 10.0


def _each_liar() -> list[object]:
    return [pytest.param(liar, id=liar.name, marks=pytest.mark.requirement(*liar.rules)) for liar in LIARS]


@pytest.mark.parametrize("liar", _each_liar())
def test_a_liar_is_caught_for_the_rule_it_breaks(liar: Liar) -> None:
    found = outcome(liar.name, liar.factory(), BUDGET, SEED)
    assert found.verdict == "violates", f"{liar.why}: not caught in {found.operations} operations"
    assert found.named(liar.rules), f"{liar.why}: expected one of {liar.rules}, got {found.told}"


@pytest.mark.slow
@pytest.mark.parametrize("liar", LIARS[7::19], ids=lambda liar: liar.name)
def test_a_liar_is_caught_through_the_wire_for_the_same_rule(liar: Liar) -> None:
    """A sample; ``python -m tests.liars --wire`` has them all."""
    found = outcome_through_the_wire(liar.name, BUDGET, SEED)
    assert found.named(liar.rules), f"{liar.why}: expected one of {liar.rules}, got {found.told}"


@pytest.mark.parametrize("oddity", ODDITIES, ids=lambda oddity: oddity.name)
def test_an_oddity_is_not_accused(oddity: Oddity) -> None:
    found = outcome(oddity.name, oddity.factory, SLOW_BUDGET if oddity.slow else ODD_BUDGET, SEED)
    assert found.rules == (), f"{oddity.why}, but {found.told}"


@pytest.mark.parametrize(
    ("name", "factory"), [("memory", MemoryStore), ("sqlite", in_a_folder(SqliteStore))], ids=["memory", "sqlite"]
)
def test_a_recommended_store_conforms(name: str, factory: Factory) -> None:
    found = outcome(name, factory, 6.0, SEED)
    assert (found.verdict, found.told) == ("conforms", "")


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_store_from_its_own_source_is_not_accused(store: Literal["memory", "sqlite"]) -> None:
    assert outcome(store, patched("twin", store, ()), 1.0, SEED).rules == ()


def test_a_liar_patched_with_its_own_text_is_not_accused() -> None:
    liar = next(one for one in LIARS if one.name == "commit-not-fenced")
    honest = tuple(Patch(patch.file, patch.old, patch.old) for patch in liar.patches)
    assert outcome("twin", patched("twin", liar.store, honest), ODD_BUDGET, SEED).rules == ()


def test_a_wrong_expectation_fails() -> None:
    liar = next(one for one in LIARS if one.name == "commit-not-fenced")
    found = outcome(liar.name, liar.factory(), BUDGET, SEED)
    assert found.named(("COMMIT-5",))
    assert not found.named(("META-1", "QUEUE-3"))
    assert not outcome("right", MemoryStore, 0.2, SEED).named(("COMMIT-5",))


def test_a_fragment_that_does_not_occur_exactly_once_is_an_error() -> None:
    with pytest.raises(LookupError, match="occurs 0 times"):
        source("memory.py", (Patch("memory.py", "no such text", ""),))
    with pytest.raises(LookupError, match=r"occurs [1-9]\d* times"):
        source("memory.py", (Patch("memory.py", "self", "this"),))
    with pytest.raises(LookupError, match="not part of the memory store"):
        patched("stray", "memory", (Patch("sqlite.sql", "DELETE", "SELECT"),))


def test_liars_are_many_and_spread_over_all_groups_and_laws() -> None:
    known = {requirement.id for requirement in REQUIREMENTS}
    assert len(LIARS) >= 48
    assert len(BY_NAME) == len(EVERY) + len(EVERY_ODDITY)
    assert all(1 <= len(liar.rules) <= 4 and set(liar.rules) <= known for liar in EVERY)
    rules = {rule for liar in LIARS for rule in liar.rules}
    assert {re.sub(r"-\d+$", "", rule) for rule in rules} == {"LEASE", "COMMIT", "GRAPH", "QUEUE", "ATTACH", "META", "TIER", "LAW"}
    sequential = set(range(1, 12)) | {13, 14, 15}
    assert {f"LAW-{number}" for number in sequential} <= rules
    assert sum(liar.store == "sqlite" for liar in LIARS) >= 10
    assert sum(liar.wrapper is not None for liar in LIARS) >= 6


def test_one_oddity_takes_no_recommended_option() -> None:
    assert [point.id for point in POINTS if option(OTHERWISE, point) == point.options[0]] == []
