"""The reports for people: what stands first, that both sides are shown, and that lines fit; and the progress line."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from leasehold.case import Replayed, case_of
from leasehold.oracle.check import Options, Report, check
from leasehold.oracle.concurrent import RaceFinding
from leasehold.oracle.coverage import NotChecked
from leasehold.oracle.findings import Finding
from leasehold.oracle.probe import Probed
from leasehold.oracle.provoke import Tally
from leasehold.oracle.python_door import PythonDoor
from leasehold.report.json import Violation
from leasehold.report.progress import Progress
from leasehold.report.story import tell
from leasehold.report.text import Asked, printer, replayed_text, show, show_broken, survived, weaknesses
from leasehold.report.words import Words, middle
from leasehold_model.policy import POINTS
from leasehold_model.requirements import STATEMENTS
from tests.impl.wrong import RefusesAndExtends, Reversed, Throws, TwoOwners

COMMAND = "leasehold check --seed 1 --budget 20s python:tests.impl.wrong:X"


def checked(store: Callable[..., Any], **options: Any) -> Report:
    door = PythonDoor(store, "python:tests.impl.wrong:" + store.__name__)
    return check(door, Options(**{"budget": 20.0, "seed": 1, "max_findings": 1, **options}))


@pytest.fixture(scope="module")
def two_owners() -> Report:
    return checked(TwoOwners)


def text(report: Report, width: int = 80) -> str:
    """The report as it is printed where there are no colours."""
    stream = io.StringIO()
    findings: list[Finding | RaceFinding] = [*report.races, *report.findings]
    violations = [Violation(one, Path(f"leasehold-cases/{one.requirement}-1f2e.json")) for one in findings]
    show(printer(stream, width), report, violations, Asked(command=COMMAND))
    return stream.getvalue()


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("width", [80, 120])
def test_what_broke_is_clear_at_once(two_owners: Report, width: int) -> None:
    lines = text(two_owners, width).splitlines()
    assert lines[0].strip() == "VIOLATES   python:tests.impl.wrong:TwoOwners breaks LEASE-3"
    first = flat("\n".join(lines[:24]))
    assert STATEMENTS["LEASE-3"] in first
    assert "In step 2 bob asks for the session's lease (try_claim), and is answered wrongly" in flat("\n".join(lines[:10]))
    assert "the model allows the store answered" in first
    assert re.search(r">>2 +try_claim\(alpha, .* +null +lease-2 of bob,", "\n".join(lines[:20]))
    assert "Step 2, try_claim_session_execution_lease: the contract allows null; the store answered lease-2 of bob" in first


@pytest.mark.parametrize("width", [80, 120])
def test_lines_fit(two_owners: Report, width: int) -> None:
    copied = ("leasehold ", "from ", "    replay_case(", '    """')
    wide = [line for line in text(two_owners, width).splitlines() if len(line) > width and not line.strip(" ").startswith(copied)]
    assert [line for line in wide if not line.startswith(copied)] == []


def test_what_is_to_be_copied_is_not_broken(two_owners: Report) -> None:
    lines = text(two_owners, 40).splitlines()
    assert "leasehold replay leasehold-cases/LEASE-3-1f2e.json python:tests.impl.wrong:TwoOwners" in lines
    assert '    replay_case("leasehold-cases/LEASE-3-1f2e.json", TwoOwners)' in lines
    assert "  " + COMMAND in lines


def test_the_order(two_owners: Report) -> None:
    report = text(two_owners)
    parts = ["VIOLATES", "not checked: LAW-10", "LEASE-3 broken (1 of 1)", "leasehold replay", "def test_lease_3_1f2e"]
    parts += ["Policies", "Rules exercised", "x LEASE-3", "Not checked", "Again", COMMAND]
    places = [report.index(part) for part in parts]
    assert places == sorted(places)


def test_every_reason_for_not_checking_is_given(two_owners: Report) -> None:
    below = flat(text(two_owners)).partition("Not checked ─")[2]
    assert two_owners.not_checked
    for one in two_owners.not_checked:
        assert one.what in below
        assert flat(one.why) in below


def test_much_that_is_not_checked_is_counted_first_and_named_below() -> None:
    shown = text(checked(Reversed))
    first = flat("\n".join(shown.splitlines()[:6]))
    assert re.search(r"not checked: \d+ rules, 20 operations, \d+ policies \(why: below\)", first)
    assert "claim_ready_queued_work" in shown.partition("Not checked ─")[2]


def test_why_it_is_that_rule() -> None:
    report = flat(text(checked(RefusesAndExtends)))
    assert "breaks LAW-1" in report
    assert "which has to change nothing, the answer is right: so it is LAW-1 that is broken" in report


def test_where_an_exception_came_from() -> None:
    report = text(checked(Throws))
    assert "the store answered raised KeyError: 'blob 7'" in flat(report)
    assert "in gc_unreachable: raise KeyError" in flat(report)


def test_long_ids_get_short_names_and_a_legend() -> None:
    report = checked(Reversed)
    (finding,) = report.findings
    shown = text(report)
    assert "[batch-1, batch-2]" in shown
    assert "[batch-2, batch-1]" in shown
    assert "batch-1 = batch-1-012...6789abcdef" in flat(shown)
    assert "0123456789abcdef0123456789abcdef" not in shown
    case = case_of(finding, report.target, report.capabilities, report.contract)
    assert "batch-1-0123456789abcdef0123456789abcdef" in str(case.shown)
    assert "batch-1-0123456789abcdef0123456789abcdef" in case.message
    assert Words(tell(finding.failure), whole=True).legend == {}


def test_middle() -> None:
    assert middle("a" * 24) == "a" * 24
    assert middle("abc" + "x" * 30 + "xyz", 11) == "abcx...xxyz"


def test_a_store_that_conforms(two_owners: Report) -> None:
    report = text(evolve(two_owners, findings=(), verdict="conforms"))
    assert report.splitlines()[0].strip() == "CONFORMS   python:tests.impl.wrong:TwoOwners kept every rule that was checked"
    assert "All 26 are the recommended ones." in report


@pytest.mark.parametrize(
    ("done", "told"),
    [
        (Tally(), ""),
        (Tally(histories=1204), "1,204 histories of clients at once, none undecided"),
        (
            Tally(histories=1, undecided=1, silent=3, kills=1, power_losses=1),
            "1 history of clients at once, 1 undecided, 3 on which the contract is silent; 1 kill; 1 power loss",
        ),
        (Tally(kills=312, power_losses=96), "312 kills; 96 power losses"),
        (Tally(kills=2, servers=1, connections=40), "2 kills; 1 kill of the database server; 40 lost connections"),
    ],
)
def test_what_was_survived_is_on_the_first_screen(two_owners: Report, done: Tally, told: str) -> None:
    assert survived(done) == told
    lines = text(evolve(two_owners, tally=done), 120).splitlines()
    assert (lines[2] == told) if told else ("rules tested" in lines[2])


def test_what_was_never_reached(two_owners: Report) -> None:
    starved = ("LEASE-4", "sometimes: a turn is replayed")
    report = text(evolve(two_owners, findings=(), verdict="inconclusive", starved=starved))
    assert report.splitlines()[0].strip().startswith("INCONCLUSIVE")
    below = flat(report.partition("Never reached")[2])
    assert STATEMENTS["LEASE-4"] in below
    assert "a turn is replayed" in below
    assert "--budget 5m" in below


def test_an_interrupted_check(two_owners: Report) -> None:
    cut = NotChecked("the rest of the run", "interrupted after 1.2 s")
    report = text(evolve(two_owners, findings=(), verdict="inconclusive", interrupted=True, not_checked=(cut,)))
    assert "interrupted; no rule was broken until then" in flat(report)
    assert "the rest of the run: interrupted after 1.2 s" in report
    assert "breaks LEASE-3; the check was interrupted" in flat(text(evolve(two_owners, interrupted=True)))


def test_an_interrupt_before_anything_was_known(two_owners: Report) -> None:
    nothing = dict.fromkeys(two_owners.exercised, 0)
    bare = evolve(two_owners, findings=(), policies=(), operations=0, exercised=nothing, asserted=nothing, verdict="inconclusive")
    assert text(evolve(bare, interrupted=True)).lstrip().startswith("INCONCLUSIVE")


def taking(**options: str) -> list[Probed]:
    return [Probed(point, options.get(point.field, point.options[0])) for point in POINTS]


def test_options_that_are_not_recommended_are_marked(two_owners: Report) -> None:
    policies = (*taking(join_gap="break", claim_fence="head"),)
    report = text(evolve(two_owners, findings=(), verdict="conforms", policies=policies))
    assert re.search(r"\* P-JOIN-GAP +break", report)
    assert "* P-JOIN-GAP: break; recommended skip." in report
    assert "Weakness: P-CLAIM-FENCE head" in report
    assert "All 26" not in report


@pytest.mark.parametrize(
    ("options", "weak"),
    [
        ({}, []),
        ({"claim_fence": "head"}, ["P-CLAIM-FENCE head"]),
        ({"manifest_key": "id"}, []),
        ({"intent_repeat": "last-wins"}, []),
        ({"manifest_key": "id", "intent_repeat": "last-wins"}, ["P-MANIFEST-KEY id with P-INTENT-REPEAT last-wins"]),
    ],
)
def test_weaknesses(options: dict[str, str], weak: list[str]) -> None:
    assert [one.partition(":")[0] for one in weaknesses(taking(**options))] == weak


def test_a_broken_target_is_shown_in_a_box() -> None:
    stream = io.StringIO()
    show_broken(
        printer(stream, 80), "python:a:b", "python:a:b: the factory raised OSError: [Errno 5] no [disk]\n  b.py:3 in b: open(x)"
    )
    lines = stream.getvalue().splitlines()
    assert lines[0].strip() == "BROKEN   python:a:b"
    assert lines[1].startswith("╭")
    assert "the factory raised OSError: [Errno 5] no [disk]" in lines[2]
    assert all(len(line) <= 80 for line in lines)


def test_the_text_for_a_failed_test_has_no_colours(two_owners: Report) -> None:
    (finding,) = two_owners.findings
    case = case_of(finding, two_owners.target, two_owners.capabilities, two_owners.contract)
    shown = replayed_text(Replayed(case=case, verdict="violates", finding=finding), "mine")
    assert "\x1b" not in shown
    assert shown.splitlines()[0].strip() == "VIOLATES   case: mine breaks LEASE-3, as in the case"


# -- progress ------------------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def lines_of(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, seconds: int = 60) -> list[str]:
    """What a minute of work writes, told of a thousand times a second."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Progress(stream, 60.0) as progress:
        for tick in range(seconds * 1000):
            now[0] = tick / 1000
            progress("random runs", tick, 0.5)
    return stream.getvalue().splitlines()


def test_a_log_is_not_flooded(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = lines_of(io.StringIO(), monkeypatch)
    assert len(lines) == 5
    assert lines[0] == "random runs: 10,000 operations, 10 of 60 s"


def test_nor_is_one_in_ci_that_looks_like_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert len(lines_of(Terminal(), monkeypatch)) == 5


def test_a_short_check_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines_of(io.StringIO(), monkeypatch, seconds=9) == []
