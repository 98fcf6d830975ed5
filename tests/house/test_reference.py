"""What is generated is what the code would generate now: `make reference` brings it up to date."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.reference import PAGES

ROOT = Path(__file__).parents[2]


def stale(name: str, page: str) -> bool:
    """The page is not what would be generated."""
    return page != PAGES[name]()


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_fresh(name: str) -> None:
    assert not stale(name, (ROOT / name).read_text("utf-8")), "run: make reference"


@pytest.mark.parametrize("name", PAGES)
def test_twin_a_stale_page_is_noticed(name: str) -> None:
    assert stale(name, (ROOT / name).read_text("utf-8").replace("LEASE-1", "LEASE-0", 1))
