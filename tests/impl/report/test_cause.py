"""What a wrong answer is due to: the step to blame stands first and is marked; lost answers are told with all possibilities."""

from __future__ import annotations

import html
import io
import re
from collections import Counter
from xml.etree import ElementTree

import pytest
from attrs import evolve
from rich.console import Console

from leasehold.oracle.answers import AFTER, CONNECTION, SERVER
from leasehold.oracle.findings import Finding
from leasehold.report.cause import blame, cause, lead, notes, should
from leasehold.report.html import check_html
from leasehold.report.markdown import check_markdown
from leasehold.report.standing import standings
from leasehold.report.story import Story, tell
from leasehold.report.text import run_block, tally
from leasehold.report.timeline import svg, timeline
from leasehold.report.words import Words
from leasehold_model.requirements import REQUIREMENTS
from tests.impl.report.conftest import Check, Checked


def told(one: Checked) -> tuple[Finding, Story, Words]:
    finding = one.violations[0].finding
    assert isinstance(finding, Finding)
    story = tell(finding.failure)
    return finding, story, Words(story)


BLAMED = {
    "completions-one-by-one": (6, "Step 6 (commit) was refused, yet in step 7 (list) batch-1 is missing."),
    "reopen-forgets-keys": (
        2,
        "After the reopening in step 2, step 4 (claim_by_ids) is answered wrongly: the source key of",
    ),
    "replay-counts-usage": (
        3,
        "Step 3 (commit) only repeats an earlier commit, yet in step 4 (load) usage source-1 model-1 4/3/2/1, usage",
    ),
    "sql-path-through-tombstones": (3, "Step 3 (tombstone) was done, yet in step 4 (load) node-2 is there and should not be."),
}


@pytest.mark.parametrize("name", BLAMED)
def test_the_step_to_blame_stands_first_and_is_marked(checked: Check, name: str) -> None:
    number, begins = BLAMED[name]
    one = checked(name)
    finding, story, words = told(one)
    blamed = cause(finding, story)
    assert blamed is not None
    assert blamed.number == number
    sentence = lead(finding, story, words)
    assert sentence.startswith(begins)
    page = check_html(one.report, one.violations, one.asked)
    assert f"<dd><strong>{sentence}</strong></dd>" in html.unescape(page)
    assert page.count('<tr class="cause">') == 1
    assert f'{number}, <span class="caused">cause</span>' in page
    assert f">{number}, cause</text>" in page
    assert page.count("tl-cause-column") - page.count(".tl-cause-column") == 1
    shown = html.unescape(check_markdown(one.report, one.violations, one.asked))
    assert f"**{sentence}**" in shown
    assert f"| **{number}, cause** |" in shown
    stream = io.StringIO()
    for block in run_block(finding):
        Console(file=stream, width=900, color_system=None).print(block)
    assert sentence in stream.getvalue()
    assert all(words.call(line).partition("[")[2] in stream.getvalue() for line in story.lines), "taken for markup"
    assert f"> {number}" in stream.getvalue()


def test_twin_where_no_earlier_step_is_to_blame_none_is_marked(checked: Check) -> None:
    one = checked("TwoOwners")
    finding, story, words = told(one)
    assert cause(finding, story) is None
    assert notes(finding, story) == {}
    assert lead(finding, story, words).startswith("In step 2 bob asks for the session's lease (try_claim), and is answered wrongly")
    page = check_html(one.report, one.violations, one.asked)
    assert '<tr class="cause">' not in page
    assert "the cause" not in page


def test_a_change_that_is_to_blame_by_its_rule_is_named(checked: Check) -> None:
    finding, story, _ = told(checked("completions-one-by-one"))
    assert blame(finding, story).endswith("so it is LAW-1 that is broken.")
    other = evolve(finding, requirement="COMMIT-8")
    blamed = cause(other, story)
    assert blamed is not None
    assert blamed.op == "commit_runtime_state"
    assert blame(other, story).endswith("the change that it is the first to show is the one of COMMIT-8.")


def test_a_fencing_token_that_was_given_before(checked: Check) -> None:
    finding, story, words = told(checked("fencing-reset-on-release"))
    assert lead(finding, story, words).endswith("the fencing token is 1, not more than 1. Step 1 was granted 1 already.")
    labels = [bar.labels[0] for bar in timeline(finding).bars]
    assert labels[-2:] == ["allowed: lease > #1", "answered: lease #1"]


# -- lost answers ----------------------------------------------------------------------------------------------------------------


def test_what_both_possibilities_allow(checked: Check) -> None:
    one = checked("lost-and-twice")
    finding, story, words = told(one)
    number = next(iter(notes(finding, story)))
    assert set(notes(finding, story).values()) == {"no answer"}
    assert lead(finding, story, words).startswith(f"The answer to step {number} (")
    sentence = should(finding, story, words)
    assert sentence.startswith(f"If step {number} took effect, the answer to step {len(story.lines)} had to be ")
    assert "; if it did not, " in sentence
    assert sentence.endswith("The answer fits neither.")
    page = html.unescape(check_html(one.report, one.violations, one.asked))
    assert sentence in page
    assert "? no answer" in page
    assert "\u2298 no answer" not in page
    assert "<dt>lost answer</dt>" in page
    assert "It should be" not in page
    assert sentence in html.unescape(check_markdown(one.report, one.violations, one.asked))


def test_twin_with_one_possibility_only_it_is_not_said_to_be_both(checked: Check) -> None:
    finding, story, words = told(checked("lost-and-twice"))
    took = [one for one in finding.failure.possible if one.took]
    only = evolve(finding, failure=evolve(finding.failure, possible=tuple(took)))
    assert should(only, story, words).startswith("As the answers since show, step ")
    assert "neither" not in should(only, story, words)


def test_what_is_the_same_in_both_possibilities_is_said_once(checked: Check) -> None:
    finding, story, words = told(checked("lost-and-unkeyed"))
    assert should(finding, story, words).startswith("Whether step 1 took effect or not, the answer to step 3 had to be [batch-2] (")


# -- what exactly is wrong ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "should_be", "did"),
    [
        ("completions-one-by-one", "with batch-1", "missing: batch-1"),
        ("sql-path-through-tombstones", "without node-2", "extra: node-2"),
        ("reopen-forgets-keys", 'source key of batch-1: "source:1"', 'source key of batch-1: "source:1 of old"'),
        ("fencing-reset-on-release", "fencing token: more than 1", "fencing token: 1"),
    ],
)
def test_only_what_is_wrong_is_marked(checked: Check, name: str, should_be: str, did: str) -> None:
    one = checked(name)
    _, story, words = told(one)
    (allowed, right), (answer, wrong) = words.both(story.lines[-1])
    assert (right, wrong) == (should_be, did)
    assert allowed
    assert answer
    page = html.unescape(check_html(one.report, one.violations, one.asked))
    assert f'{answer}<br><strong class="did">{did}</strong>' in page
    assert f'{allowed}<br><strong class="should">{should_be}</strong>' in page


def test_twin_a_step_that_was_answered_rightly_has_no_mistake(checked: Check) -> None:
    _, story, words = told(checked("completions-one-by-one"))
    assert [words.both(line)[1][1] for line in story.lines[:-1]] == [""] * 6
    assert not words.mistake().whole
    _, _, other = told(checked("TwoOwners"))
    assert other.mistake().whole


def test_a_forged_token_is_called_so(checked: Check) -> None:
    _, story, words = told(checked("completions-one-by-one"))
    assert "completes [batch-2] of claim-4 with a forged token (forged-token-1)" in words.call(story.lines[5])
    assert "completes [batch-1] of claim-2," in words.call(story.lines[5])
    finding = checked("completions-one-by-one").violations[0].finding
    assert isinstance(finding, Finding)
    assert svg(timeline(finding), "run-1").count(">forged token</text>") == 1


# -- counts ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["completions-one-by-one", "fencing-reset-on-release", "lost-and-unkeyed", "reopen-forgets-keys"])
def test_the_counts_of_a_page_agree(checked: Check, name: str) -> None:
    one = checked(name)
    ruled = standings(one.report)
    counts = Counter(rule.state for rule in ruled)
    assert sum(counts.values()) == len(REQUIREMENTS)
    total = sum(counts[state] for state in ("broken", "known", "in doubt", "kept"))
    assert tally(ruled).startswith(f"{total} of {len(REQUIREMENTS)} rules tested (1 broken, ")
    assert all(rule.exercised and rule.asserted for rule in ruled if rule.state in {"broken", "in doubt", "kept"})
    page = check_html(one.report, one.violations, one.asked)
    assert f"<dd>{tally(ruled)}</dd>" in page
    assert f"\u2713 {counts['kept']} kept</span>" in page
    never = f"<strong>{counts['starved']} rule"
    assert (never in page) == bool(counts["starved"])
    assert f"<strong>{counts['in doubt']} rule" in page
    first = page.partition('id="findings"')[0]
    assert f"<strong>{one.violations[0].finding.requirement}</strong> " not in first.partition("What was not checked")[2]


def test_the_rule_of_the_wrong_answer_is_in_doubt_though_another_is_to_blame(checked: Check) -> None:
    one = checked("completions-one-by-one")
    finding, _, _ = told(one)
    states = {rule.id: rule.state for rule in standings(one.report)}
    assert finding.failure.mismatch.rule == "LAW-5"
    assert (states["LAW-1"], states["LAW-5"], states["COMMIT-7"]) == ("broken", "in doubt", "in doubt")
    assert states["QUEUE-3"] == "in doubt", "the wrong answer was a list"
    assert states["LEASE-1"] == "kept"


@pytest.mark.parametrize("name", [*BLAMED, "lost-and-twice", "claim-fence-lowest"])
def test_labels_stay_within_their_bars(checked: Check, name: str) -> None:
    finding, _, _ = told(checked(name))
    assert outside(svg(timeline(finding), "run-1")) == []


def outside(drawing: str) -> list[str]:
    """Labels of bars that are wider than their bar, by a fair guess."""
    found = []
    for group in ElementTree.fromstring(drawing).iter("{http://www.w3.org/2000/svg}g"):
        bars = [one for one in group if "tl-bar " in one.get("class", "")]
        for label in (one for one in group if one.get("class") == "tl-bar-text" and bars):
            right = float(label.get("x", "0")) + 6.6 * len(label.text or "")
            if right > float(bars[0].get("x", "0")) + float(bars[0].get("width", "0")):
                found.append(label.text or "")
    return found


def test_twin_a_label_that_is_too_long_is_noticed() -> None:
    bar = '<rect class="tl-bar tl-lease" x="0" width="40"/><text class="tl-bar-text" x="6">far too long for it</text>'
    assert outside(f'<svg xmlns="http://www.w3.org/2000/svg"><g>{bar}</g></svg>') == ["far too long for it"]


# -- kills ------------------------------------------------------------------------------------------------------------------------


def test_what_a_kill_leaves_half_done_is_said_with_both_possibilities(checked: Check) -> None:
    finding, story, words = told(checked("half_done"))
    sentence = lead(finding, story, words)
    assert re.match(
        r"In step 2 \(commit\) the store's process was killed before line \d+ of \w+\.py \(.+\), and started",
        sentence,
    )
    assert sentence.endswith("shows neither all of that step nor none of it.")
    wanted = should(finding, story, words)
    assert wanted.startswith("If step 2 happened, the answer to step 3 had to be revision 1; nodes [node-31")
    assert "usage source-1 model-1 5/7/0/1 (LAW-8); if it did not, null" in wanted
    assert (
        blame(finding, story) == "Without what was made to fail in step 2, every answer is right: so it is LAW-10 that is broken."
    )
    assert notes(finding, story) == {2: "killed"}
    assert words.answer(story.lines[1]).startswith("? no answer; the store's process was killed before line ")


def test_what_a_kill_makes_the_store_forget_is_said(checked: Check) -> None:
    finding, story, words = told(checked("forgotten"))
    assert lead(finding, story, words) == (
        "In step 1 (save_meta) the store's process was killed right after the answer, and started again. What was answered "
        "before is lost: in step 2 (load_meta) the answer is null (nothing granted, or nothing there), not meta of 'name 3'."
    )
    assert should(finding, story, words) == "meta of 'name 3'"
    assert blame(finding, story).startswith("By itself the wrong answer breaks META-1. Without what was made to fail in step 1")
    assert words.answer(story.lines[0]) == "ok; the store's process was killed right after the answer, and started again"


def test_a_kill_while_the_store_was_opened_is_said(checked: Check) -> None:
    finding, story, words = told(checked("emptied"))
    sentence = lead(finding, story, words)
    assert re.match(
        r"In step 2 \(the store is opened again\) the store's process was killed after it had run \d+ lines? of the", sentence
    )
    assert "and started again. That has to change nothing, yet in step 3 (load_meta) the answer is null" in sentence
    assert blame(finding, story).endswith(
        "Without what was made to fail in step 2, every answer is right: so it is LAW-10 that is broken."
    )
    assert notes(finding, story) == {2: "killed"}
    assert words.answer(story.lines[1]).startswith("not opened to the end; the store's process was killed after it had run")
    assert "\u2716 killed" in "".join(ElementTree.fromstring(svg(timeline(finding), "run-1")).itertext())


def test_twin_without_a_kill_nothing_is_said_of_one(checked: Check) -> None:
    finding = checked("forgotten").violations[0].finding
    assert isinstance(finding, Finding)
    calm = evolve(finding, failure=evolve(finding.failure, steps=tuple(evolve(one, kill=0) for one in finding.failure.steps)))
    story = tell(calm.failure)
    assert "killed" not in lead(calm, story, Words(story))
    assert notes(calm, story) == {}


@pytest.mark.parametrize(
    ("kill", "word", "says", "drawn"),
    [
        (AFTER, "killed", "the store's process was killed right after the answer, and started again", "started again"),
        (9, "killed", "the store's process was killed right after the answer, and started again", "started again"),
        (
            -SERVER - 300,
            "server killed",
            "the database server was killed 300 microseconds after the call was sent",
            "started again",
        ),
        (-CONNECTION - 7, "cut off", "the store's connections were ended 7 microseconds after the call was sent", "cut off"),
    ],
)
def test_whatever_was_made_to_fail_is_told(checked: Check, kill: int, word: str, says: str, drawn: str) -> None:
    finding = checked("forgotten").violations[0].finding
    assert isinstance(finding, Finding)
    first, *rest = finding.failure.steps
    other = evolve(finding, failure=evolve(finding.failure, steps=(evolve(first, kill=kill), *rest)))
    story = tell(other.failure)
    assert story.lines[0].failing == word
    assert says in lead(other, story, Words(story))
    assert notes(other, story) == {1: word}
    said = "".join(ElementTree.fromstring(svg(timeline(other), "run-1")).itertext())
    assert drawn in said
    assert f"\u2716 {word}" in said
