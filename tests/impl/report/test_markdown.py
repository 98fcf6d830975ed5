"""The Markdown report: its tables are tables, and nothing that a store answers means anything in it."""

from __future__ import annotations

import html
import re

import pytest
from attrs import evolve

from leasehold.oracle.coverage import NotChecked
from leasehold.report.markdown import broken_markdown, check_markdown, text
from leasehold_model.requirements import STATEMENTS
from tests.impl.report.conftest import NAMES, NASTY, Check, Checked


def markdown(one: Checked) -> str:
    shown = check_markdown(one.report, one.violations, one.asked)
    assert complaints(shown) == []
    return shown


def complaints(shown: str) -> list[str]:
    """Tables whose rows are not as wide as their heads, fences that are not closed, markup outside of fences."""
    found, fence, width = [], "", 0
    for line in shown.splitlines():
        ticks = re.match("`{3,}", line)
        if ticks and not fence:
            fence = ticks[0]
        elif fence:
            fence = "" if line == fence else fence
        elif line.startswith("|"):
            cells = len(re.findall(r"(?<!\\)\|", line)) - 1
            if width and cells != width:
                found.append(f"{cells} cells for {width}: {line}")
            width = cells
        else:
            width = 0
        if not fence and not ticks:
            found += [f"markup: {line}" for one in ("<", "](", "`", "http://", "\\") if one in line]
    return found + (["a fence is open"] if fence else [])


@pytest.mark.parametrize("name", NAMES)
def test_it_is_well_formed_and_says_what_broke(checked: Check, name: str) -> None:
    one = checked(name)
    shown = html.unescape(markdown(one))
    rule = one.violations[0].finding.requirement
    assert shown.startswith("## \u2717 VIOLATES")
    assert f"### Finding 1 of 1: {rule}" in shown
    assert STATEMENTS[rule] in shown
    assert one.asked.command in shown
    assert f"leasehold replay leasehold-cases/{rule}-1f2e.json" in shown
    assert "| Leases |" in shown
    assert "### Not checked" in shown
    assert ("```mermaid\nsequenceDiagram" in shown) == (name != "LiesAboutItsTier")


@pytest.mark.parametrize(
    ("shown", "says"),
    [
        ("| a | b |\n| --- | --- |\n| 1 |", "1 cells for 2"),
        ("```\nx", "a fence is open"),
        ("<script>", "markup"),
        ("![x](y)", "markup"),
        ("a `b`", "markup"),
    ],
)
def test_twin_what_is_wrong_is_noticed(shown: str, says: str) -> None:
    assert any(says in one for one in complaints(shown))


def test_both_sides_of_the_wrong_step(checked: Check) -> None:
    shown = html.unescape(markdown(checked("TwoOwners")))
    assert "What should have happened: null (nothing granted, or nothing there)\n" in shown
    assert re.search(r"\| \*\*2, wrong\*\* \| bob \| .*\| \*\*null\*\* \| \*\*lease-2 of bob, fencing token 2", shown)


@pytest.mark.parametrize("name", ["NastyIds", "NastyWords"])
def test_a_store_that_answers_markup_does_no_harm(checked: Check, name: str) -> None:
    shown = markdown(checked(name))
    assert "throw 1" in shown
    assert "<script" not in shown
    assert not re.search("[\x00\x1b]", shown)


def test_text_means_nothing() -> None:
    escaped = text(NASTY)
    assert not set("<>|`[]*_#@\\") & set(re.sub("&#[0-9]+;", "", escaped))
    assert html.unescape(escaped) == " ".join(NASTY.split())
    assert text("two\nlines") == "two lines"
    assert text("see: http://x, :tada:, www.x") == "see: http&#58;//x, &#58;tada&#58;, &#119;&#119;&#119;&#46;x"


def test_a_long_run_is_cut_in_the_middle(checked: Check) -> None:
    shown = markdown(checked("sql-limit-before-filter"))
    assert "| ... |" in shown
    assert "53, wrong" in shown
    assert len(shown) < 20_000


def test_other_verdicts(checked: Check) -> None:
    one = checked("TwoOwners")
    assert "CONFORMS" in markdown(one.but(findings=(), verdict="conforms"))
    cut = NotChecked(NASTY, NASTY)
    shown = markdown(one.but(findings=(), verdict="inconclusive", starved=("sometimes: a turn is replayed",), not_checked=(cut,)))
    assert "a turn is replayed | never reached in this check |" in shown
    required = evolve(one.but(findings=(), loose=("P-REENTRY",)), asked=evolve(one.asked, recommended=True))
    assert "Not the recommended option, which was required: P-REENTRY." in markdown(required)


def test_a_broken_target() -> None:
    shown = broken_markdown("python:a:b", "```\nno <b>database</b>\n```", "leasehold check python:a:b")
    assert shown.startswith("## ! BROKEN: python&#58;a&#58;b")
    assert "````\n```\nno <b>database</b>\n```\n````" in shown
    assert complaints(shown) == []
