"""The quick part of ``make prove``, and that the gate itself can fail. Every property, twin and witness: ``make prove``."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from leasehold_model.policy import POINTS
from leasehold_model.requirements import STATEMENTS
from tests.proofs import __main__ as prove
from tests.proofs.gate import crashes, impossible, no_contract, too_deep, unreadable, wrong
from tests.proofs.prover import Status, Verdict, examine, worst
from tests.proofs.registry import PROPERTIES, WITNESSES, Twin
from tests.proofs.runner import Result, Task, changed, registry, run, slip

pytestmark = pytest.mark.proof

registry()
RECORDED: dict[str, Any] = json.loads(prove.RECORDED.read_text("utf-8"))
QUICK = [
    name
    for name, entry in PROPERTIES.items()
    if entry.proof.__module__.endswith(".decisions")
    or name in {"fencing tokens of a lane rise", "a lane is renewed iff its holder is live"}
]


@pytest.mark.requirement("LAW-3", "LAW-2", "LAW-14", "LEASE-4")
@pytest.mark.parametrize("name", QUICK)
def test_a_property_is_confirmed_and_its_first_twin_refuted(name: str) -> None:
    [proof] = run(Task("property", name))
    assert proof.verdict.status == "confirmed", proof.verdict
    [twin] = run(Task("twin", name))
    assert twin.verdict.status == "refuted", (twin.label, twin.verdict)


@pytest.mark.requirement("LAW-4", "P-CLAIM-FENCE")
def test_claim_fencing_is_refuted_under_head() -> None:
    name = "claims are fenced when above the heads counter"
    [proof] = run(Task("property", name))
    assert proof.verdict.status == "refuted" == RECORDED[name]["status"]
    assert "when calling" in RECORDED[name]["counterexample"]


def test_quick_is_not_nothing() -> None:
    assert len(QUICK) == 14


def test_every_property_is_recorded_and_named_after_rules_that_exist() -> None:
    known = {*STATEMENTS, *(point.id for point in POINTS)}
    assert {name: entry.over for name, entry in PROPERTIES.items()} == {name: entry["over"] for name, entry in RECORDED.items()}
    for name, entry in PROPERTIES.items():
        status = RECORDED[name]["status"]
        assert set(entry.ids) <= known and entry.ids
        assert (status == "bounded") == bool(entry.bound)
        assert entry.twins or status != "confirmed", name
    assert [name for name, entry in RECORDED.items() if entry["status"] == "refuted"] == [
        "claims are fenced when above the heads counter"
    ]


def test_every_command_has_witnesses() -> None:
    assert len(WITNESSES) == 23
    assert all("post: _ != " in str(claim.__doc__) for claim in WITNESSES.values())


@pytest.mark.parametrize(
    ("function", "status"),
    [
        (impossible, "impossible"),
        (no_contract, "nothing checked"),
        (too_deep, "unknown"),
        (wrong, "refuted"),
        (crashes, "broken"),
        (unreadable, "broken"),
    ],
)
def test_nothing_but_a_finished_search_is_confirmed(function: Any, status: Status) -> None:
    assert worst(examine(function, seconds=2.0)).status == status


def test_a_search_that_runs_out_of_time_is_bounded_only_where_that_is_declared() -> None:
    assert worst(examine(too_deep, seconds=1.0, bounded=True)).status == "bounded"
    assert worst(examine(wrong, seconds=1.0, bounded=True)).status == "refuted"


def verdict(status: Status) -> Verdict:
    return Verdict(status, "", 1, 0.0)


@pytest.mark.parametrize("status", ["bounded", "refuted", "impossible", "unknown", "nothing checked", "broken"])
def test_one_postcondition_that_is_not_confirmed_decides(status: Status) -> None:
    assert worst([verdict("confirmed"), verdict(status), verdict("confirmed")]).status == status


@pytest.mark.parametrize(
    ("kind", "was", "status", "good"),
    [
        ("property", "confirmed", "confirmed", True),
        ("property", "confirmed", "bounded", False),
        ("property", "confirmed", "unknown", False),
        ("property", "confirmed", "impossible", False),
        ("property", "confirmed", "refuted", False),
        ("property", "bounded", "bounded", True),
        ("property", "bounded", "confirmed", True),
        ("property", "bounded", "refuted", False),
        ("property", "refuted", "refuted", True),
        ("property", "refuted", "confirmed", False),
        ("property", None, "confirmed", False),
        ("twin", None, "refuted", True),
        ("twin", None, "confirmed", False),
        ("twin", None, "broken", False),
        ("witness", None, "refuted", True),
        ("witness", None, "unknown", False),
    ],
)
def test_what_slips(kind: Any, was: Status | None, status: Status, good: bool) -> None:
    name = QUICK[0]
    result = Result(Task(kind, name), name, verdict(status))
    assert bool(slip(result, was)) != good
    recorded = {name: {"status": was, "over": PROPERTIES[name].over}} if was else {}
    assert bool(prove.slips([result], recorded)) != good


def test_a_property_that_is_gone_or_about_something_else_slips() -> None:
    name = QUICK[0]
    result = Result(Task("property", name), name, verdict("confirmed"))
    assert prove.slips([result], {name: {"status": "confirmed", "over": "nothing"}})
    recorded = {name: {"status": "confirmed", "over": PROPERTIES[name].over}, "gone": {"status": "confirmed", "over": ""}}
    assert prove.slips([result], recorded) == ["property gone: recorded, but gone"]
    assert prove.slips([result], recorded, everything_ran=False) == []


def test_the_program_says_so_and_exits_with_one(tmp_path: Path) -> None:
    recorded = tmp_path / "recorded.json"
    word = "due from its time"
    for status, code, said in (
        ("confirmed", 0, "as recorded"),
        ("bounded", 0, "as recorded"),
        ("refuted", 1, "was refuted, is confirmed"),
    ):
        recorded.write_text(json.dumps({"due from its time on": {"status": status, "over": "all integers"}}), "utf-8")
        console = Console(file=io.StringIO(), width=150)
        assert prove.main([word], recorded, console) == code
        assert isinstance(console.file, io.StringIO) and said in console.file.getvalue()
    assert prove.main(["no such name"], recorded, Console(file=io.StringIO())) == 1


def test_a_twin_that_changes_nothing_is_broken() -> None:
    entry = PROPERTIES[QUICK[0]]
    text_is_gone = Twin("decisions", "no such text", "")
    PROPERTIES["invented"] = type(entry)("invented", entry.ids, entry.over, entry.proof, (text_is_gone,), "")
    try:
        [result] = run(Task("twin", "invented"))
    finally:
        del PROPERTIES["invented"]
    assert result.verdict.status == "broken" and "does not stand exactly once" in result.verdict.message


def test_a_twin_changes_the_model_only_while_it_runs() -> None:
    from leasehold_model import decisions

    with changed(Twin("decisions", "return at <= now", "return at < now")):
        from leasehold_model import decisions as other

        assert other is not decisions and not other.due(5, 5)
    from leasehold_model import decisions as after

    assert after is decisions and after.due(5, 5)
