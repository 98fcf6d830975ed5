"""The policy points: the list is the contract's, and every point has its field, its options and a rule it refines."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest
from attrs import fields

from leasehold_model.policy import POINTS, SEED, Point, Policies, choose, option
from leasehold_model.requirements import STATEMENTS

CONTRACT = {
    "P-REENTRY": "extend-only reset",
    "P-BINDING": "at-first-commit at-create",
    "P-COMPLETE-SUBSET": "refuse accept",
    "P-COMPLETE-DUPLICATE": "refuse accept",
    "P-COMPLETE-EMPTY": "refuse accept",
    "P-COMPLETE-TWICE": "refuse accept",
    "P-COMPLETE-EXPIRED": "accept refuse",
    "P-CHECKPOINT-REF": "content echo",
    "P-DANGLING-REF": "refuse accept",
    "P-LEAF-TOMBSTONED": "keep none",
    "P-PATH-NO-LEAF": "empty all",
    "P-PATH-TOMBSTONED": "stop skip",
    "P-NODE-DUPLICATE": "refuse replace keep-both",
    "P-NODE-REVIVE": "refuse revive",
    "P-LEAF-UNKNOWN": "refuse accept",
    "P-SOURCE-KEY-REUSE": "new-batch remembered",
    "P-ZERO-BEFORE-LEASE": "none-first lease-first",
    "P-JOIN-GAP": "skip break",
    "P-CLAIM-FENCE": "max head",
    "P-RENEW-EXPIRED": "accept refuse",
    "P-INTENT-REPEAT": "first-wins last-wins refuse",
    "P-MANIFEST-KEY": "session+id id",
}
"""Every point of the contract, with its options; the first is the recommended one."""

OURS = {"P-REPLACE-ORDER", "P-REVIVE-ORDER", "P-PARENT-DANGLING", "P-PARENT-CYCLE"}


def test_the_points_are_the_contracts_and_ours() -> None:
    assert {point.id: " ".join(point.options) for point in POINTS if not point.ours} == CONTRACT
    assert {point.id for point in POINTS if point.ours} == OURS
    assert len({point.id for point in POINTS}) == len(POINTS) == 26


@pytest.mark.parametrize("point", POINTS, ids=lambda point: str(point.id))
def test_a_point_has_a_field_whose_default_is_its_first_option(point: Point) -> None:
    assert point.options == get_args(get_type_hints(Policies)[point.field])
    assert option(SEED.recommended, point) == point.options[0]
    assert point.refines in STATEMENTS and point.question.endswith((".", "?"))
    for taken in point.options:
        chosen = choose(Policies(), point, taken)
        assert option(chosen, point) == taken
        assert all(option(chosen, other) == other.options[0] for other in POINTS if other.id != point.id)


def test_every_field_has_a_point() -> None:
    assert sorted(field.name for field in fields(Policies)) == sorted(point.field for point in POINTS)
