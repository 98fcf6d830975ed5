"""What a project that has `mystore` keeps in its own tests."""

from pathlib import Path

import pytest
from mystore import open_store

from leasehold.testing import conformance_test, replay_case, run_conformance_test

CASES = Path(__file__).parent / "cases"


def test_my_store_keeps_the_contract() -> None:
    run_conformance_test(open_store, budget=2)


test_my_store_under_hypothesis = conformance_test(open_store)


@pytest.mark.parametrize("case", sorted(CASES.glob("*.json")), ids=lambda case: case.stem)
def test_what_was_once_broken_stays_mended(case: Path) -> None:
    replay_case(case, open_store)
