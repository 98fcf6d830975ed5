"""The register of known deviations: its file, and what becomes of a check that is held to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from leasehold.cli import main
from leasehold.deviations import (
    EVERYTHING,
    KNOWN,
    NEVER,
    TODO,
    Deviation,
    Register,
    RegisterError,
    kind,
    parse,
    refusal,
    render,
    rewritten,
    seen,
    settle,
)
from leasehold.oracle.check import Options, Report, check
from leasehold.oracle.concurrent import RaceFinding
from leasehold.oracle.coverage import NotChecked
from leasehold.oracle.python_door import Factory, PythonDoor
from leasehold.stores.memory import MemoryStore
from tests.impl.found import NAMES, forgotten, raced
from tests.impl.wrong import HERE, LiesAboutItsTier, RefusesAndExtends, Resets, Throws, TwoOwners

TWO_OWNERS = "try_claim: null is due, the store gave a Lease"


def checked(store: Factory, seed: int = 1, budget: float = 2.0, known: frozenset[str] = EVERYTHING) -> Report:
    door = PythonDoor(store, store.__name__)
    try:
        with door.alarm():
            return check(door, Options(budget=budget, seed=seed, known=known))
    finally:
        door.close()


@pytest.fixture(scope="module")
def broken() -> Report:
    """A store that breaks LEASE-3, so that LAW-2 never comes to bear."""
    report = checked(TwoOwners)
    assert [one.requirement for one in report.findings] == ["LEASE-3"]
    return report


def register(*entries: Deviation) -> Register:
    return Register("known.toml", entries)


def explained(report: Report) -> Register:
    """All that the report has, with reasons."""
    made = rewritten(register(), report)
    return evolve(made, entries=tuple(evolve(one, reason="so it is") for one in made.entries))


# -- the file ----------------------------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"])).map(str.strip)


@given(
    st.lists(
        st.builds(Deviation, requirement=TEXTS.filter(bool), message=TEXTS, reason=TEXTS, link=TEXTS),
    )
)
def test_what_is_written_is_read_again(entries: list[Deviation]) -> None:
    assert parse(render(register(*entries)), "known.toml").entries == tuple(entries)


def test_the_comment_at_the_top_stays() -> None:
    text = '# Ours.\n# Ask Ann.\n\n[[deviation]]\n# inside\nrequirement = "LEASE-3"\n'
    again = render(parse(text, "known.toml"))
    assert again.startswith("# Ours.\n# Ask Ann.\n\n[[deviation]]\n")
    assert "# inside" not in again


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[deviation]", "it is not TOML"),
        ("[deviation]\nrequirement = 'LEASE-3'", "with two brackets"),
        ("version = 1", "unknown member 'version'"),
        ("[[deviation]]\nreason = 'x'", "deviation 1 names no requirement"),
        ("[[deviation]]\nrequirement = 'LEASE-3'\nresaon = 'x'", "unknown member 'resaon'"),
        ("[[deviation]]\nrequirement = 'LEASE-3'\nreason = 7", "reason is 7, and has to be text"),
    ],
)
def test_a_register_that_cannot_be_read(text: str, says: str) -> None:
    with pytest.raises(RegisterError, match=r"^register known\.toml: ") as caught:
        parse(text, "known.toml")
    assert says in str(caught.value)


# -- messages ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("store", "rule", "message"),
    [
        (TwoOwners, "LEASE-3", TWO_OWNERS),
        (Throws, "LAW-15", "gc: success is due, the store gave raised KeyError"),
        (LiesAboutItsTier, "TIER-1", "the store declares 'inline' and reports durability_tier 'durable'"),
    ],
)
def test_a_message_does_not_depend_on_the_seed(store: Factory, rule: str, message: str) -> None:
    for seed in (1, 2):
        found = {one.requirement: one.message for one in seen(checked(store, seed, 1.5))}
        assert found[rule] == message


def test_numbers_are_no_part_of_a_message() -> None:
    assert kind(RaceFinding("LEASE-8", "2 were granted in 0.5 s")) == kind(RaceFinding("LEASE-8", "0 were granted in 3 s"))
    assert kind(RaceFinding("LEASE-8", "2 were granted")) != kind(RaceFinding("LEASE-8", "2 were refused"))


def test_a_race_and_a_kill_are_told_without_what_differs_from_seed_to_seed() -> None:
    races = [raced(name) for name in NAMES[:2]]
    assert {kind(one) for one in races} == {"clients at once: no order explains their answers"}
    hung = RaceFinding("LAW-13", "two ask: not every client was answered within 5 s", race=races[0].race)
    assert kind(hung) == "clients at once: not every one is answered in time"
    assert kind(forgotten()) == "after a kill, load_meta: success is due, the store gave null"


@pytest.mark.parametrize(("undecided", "verdict"), [(0, "conforms"), (1, "conforms"), (2, "inconclusive")])
def test_too_many_undecided_histories_are_not_green(broken: Report, undecided: int, verdict: str) -> None:
    tally = evolve(broken.tally, histories=100, undecided=undecided)
    assert settle(explained(broken), evolve(broken, tally=tally)).report.verdict == verdict


# -- a check in the light of a register --------------------------------------------------------------------------------------------


def test_what_is_known_does_not_fail(broken: Report) -> None:
    settled = settle(explained(broken), broken)
    assert settled.report.verdict == "conforms"
    assert {entry.requirement: entry.message for entry, _ in settled.known} == {"LEASE-3": TWO_OWNERS, "LAW-2": NEVER}
    assert not (settled.report.findings or settled.report.races or settled.report.starved)
    assert NotChecked("LEASE-3", "known deviation: so it is") in settled.report.not_checked


def test_twin_what_is_not_known_does(broken: Report) -> None:
    settled = settle(register(), broken)
    assert (settled.report.verdict, settled.known, settled.problems) == ("violates", (), ())
    assert settled.report.findings == broken.findings
    only_never_reached = register(*(one for one in explained(broken).entries if one.requirement == "LEASE-3"))
    assert settle(only_never_reached, broken).report.verdict == "inconclusive"


KNOWN_ONE = Deviation(requirement="LEASE-3", message=TWO_OWNERS, reason="so it is")


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([evolve(KNOWN_ONE, reason="")], "LEASE-3 has no reason yet"),
        ([evolve(KNOWN_ONE, reason=TODO)], "LEASE-3 has no reason yet"),
        ([evolve(KNOWN_ONE, message="try_claim: null is due, the store gave a Claim")], "now it is 'try_claim: null is due, the "),
        ([evolve(KNOWN_ONE, message="")], "recorded is nothing, now it is"),
        ([KNOWN_ONE, evolve(KNOWN_ONE, requirement="LEASE-4")], "LEASE-4 no longer occurs"),
        ([KNOWN_ONE, evolve(KNOWN_ONE, requirement="LEESE-3")], "LEESE-3 is no requirement"),
        ([KNOWN_ONE, evolve(KNOWN_ONE, requirement="LAW-12")], "LAW-12 was not checked"),
        ([KNOWN_ONE, KNOWN_ONE], "LEASE-3 stands there twice"),
    ],
)
def test_a_register_that_is_not_right_fails(entries: list[Deviation], says: str, broken: Report) -> None:
    settled = settle(register(*entries), broken)
    assert settled.report.verdict == "violates"
    assert any(says in one.message and one.message.startswith("known.toml: ") for one in settled.problems)
    assert set(settled.problems) <= set(settled.report.races)


def test_an_option_is_known_where_options_are_required() -> None:
    report = checked(Resets)
    assert report.loose == ("P-REENTRY",)
    known = register(Deviation(requirement="P-REENTRY", message="takes reset", reason="older than the contract"))
    assert settle(known, report, recommended=True).report.verdict == "conforms"
    assert settle(register(), report, recommended=True).report.verdict == "violates"
    assert settle(known, report).problems == (), "one about an option is for a check that requires options"
    assert rewritten(known, report).entries == known.entries


def test_the_check_goes_on_past_what_is_known() -> None:
    class Both(RefusesAndExtends, Throws):
        """LAW-15 and LAW-1."""

    first = checked(Both, known=frozenset(), budget=6.0)
    assert {one.requirement for one in first.findings} == {"LAW-1", "LAW-15"}
    door = PythonDoor(Both, "Both")
    for known, rules in ((frozenset(), ["LAW-15"]), (frozenset({"LAW-15"}), ["LAW-15", "LAW-1"])):
        report = check(door, Options(budget=6.0, seed=1, max_findings=1, known=known))
        assert sorted(one.requirement for one in report.findings) == sorted(rules)
    door.close()


# -- rewriting ---------------------------------------------------------------------------------------------------------------------


def test_rewriting_keeps_reasons_and_links_of_what_stays(broken: Report) -> None:
    old = register(
        Deviation(requirement="LEASE-3", message="otherwise", reason="so it is", link="https://tracker.example/1"),
        Deviation(requirement="META-1", message="gone", reason="was so"),
    )
    law, lease = rewritten(old, broken).entries
    assert (law.requirement, law.message, law.reason) == ("LAW-2", NEVER, TODO)
    assert lease == Deviation(requirement="LEASE-3", message=TWO_OWNERS, reason="so it is", link="https://tracker.example/1")


def test_what_may_not_be_rewritten_from(broken: Report) -> None:
    assert refusal(broken) == ""
    assert refusal(checked(MemoryStore)) == ""
    cut = evolve(broken, not_checked=(*broken.not_checked, NotChecked("the rest of the run", "interrupted after 1 s")))
    assert "interrupted after 1 s" in refusal(cut)
    assert "inconclusive" in refusal(checked(MemoryStore, budget=0.001))


def test_every_rule_may_be_known() -> None:
    assert {"LEASE-3", "LAW-1", "P-REENTRY"} <= set(KNOWN)


# -- on the command line -----------------------------------------------------------------------------------------------------------


def run(place: Path, *words: Any, store: str = "TwoOwners") -> Result:
    always = ["check", HERE + store, "--budget", "2s", "--seed", "1", "--cases", str(place / "cases")]
    return CliRunner().invoke(main, [*always, "--deviations", str(place / "known.toml"), *map(str, words)])


def test_a_register_is_made_explained_and_kept(tmp_path: Path) -> None:
    path, report = tmp_path / "known.toml", tmp_path / "report.json"
    assert run(tmp_path).exit_code == 64
    made = run(tmp_path, "--fix-deviations")
    assert made.exit_code == 1
    assert "rewritten, with 2 known deviations" in made.stderr
    unexplained = run(tmp_path)
    assert unexplained.exit_code == 1
    assert "has no reason yet" in unexplained.stdout
    assert "breaks no rule otherwise than recorded" in " ".join(unexplained.stdout.split())
    path.write_text(path.read_text().replace(TODO, "until the migration"))
    kept = run(tmp_path, "--json", report)
    assert kept.exit_code == 0, kept.stdout
    assert "Known deviations" in kept.stdout
    assert "until the migration" in kept.stdout
    value = json.loads(report.read_text())
    assert (value["verdict"], value["violations"]) == ("conforms", [])
    assert [one["requirement"] for one in value["deviations"]] == ["LAW-2", "LEASE-3"]
    mended = run(tmp_path, "--json", report, store="Resets")
    assert mended.exit_code == 1
    assert "LEASE-3 no longer occurs" in mended.stdout
    violations = json.loads(report.read_text())["violations"]
    assert {(one["requirement"], one["commands"], one["concurrent"]) for one in violations} == {
        ("LAW-2", 0, False),
        ("LEASE-3", 0, False),
    }


def test_a_register_is_not_rewritten_from_too_short_a_look(tmp_path: Path) -> None:
    result = run(tmp_path, "--fix-deviations", "--budget", "0.001s", store="Resets")
    assert result.exit_code == 2
    assert "not rewritten: the check is inconclusive" in result.stderr
    assert not (tmp_path / "known.toml").exists()


def test_rewriting_needs_a_register() -> None:
    result = CliRunner().invoke(main, ["check", "memory", "--fix-deviations"])
    assert result.exit_code == 64
    assert "name it" in result.stderr
