"""Races in the reports: every call is there, in time and in the order that can be explained, and no answer gets out of place."""

from __future__ import annotations

import html
import io
import json
import re
from xml.etree import ElementTree

import pytest
from attrs import evolve

from leasehold.oracle.answers import Unknown
from leasehold.oracle.concurrent import RaceFinding
from leasehold.oracle.schedule import Schedule, Stop
from leasehold.report import race
from leasehold.report.html import check_html
from leasehold.report.json import Violation, check_json
from leasehold.report.junit import check_junit
from leasehold.report.lanes import mermaid, svg
from leasehold.report.markdown import check_markdown
from leasehold.report.race import RaceStory, tell_race
from leasehold.report.text import block, printer, show
from tests.impl.found import NAMES, raced
from tests.impl.report.conftest import NASTY, Check, Checked
from tests.impl.report.test_html import Page, flat
from tests.impl.report.test_timeline import SVG, collisions


def story(name: str) -> RaceStory:
    told = tell_race(raced(name))
    assert told is not None
    return told


def text(finding: RaceFinding, width: int = 90) -> str:
    stream = io.StringIO()
    console = printer(stream, width)
    for part in block(finding):
        console.print(part)
    return stream.getvalue()


@pytest.fixture
def reported(checked: Check) -> Checked:
    """A report with all the races in it."""
    races = tuple(evolve(raced(name), requirement=rule) for name, rule in zip(NAMES, ("LEASE-8", "LAW-11", "LAW-12"), strict=True))
    one = checked("TwoOwners")
    return evolve(
        one, report=evolve(one.report, races=races, findings=()), violations=[Violation(finding, None) for finding in races]
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_call_is_told_once_and_in_its_place(name: str) -> None:
    told, finding = story(name), raced(name)
    assert [one.letter for one in told.calls] == [race.letter(index) for index in range(len(finding.calls))]
    assert [finding.calls.index(one) for one in (finding.calls[index] for index in finding.explained)] == [
        told.calls.index(one) for one in told.order
    ]
    assert {one.letter for one in told.refused} == {race.letter(finding.calls.index(one.call)) for one in finding.refused}
    assert not {one.letter for one in told.order} & {one.letter for one in told.refused}, "explained and refused"
    assert sorted(at for at, _ in told.events) == list(range(told.moments))
    for one in told.calls:
        assert one.end is None or one.start < one.end
        assert bool(one.unanswered) == (one.end is None)


def test_letters_go_on_after_z() -> None:
    assert [race.letter(index) for index in (0, 25, 26, 52)] == ["A", "Z", "AA", "BA"]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", NAMES)
def test_the_text_has_a_column_for_each_client_and_the_wrong_answer_marked(name: str, width: int) -> None:
    told, shown = story(name), text(raced(name), width)
    assert all(len(line) <= width for line in shown.splitlines())
    (head,) = [line for line in shown.splitlines() if line.lstrip().startswith("#")]
    assert re.findall(r"client \d|afterwards", head) == [told.clients[client] for client in told.used]
    marked = re.findall(r"^ *>> ?([A-Z]+)", shown, re.MULTILINE)
    assert marked == [one.letter for at, one in told.events if one.refused and at == one.end]
    for sentence in (race.lead(told), race.explained(told), *map(race.refusal, told.refused)):
        assert flat(sentence) in flat(shown)
    assert ("Before, one after the other:" in shown) == (told.before is not None)


def test_two_are_granted_one_lane() -> None:
    told = story(NAMES[0])
    (wrong,) = told.refused
    assert wrong.refused is not None
    assert wrong.refused.rule == "LEASE-3"
    assert re.fullmatch(r"the answer is lease-\d of \w+, fencing token \d, until \+7200000, not null \(.*\)", wrong.refused.fact)
    assert len(told.order) == 1
    assert f"After {told.order[0].letter} the contract wants {wrong.letter} to be answered with null" in race.should(told)


@pytest.mark.parametrize(("lost", "answer"), [(False, "not yet answered"), (True, "? no answer")])
def test_a_call_that_had_not_returned_is_no_answer(lost: bool, answer: str) -> None:
    finding = raced(NAMES[0])
    wrong = {one.call.start for one in finding.refused}
    at, call = next((at, one) for at, one in enumerate(finding.calls) if one.start not in wrong)
    open_ = evolve(call, end=None, definite=False, answer=Unknown("lost") if lost else call.answer)
    calls = (*finding.calls[:at], open_, *finding.calls[at + 1 :])
    told = tell_race(evolve(finding, calls=calls, explained=()))
    assert told is not None
    assert told.calls[at].answer == told.calls[at].unanswered == answer
    which = f"{told.calls[at].letter}, which has no answer, may have taken effect or not."
    assert race.explained(told) == f"The model can explain none of them as the first. {which}"
    drawn = svg(told, "LAW-12", "race-1")
    assert drawn.count("rc-cut") == 1
    assert answer in drawn
    assert answer in text(evolve(finding, calls=calls, explained=()))


# -- schedules in words -----------------------------------------------------------------------------------------------------------

HERE = Stop(1, __file__, 12, "grant")


def stopped(*stops: Stop, fine: bool = False) -> Schedule:
    schedule = Schedule((1, 0), [7] * max(1, len(stops)), fine=fine)
    schedule.stops += stops
    return schedule


AT = "before line 12 of report/test_race.py (in grant: {code})"


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        (None, ""),
        (Schedule((1, 0), []), "one client after the other, client 2 first"),
        (stopped(), "client 2 first, and the next at line 7 of the store's code"),
        (stopped(fine=True), "client 2 first, and the next at opcode 7 of the store's code"),
        (stopped(HERE), f"client 2 went first and was stopped {AT}; then the next went on"),
        (
            stopped(evolve(HERE, client=0, file="nowhere.py"), HERE),
            f"client 1 was stopped before line 12 of nowhere.py (in grant); client 2 was stopped {AT}; each time the next went on",
        ),
    ],
)
def test_a_schedule_in_words(schedule: Schedule | None, told: str) -> None:
    assert race.in_words(schedule) == told.format(code=HERE.code)
    assert HERE.code == "from attrs import evolve"


def test_how_often_it_was_seen_again() -> None:
    finding = evolve(raced(NAMES[0]), again=4, tries=5)
    assert race.seen_again(evolve(finding, schedule=None)) == "Seen again in 4 of 5 reruns with the calls at once."
    one = race.seen_again(evolve(finding, schedule=stopped(HERE)))
    assert one.startswith("Seen again in 4 of 5 reruns under the same schedule: client 2 went first and was stopped before line 12")
    assert race.seen_again(evolve(finding, schedule=stopped(HERE), tries=0)).startswith("Client 2 went first")
    assert race.seen_again(RaceFinding("TIER-1", "reports another tier")) == ""


# -- drawings ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_stands_on_anything_else(name: str, alone: bool) -> None:
    told = story(name)
    root = ElementTree.fromstring(svg(told, "LAW-12", "race-1", alone=alone))
    assert collisions(root) == []
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "race-1-title race-1-desc"
    kinds = [str(one.get("class")) for one in root.iter(f"{SVG}rect") if "rc-call" in str(one.get("class"))]
    assert len(kinds) == len(told.calls)
    assert sum("rc-wrong" in one for one in kinds) == len(told.refused)
    assert sum("rc-kept" in one for one in kinds) == len(told.order)
    assert sum("rc-cut" in one for one in kinds) == sum(one.end is None for one in told.calls)
    said = "".join(root.itertext())
    assert all(f"{place}." in said for place in range(1, len(told.order) + 1))
    assert all(f"WRONG by {one.refused.rule}" in said for one in told.refused if one.refused)
    assert (root.find(f"{SVG}style") is not None) == alone


@pytest.mark.parametrize("name", NAMES)
def test_mermaid_has_every_start_and_return(name: str) -> None:
    told = story(name)
    lines = mermaid(told, "LAW-12").splitlines()
    assert lines[0] == "sequenceDiagram"
    assert sum("->>s: " in one for one in lines) == len(told.calls)
    assert sum(bool(re.match(r" +s-(->>|-x)c\d", one)) for one in lines) == sum(one.end is not None for one in told.calls)
    assert sum("WRONG" in one for one in lines) == len(told.refused)
    assert all(re.fullmatch(r"[\w #;:,.+=/()'<>-]*", one) for one in lines)


def test_no_answer_gets_out_of_its_place() -> None:
    told = story(NAMES[0])
    wrong = [evolve(one, answer=NASTY, refused=one.refused and evolve(one.refused, fact=NASTY)) for one in told.calls]
    nasty = evolve(told, calls=tuple(wrong), name=NASTY)
    drawn, source = svg(nasty, "LAW-12", "race-1"), mermaid(nasty, "LAW-12")
    assert "throw 1" in drawn
    assert "#60;script#62;" in source
    for shown in (drawn, source):
        assert "<script" not in shown
        assert not re.search("[\x00\x1b]", shown)


# -- whole reports ----------------------------------------------------------------------------------------------------------------


def test_the_page_has_them_all(reported: Checked) -> None:
    page = Page(check_html(reported.report, reported.violations, reported.asked))
    assert page.wrong == []
    assert len(page.tags("svg")) == len(page.tags("article")) == len(NAMES)
    said = flat(page.text)
    for name in NAMES:
        told = story(name)
        for sentence in (race.lead(told), race.explained(told), *map(race.refusal, told.refused), race.seen_again(raced(name))):
            assert flat(sentence) in said
    assert "Before the clients start, one after the other" in said
    assert "at once: Calls of several clients" not in said  # the colon is the style sheet's
    assert "at once Calls of several clients that overlap in time." in said


def test_the_other_reports_say_the_same(reported: Checked) -> None:
    markdown = html.unescape(check_markdown(reported.report, reported.violations, reported.asked))
    junit = ElementTree.fromstring(check_junit(reported.report, reported.violations, reported.asked))
    failures = {str(one.get("message")): str(one.text) for one in junit.iter("failure")}
    stream = io.StringIO()
    show(printer(stream, 100), reported.report, reported.violations, reported.asked)
    for name in NAMES:
        told = story(name)
        assert race.explained(told) in markdown
        assert "mermaid" in markdown
        assert flat(race.lead(told)) in flat(stream.getvalue())
        ((message, run),) = [(key, value) for key, value in failures.items() if told.name in key]
        assert message == " ".join(race.race_message(raced(name)).split())
        assert flat(race.explained(told)) in flat(run)


def test_programs_learn_what_was_at_once(reported: Checked) -> None:
    done = evolve(reported.report.tally, histories=1204, undecided=2, kills=312, power_losses=96)
    value = json.loads(json.dumps(check_json(evolve(reported.report, tally=done), reported.violations)))
    assert {name: value[name] for name in ("histories", "undecided", "kills", "power_losses")} == {
        "histories": 1204,
        "undecided": 2,
        "kills": 312,
        "power_losses": 96,
    }
    for one, name in zip(value["violations"], NAMES, strict=True):
        finding = raced(name)
        assert one["concurrent"] is True
        assert one["commands"] == len(finding.calls)
        assert one["also"] == list(finding.also)
        assert one["message"].startswith("No order of these")


def test_a_race_that_hung_counts_what_was_to_be_asked(reported: Checked) -> None:
    hung = RaceFinding("LAW-13", "not every client was answered within 5 s", race=raced(NAMES[0]).race)
    assert tell_race(hung) is None
    (one,) = check_json(reported.report, [Violation(hung, None)])["violations"]
    assert isinstance(one, dict)
    assert (one["commands"], one["concurrent"]) == (3, True)
    assert one["message"] == hung.message
    assert text(hung).strip() == hung.message
