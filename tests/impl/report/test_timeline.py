"""The time line of a finding: what it says, that nothing stands on top of anything else, and that no answer gets out of it."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from leasehold.oracle.findings import Finding
from leasehold.report.timeline import EDGE, STORE, Timeline, mermaid, span, svg, timeline
from tests.impl.report.conftest import KILLED, NAMES, Check

SVG = "{http://www.w3.org/2000/svg}"
RUNS = [name for name in NAMES if name not in {"LiesAboutItsTier", "Unlocked"}]


def drawn(checked: Check, name: str) -> Timeline:
    finding = checked(name).violations[0].finding
    assert isinstance(finding, Finding)
    return timeline(finding)


def test_two_owners(checked: Check) -> None:
    line = drawn(checked, "TwoOwners")
    assert line.lanes == ("ann", "bob", STORE)
    assert [mark.op for mark in line.marks] == ["try_claim", "try_claim"]
    assert [mark.sign for mark in line.marks] == ["ok", "wrong"]
    right, wrong = line.bars
    assert (right.kind, right.lane, right.first, right.last, right.end) == ("lease", 0, 0.5, 2.0, "")
    assert right.labels[0] == "lease-1 #1 until +60000"
    assert (wrong.kind, wrong.lane, wrong.first) == ("wrong", 1, 1 + EDGE)
    assert "#2" in wrong.labels[0]
    assert line.allowed == "null"


def test_an_expiry_ends_a_bar_however_far_away(checked: Check) -> None:
    line = drawn(checked, "fence-without-expiry")
    (lease,) = [bar for bar in line.bars if bar.kind == "lease"]
    assert lease.end == "expired"
    assert lease.last < len(line.instants) - 0.5, "at the wrong step the lease is over"
    assert any("later" in one.later for one in line.instants)


def test_a_long_run_is_folded_and_still_told(checked: Check) -> None:
    finding = checked("sql-limit-before-filter").violations[0].finding
    line = drawn(checked, "sql-limit-before-filter")
    assert isinstance(finding, Finding)
    assert finding.commands > 20
    assert sum(mark.times for mark in line.marks) == finding.commands
    assert len(line.marks) < 10
    assert f"{finding.commands - 2} times" in mermaid(line)


def test_a_claim_is_drawn_on_its_batches(checked: Check) -> None:
    (claim,) = [bar for bar in drawn(checked, "completion-counted").bars if bar.kind == "claim"]
    assert "batch-1" in claim.labels[0]


def test_a_wrong_claim_is_drawn_beside_the_right_one(checked: Check) -> None:
    bars = {bar.kind: bar for bar in drawn(checked, "one-too-many").bars}
    assert bars["expected"].labels[0].startswith("allowed: claim on batch-1 until")
    assert bars["wrong"].labels[0].startswith("answered: claim-2 #1 on batch-1, batch-2")
    assert bars["expected"].row != bars["wrong"].row


def test_a_kill_is_crossed_out_and_what_started_again_is_told(checked: Check) -> None:
    for name in RUNS:
        line = drawn(checked, name)
        root = ElementTree.fromstring(svg(line, "run-1"))
        crosses = sum(one.get("class") == "tl-kill" for one in root.iter(f"{SVG}line"))
        restarts = sum(one.get("class") == "tl-restart" for one in root.iter(f"{SVG}line"))
        assert (crosses, restarts) == ((2, 1) if name in KILLED else (0, 0)), name
        assert ("started again" in "".join(root.itertext())) == (name in KILLED)
        assert [mark.failing for mark in line.marks if mark.failing] == (["killed"] if name in KILLED else [])


def test_a_commit_says_what_the_head_became(checked: Check) -> None:
    assert [mark.revision for mark in drawn(checked, "usage-by-last-seen").marks if mark.op == "commit"] == ["r1"]


@pytest.mark.parametrize("name", RUNS)
def test_every_step_is_there_and_one_is_wrong(checked: Check, name: str) -> None:
    line = drawn(checked, name)
    finding = checked(name).violations[0].finding
    assert isinstance(finding, Finding)
    assert sum(mark.times for mark in line.marks) == len(finding.failure.steps)
    assert [mark.sign == "wrong" for mark in line.marks] == [False] * (len(line.marks) - 1) + [True]
    for bar in line.bars:
        assert 0 <= bar.first < bar.last <= len(line.marks)


def collisions(root: ElementTree.Element) -> list[str]:
    """Texts of a line that meet, by a fair guess of how wide they are; and texts that stand outside."""
    width = float(root.get("width", "0"))
    spans: dict[float, list[tuple[float, float, str]]] = {}
    for one in root.iter(f"{SVG}rect"):
        if one.get("class") == "tl-number":  # the number within is no text of its own
            x, y, wide = (float(one.get(name, "0")) for name in ("x", "y", "width"))
            spans.setdefault(y + 15.5, []).append((x, x + wide, "a number"))
    for one in root.iter(f"{SVG}text"):
        if one.get("class") == "tl-strong":
            continue
        text, x, y = one.text or "", float(one.get("x", "0")), float(one.get("y", "0"))
        wide = len(text) * 6.2
        left = x - {"middle": wide / 2, "end": wide}.get(one.get("text-anchor", ""), 0.0)
        spans.setdefault(y, []).append((left, left + wide, text))
    met = [f"{b[2]} on {a[2]}" for line in spans.values() for a, b in pairwise(sorted(line)) if b[0] < a[1] - 2]
    return met + [text for line in spans.values() for left, right, text in line if left < 0 or right > width + 4]


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("name", RUNS)
def test_nothing_stands_on_anything_else(checked: Check, name: str, alone: bool) -> None:
    root = ElementTree.fromstring(svg(drawn(checked, name), "run-1", alone=alone))
    assert collisions(root) == []
    assert root.get("role") == "img"
    title, described = root[0], root[1]
    assert (title.tag, described.tag) == (f"{SVG}title", f"{SVG}desc")
    assert root.get("aria-labelledby") == f"{title.get('id')} {described.get('id')}"
    assert "is wrong: the contract allows" in (described.text or "")
    assert (root.find(f"{SVG}style") is not None) == alone
    assert "WRONG" in "".join(root.itertext())


def test_twin_what_collides_or_leaves_is_noticed() -> None:
    texts = '<text x="10" y="20">one two three</text><text x="40" y="20">four</text><text x="90" y="60">too far to the right</text>'
    found = collisions(ElementTree.fromstring(f'<svg xmlns="{SVG[1:-1]}" width="120">{texts}</svg>'))
    assert found == ["four on one two three", "too far to the right"]


@pytest.mark.parametrize("name", ["NastyIds", "NastyWords"])
def test_no_answer_gets_out_of_its_place(checked: Check, name: str) -> None:
    line = drawn(checked, name)
    for alone in (False, True):
        text = svg(line, "run-1", alone=alone)
        assert "throw 1" in text, "the answer is not shown at all"
        assert "<script" not in text
        assert not re.search("[\x00\x1b]", text)
    source = mermaid(line)
    assert "throw 1" in source
    assert not re.search(
        r"[<>`|\x00]", "".join(part for part in source.splitlines() if "throw" in part).replace("->>", "").replace("--x", "")
    )
    assert "#60;script#62;" in source


@pytest.mark.parametrize("name", RUNS)
def test_mermaid_has_a_message_and_an_answer_for_every_column(checked: Check, name: str) -> None:
    line = drawn(checked, name)
    lines = mermaid(line).splitlines()
    assert lines[0] == "sequenceDiagram"
    assert sum("->>s: " in one for one in lines) == len(line.marks)
    assert sum(bool(re.match(r" +s-(->>|-x)c\d", one)) for one in lines) == len(line.marks)
    assert sum("WRONG" in one for one in lines) == 1
    assert all(re.fullmatch(r"[\w #;:,.+=/()'<>-]*", one) for one in lines)


@pytest.mark.parametrize(
    ("ms", "told"),
    [
        (0, ""),
        (1, "1 ms later"),
        (90_000, "90 s later"),
        (3_600_000, "60 min later"),
        (8_590_054_597, "99.422 d later"),
        (59_999, "59.999 s later"),
        (2**62, "ages later"),
    ],
)
def test_spans_for_people(ms: int, told: str) -> None:
    assert span(ms) == told
