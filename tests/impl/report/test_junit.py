"""The JUnit report: what it says is what the check says, and nothing that was not tested passes."""

from __future__ import annotations

from collections import Counter
from xml.etree import ElementTree

import pytest
from attrs import evolve

from leasehold.deviations import EXPLAINED
from leasehold.oracle.concurrent import RaceFinding
from leasehold.oracle.coverage import NotChecked
from leasehold.report.json import Violation
from leasehold.report.junit import broken_junit, check_junit
from leasehold.report.standing import standings
from leasehold_model.requirements import REQUIREMENTS, STATEMENTS
from tests.impl.report.conftest import NAMES, NASTY, Check, Checked


def junit(one: Checked) -> ElementTree.Element:
    root = ElementTree.fromstring(check_junit(one.report, one.violations, one.asked))
    assert complaints(root) == []
    return root


def complaints(root: ElementTree.Element) -> list[str]:
    """Totals that are not the sums of what is there."""
    found = []
    cases = list(root.iter("testcase"))
    counts = Counter(child.tag for case in cases for child in case)
    sums = {"tests": len(cases), "failures": counts["failure"], "errors": counts["error"], "skipped": counts["skipped"]}
    for element in (root, *root.iter("testsuite")):
        found += [
            f"{element.tag} {name}: {element.get(name)} for {total}"
            for name, total in sums.items()
            if element.get(name) != str(total)
        ]
    names = Counter((case.get("classname"), case.get("name")) for case in cases)
    return found + [f"{name} twice" for name, count in names.items() if count > 1]


def outcomes(root: ElementTree.Element) -> dict[str, str]:
    """Requirement -> what became of it."""
    found = {}
    for case in root.iter("testcase"):
        identifier = str(case.get("name")).partition(":")[0]
        if identifier in STATEMENTS:
            found[identifier] = next((child.tag for child in case), "passed")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_totals_and_states_agree_with_the_report(checked: Check, name: str) -> None:
    one = checked(name)
    found = outcomes(junit(one))
    assert list(found) == [rule.id for rule in REQUIREMENTS]
    tag = {"kept": "passed", "broken": "failure"}
    assert found == {rule.id: tag.get(rule.state, "skipped") for rule in standings(one.report)}
    assert [rule for rule, what in found.items() if what == "failure"] == [one.violations[0].finding.requirement]


def test_twin_totals_that_are_wrong_are_noticed() -> None:
    root = ElementTree.fromstring('<testsuites tests="2" failures="0" errors="0" skipped="0"><testcase name="a"/></testsuites>')
    assert complaints(root) == ["testsuites tests: 2 for 1"]


def test_the_run_is_in_the_failure(checked: Check) -> None:
    (failure,) = junit(checked("TwoOwners")).iter("failure")
    assert "Step 2, try_claim_session_execution_lease: the contract allows null" in str(failure.get("message"))
    assert ">>2" in str(failure.text)
    assert "case: leasehold-cases/LEASE-3-1f2e.json" in str(failure.text)


def test_policies_are_properties(checked: Check) -> None:
    found = {one.get("name"): one.get("value") for one in junit(checked("TwoOwners")).iter("property")}
    assert found["P-JOIN-GAP"] == "skip"
    assert found["seed"] == "1"
    assert found["verdict"] == "violates"


def test_what_was_not_reached_never_passes(checked: Check) -> None:
    one = checked("TwoOwners")
    none = {name: 0 if name == "LEASE-4" else count for name, count in one.report.exercised.items()}
    starved = ("LEASE-4", "sometimes: a turn is replayed")
    cut = NotChecked("the rest of the run", "interrupted after 1.2 s")
    for verdict, expected in (("inconclusive", "error"), ("violates", "skipped")):
        changed = one.but(exercised=none, starved=starved, verdict=verdict, not_checked=(cut,), findings=())
        root = junit(changed)
        assert outcomes(root)["LEASE-4"] == expected
        tags = {str(case.get("name")): [child.tag for child in case] for case in root.iter("testcase")}
        assert tags["a turn is replayed"] == [expected]
        assert tags["the rest of the run"] == [expected]


def test_what_was_reached_but_never_compared_does_not_pass(checked: Check) -> None:
    one = checked("TwoOwners")
    changed = one.but(asserted={**one.report.asserted, "LAW-1": 0}, exercised={**one.report.exercised, "LAW-1": 9})
    assert outcomes(junit(changed))["LAW-1"] == "skipped"


def test_a_known_deviation_is_neither_kept_nor_unchecked(checked: Check) -> None:
    known = NotChecked("LEASE-3", EXPLAINED + "ticket 7")
    one = checked("TwoOwners").but(findings=(), not_checked=(known,), verdict="conforms")
    assert outcomes(junit(one))["LEASE-3"] == "skipped"
    assert next(rule.state for rule in standings(one.report) if rule.id == "LEASE-3") == "known"


def test_an_answer_that_another_rule_explains_is_no_pass(checked: Check) -> None:
    one = checked("reopen-frees-claims")
    (also,) = one.report.findings[0].also
    assert outcomes(junit(one))[also] == "skipped"


def test_a_problem_with_what_is_no_requirement_fails_too(checked: Check) -> None:
    one = checked("TwoOwners")
    problem = RaceFinding("P-REENTRY", "deviations.toml: P-REENTRY no longer occurs")
    changed = evolve(one, report=evolve(one.report, races=(problem,), findings=()), violations=[Violation(problem, None)])
    (failure,) = junit(changed).iter("failure")
    assert failure.get("message") == problem.message


def test_a_rule_broken_twice_is_one_failure(checked: Check) -> None:
    one = checked("TwoOwners")
    race = RaceFinding("LEASE-3", "and in a race")
    changed = evolve(one, report=evolve(one.report, races=(race,)), violations=[Violation(race, None), *one.violations])
    (failure,) = junit(changed).iter("failure")
    assert "and in a race" in str(failure.text)
    assert ">>2" in str(failure.text)


def test_options_that_had_to_be_recommended_fail(checked: Check) -> None:
    one = checked("TwoOwners").but(loose=("P-REENTRY",), findings=())
    asked = evolve(one, asked=evolve(one.asked, recommended=True))
    assert [str(case.get("classname")) for case in junit(asked).iter("testcase") if case.find("failure") is not None] == [
        "leasehold.policy"
    ]


@pytest.mark.parametrize("name", ["NastyIds", "NastyWords"])
def test_whatever_a_store_answers_it_stays_xml(checked: Check, name: str) -> None:
    (failure,) = junit(checked(name)).iter("failure")
    assert "<script>throw 1" in str(failure.get("message"))
    assert "throw" in str(failure.text)


def test_a_broken_target() -> None:
    root = ElementTree.fromstring(broken_junit("python:a:b", f"no database\n{NASTY}", 0.2, 7, "leasehold check python:a:b"))
    assert complaints(root) == []
    (error,) = root.iter("error")
    assert error.get("message") == "no database"
    assert "<script>" in str(error.text)


def test_a_case_that_could_not_be_written(checked: Check) -> None:
    one = checked("TwoOwners")
    lost = evolve(one, violations=[evolve(one.violations[0], case=None)])
    (failure,) = junit(lost).iter("failure")
    assert "case:" not in str(failure.text)
