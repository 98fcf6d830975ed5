"""The generated reference is the one that the code would generate now."""

from __future__ import annotations

from pathlib import Path

from leasehold.report.spec import read_source, spec_markdown

DOCS = Path(__file__).parents[2] / "docs"


def stale(page: str) -> bool:
    """The page is not what would be generated."""
    return page != spec_markdown(read_source())


def test_the_reference_is_fresh() -> None:
    assert not stale((DOCS / "reference.md").read_text("utf-8")), "run: leasehold spec --format markdown > docs/reference.md"


def test_twin_a_stale_reference_is_noticed() -> None:
    assert stale((DOCS / "reference.md").read_text("utf-8").replace("LEASE-1", "LEASE-0", 1))
