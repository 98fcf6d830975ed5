"""Stores side by side: what differs is shown, a broken store does not end the others, the exit code is the worst one's."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from leasehold.cli import main
from leasehold.matrix import Cell, Column, Row, compare, lay_out
from leasehold_model.policy import POINTS
from leasehold_model.requirements import REQUIREMENTS
from tests.impl.wrong import HERE


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["matrix", *map(str, words), "--seed", "1"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four stores, one of them broken, side by side: report.json, report.html, report.txt."""
    place = tmp_path_factory.mktemp("matrix")
    targets = ("memory", HERE + "TwoOwners", HERE + "raises", HERE + "Resets")
    result = run(*targets, "--budget", "2s", "--json", place / "report.json", "--html", place / "report.html")
    assert result.exit_code == 3, result.output
    (place / "report.txt").write_text(result.stdout)
    return place


def test_what_differs_is_said_first(place: Path) -> None:
    value = json.loads((place / "report.json").read_text())
    assert {"LEASE-3", "P-REENTRY"} <= set(value["differing"])
    assert "COMMIT-1" not in value["differing"]
    text = (place / "report.txt").read_text()
    first, _, rest = text.partition("the same in every store")
    assert re.search(r"LEASE-3 +\S kept +\S broken +\S kept", first)
    assert re.search(r"P-REENTRY +extend-only +extend-only +reset \*", first)
    assert "COMMIT-1" not in first.split()
    assert "COMMIT-1" in rest


def test_every_store_has_its_verdict_and_every_rule_its_row(place: Path) -> None:
    value = json.loads((place / "report.json").read_text())
    assert [one["verdict"] for one in value["stores"]] == ["conforms", "violates", "broken", "conforms"]
    assert value["verdict"] == "broken"
    assert [one["operations"] > 0 for one in value["stores"]] == [True, True, False, True]
    assert "no database at port 1" in value["stores"][2]["why"]
    assert value["requirements"]["LEASE-3"] == ["kept", "broken", None, "kept"]
    assert value["policies"]["P-REENTRY"] == ["extend-only", "extend-only", None, "reset"]
    assert value["recommended"]["P-REENTRY"] == "extend-only"
    assert list(value["requirements"]) == [one.id for one in REQUIREMENTS]
    assert list(value["policies"]) == [one.id for one in POINTS]


class Page(HTMLParser):
    """What a page loads, and its header cells without a scope."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.scopeless = self.scoped = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.loads += [tag] if tag in {"script", "link", "img", "iframe"} or "src" in given else []
        self.scoped += tag == "th" and "scope" in given
        self.scopeless += tag == "th" and "scope" not in given


def test_the_page_loads_nothing_and_its_tables_have_scopes(place: Path) -> None:
    text = (place / "report.html").read_text("utf-8")
    page = Page()
    page.feed(text)
    assert page.loads == []
    assert page.scopeless == 0
    assert page.scoped > 2 * (len(REQUIREMENTS) + len(POINTS)) // 2
    assert "prefers-color-scheme: dark" in text
    differs = text.partition('id="differs"')[2].partition('id="rules"')[0]
    assert "LEASE-3" in differs
    assert "COMMIT-1<" not in differs


def test_twin_a_page_that_loads_is_noticed() -> None:
    page = Page()
    page.feed('<table><tr><th>a<th scope="row">b</table><img src="x"><script src="y"></script>')
    assert (page.loads, page.scopeless, page.scoped) == (["img", "script"], 1, 1)


@pytest.mark.parametrize(
    ("names", "code"),
    [(("memory", "memory"), 0), (("memory", HERE + "Throws"), 1), ((HERE + "raises", HERE + "Throws"), 3)],
)
def test_the_worst_decides(names: tuple[str, ...], code: int) -> None:
    assert run(*names, "--budget", "2s").exit_code == code


def test_too_short_a_look_is_inconclusive() -> None:
    assert run("memory", "memory", "--budget", "0.001s").exit_code == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["memory"], "two stores at least"),
        ([], "Missing argument"),
        (["memory", "memroy"], "Did you mean 'memory'?"),
        (["memory", "memory", "--json", "-", "--html", "-"], "cannot both write to standard output"),
    ],
)
def test_wrong_usage(words: list[str], says: str) -> None:
    result = run(*words, "--budget", "0.001s")
    assert result.exit_code == 64
    assert says in result.stderr


def test_the_same_store_twice_does_not_differ() -> None:
    matrix = compare(["memory", "memory"], budget=2.0, seed=1)
    assert [row.id for row in (*matrix.requirements, *matrix.policies) if row.differs] == []


def test_a_store_of_which_nothing_is_known_makes_no_difference() -> None:
    assert not Row("LEASE-3", "", (Cell("kept"), Cell(""))).differs
    assert Row("LEASE-3", "", (Cell("kept"), Cell("broken"))).differs
    nothing = lay_out([Column("a", None, "no"), Column("b", None, "no")])
    assert nothing.verdict == "broken"
    assert not any(row.differs for row in nothing.requirements)
