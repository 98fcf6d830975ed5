"""Cases: saved, loaded, run again, and what is wrong with a file that is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import attrs
import pytest

from leasehold.case import (
    COMMANDS,
    Case,
    CaseError,
    as_pytest,
    case_of,
    from_json,
    load,
    prepare,
    replay,
    replay_case,
    save,
    to_json,
)
from leasehold.oracle.check import Options, RaceFinding, check
from leasehold.oracle.findings import Finding
from leasehold.oracle.python_door import PythonDoor
from leasehold.oracle.run import START, Reopen, Step
from leasehold.stores.memory import MemoryStore
from leasehold_model.ids import Millis, Name, OwnerId, SessionId
from leasehold_model.lease import TryClaimLease
from leasehold_model.machine import Command
from leasehold_model.policy import POINTS, SEED, choose
from tests.impl.wrong import LiesAboutItsTier, RefusesAndExtends, Resets, TwoOwners


def sample(kind: Any, number: int = 3) -> Any:
    """A value of the type in which every member differs from its neighbours."""
    kind = getattr(kind, "__supertype__", kind)
    if attrs.has(kind):
        hints = get_type_hints(kind)
        return kind(**{one.name: sample(hints[one.name], number + index) for index, one in enumerate(attrs.fields(kind))})
    if get_origin(kind) is tuple:
        return (sample(get_args(kind)[0], number), sample(get_args(kind)[0], number + 5))
    return number % 2 == 1 if kind is bool else number


def door(store: Callable[..., Any]) -> PythonDoor:
    return PythonDoor(store, "python:tests.impl.wrong:" + store.__name__, deadline=2.0)


def found(store: Callable[..., Any]) -> Case:
    """The first finding of a check, as a case."""
    opened = door(store)
    report = check(opened, Options(budget=20.0, seed=1, max_findings=1))
    findings: list[Finding | RaceFinding] = [*report.races, *report.findings]
    (finding,) = findings
    return case_of(finding, report.target, report.capabilities, report.contract)


@pytest.fixture(scope="module")
def two_owners() -> Case:
    return found(TwoOwners)


def grants(*owners: int) -> tuple[Step, ...]:
    """Owners claim the same lane, one after the other."""
    commands = [TryClaimLease(SessionId(1), OwnerId(owner), Millis(60_000), Name(index + 1)) for index, owner in enumerate(owners)]
    return tuple(Step(START, 0, command) for command in commands)


# -- there and back --------------------------------------------------------------------------------------------------------------


def test_every_command_has_a_tag() -> None:
    assert set(COMMANDS.values()) == {*get_args(Command), Reopen}


@pytest.mark.parametrize("tag", sorted(COMMANDS))
def test_a_command_survives(tag: str, tmp_path: Path) -> None:
    policies = SEED.recommended
    for point in POINTS:
        policies = choose(policies, point, point.options[-1])
    case = Case(requirement="LEASE-1", policies=policies, manifest="noop", steps=(Step(START + 5, 1, sample(COMMANDS[tag])),))
    again = load(save(case, tmp_path))
    assert again.steps == case.steps
    assert (again.policies, again.manifest, again.contract) == (case.policies, case.manifest, case.contract)
    assert to_json(again) == to_json(case)


def test_a_finding_survives(two_owners: Case, tmp_path: Path) -> None:
    path = save(two_owners, tmp_path / "made" / "on the way")
    assert path.name.startswith("LEASE-3-")
    assert load(path) == two_owners
    assert save(two_owners, path.parent) == path, "the same run has the same name"
    value = json.loads(path.read_text())
    assert value["format"] == 1
    assert [step["op"] for step in value["steps"]] == ["try_claim_session_execution_lease"] * 2
    assert value["steps"][1]["args"]["owner_id"] != value["steps"][0]["args"]["owner_id"]
    assert value["steps"][1]["answer"]["ok"]["fencing_token"] == 2
    assert value["mismatch"]["allowed"] == "null"


# -- run again ---------------------------------------------------------------------------------------------------------------------


def test_a_case_is_judged_on_the_store_it_is_given(two_owners: Case) -> None:
    replay_case(to_json(two_owners), door(MemoryStore))
    with pytest.raises(AssertionError) as failed:
        replay_case(to_json(two_owners), door(TwoOwners))
    text = str(failed.value)
    assert text.splitlines()[0].split()[0] == "VIOLATES"
    assert "A live lane is not granted to another owner" in text
    assert ">>2" in text


def test_a_case_may_be_a_path(two_owners: Case, tmp_path: Path) -> None:
    path = save(two_owners, tmp_path)
    replay_case(path, door(MemoryStore))
    with pytest.raises(AssertionError, match="LEASE-3"):
        replay_case(str(path), door(TwoOwners))


def test_the_policies_are_the_stores_own() -> None:
    case = Case(requirement="LEASE-2", steps=grants(1, 1))
    opened = door(Resets)
    contract, _ = prepare(opened)
    again = replay(case, opened, contract)
    assert again.verdict == "conforms"
    assert again.differing == ("P-REENTRY is reset here and was extend-only",)


def test_a_run_that_cannot_be_made_says_nothing() -> None:
    class Lazy(MemoryStore):
        def try_claim_session_execution_lease(self, *args: Any) -> Any:
            raise NotImplementedError("no leases here")

    opened = door(Lazy)
    contract, _ = prepare(opened)
    again = replay(Case(requirement="LEASE-3", steps=grants(1, 2)), opened, contract)
    assert again.verdict == "inconclusive"
    assert "no leases here" in again.notes[0]


def test_another_rule_may_be_broken_now() -> None:
    opened = door(RefusesAndExtends)
    contract, _ = prepare(opened)
    law_1 = attrs.evolve(found(RefusesAndExtends), requirement="LEASE-5")
    again = replay(law_1, opened, contract)
    assert again.verdict == "violates"
    assert again.finding is not None
    assert again.finding.requirement == "LAW-1"


def test_a_finding_without_a_run_is_looked_for_again() -> None:
    case = found(LiesAboutItsTier)
    assert (case.requirement, case.kind, case.steps) == ("TIER-1", "tier", ())
    case = from_json(to_json(case))
    contract, _ = prepare(door(MemoryStore))
    assert replay(case, door(LiesAboutItsTier), contract).verdict == "violates"
    assert replay(case, door(MemoryStore), contract).verdict == "conforms"
    race = attrs.evolve(case, requirement="LEASE-8", kind="race")
    assert replay(race, door(MemoryStore), contract).verdict == "conforms"


# -- as a test --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["memory", "sqlite", "sqlite:x.db", "python:my.stores:Factory.open", "cmd:./adapter"])
@pytest.mark.parametrize("path", [None, "leasehold-cases/LEASE-3-1f2e.json"])
def test_as_pytest_is_python(two_owners: Case, target: str, path: str | None) -> None:
    text = as_pytest(attrs.evolve(two_owners, target=target), path)
    compile(text, "pasted", "exec")
    assert ("def test_lease_3_1f2e(" if path else "def test_lease_3(") in text
    assert "from leasehold.testing import replay_case" in text


def test_as_pytest_holds_the_case(two_owners: Case) -> None:
    text = as_pytest(two_owners).replace("from leasehold.testing import replay_case", "")
    seen: list[Any] = []
    scope: dict[str, Any] = {"replay_case": lambda case, factory: seen.append((case, factory))}
    exec(text, scope)
    scope["test_lease_3"]()
    assert seen == [(to_json(two_owners), TwoOwners)]


# -- what is no case ---------------------------------------------------------------------------------------------------------------


def damaged(**changes: Any) -> dict[str, Any]:
    """A good case with other members; ... takes one away."""
    value = {**to_json(Case(requirement="LEASE-3", steps=grants(1, 2))), **changes}
    return {name: member for name, member in value.items() if member is not ...}


STEP = {"at": 1, "handle": 0, "command": {"type": "LoadNode", "node": 1}}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "it is no case"),
        ({}, "it is no case"),
        (damaged(format=2), "format: 2 cannot be read"),
        (damaged(requirement=...), "requirement: this member is required"),
        (damaged(requirement=3), "requirement: a value of type str"),
        (damaged(kind="dream"), "kind: one of run, race, tier"),
        (damaged(manifest="full"), "manifest: persistent or noop"),
        (damaged(steps={}), "steps: a value of type list"),
        (damaged(policies=[]), "policies: an object"),
        (damaged(policies={"P-NEW": "yes"}), "unknown policy 'P-NEW'"),
        (damaged(policies={"P-REENTRY": "never"}), "policies.P-REENTRY: unknown option 'never'"),
        (damaged(steps=[1]), "steps[0]: an object"),
        (damaged(steps=[{**STEP, "at": "now"}]), "steps[0].at: a value of type int"),
        (damaged(steps=[STEP, {**STEP, "handle": True}]), "steps[1].handle: a value of type int"),
        (damaged(steps=[{**STEP, "command": {"type": "Sing"}}]), "steps[0].command.type: unknown command 'Sing'"),
        (damaged(steps=[{**STEP, "command": {"type": "LoadNode"}}]), "steps[0].command.node: this member is required"),
        (damaged(steps=[{**STEP, "command": {"type": "LoadNode", "node": "1"}}]), "steps[0].command.node: a value of type int"),
        (damaged(steps=[{**STEP, "command": {"type": "LoadNode", "node": 1, "x": 1}}]), "steps[0].command.x: unknown member"),
        (damaged(steps=[{**STEP, "command": {"type": "Tombstone", "nodes": [1, 2.0]}}]), "steps[0].command.nodes[1]: a value"),
        (damaged(steps=[{**STEP, "command": {"type": "Tombstone", "nodes": 1}}]), "steps[0].command.nodes: an array"),
        (damaged(steps=[{**STEP, "command": {"type": "ReleaseLease", "completion": 1}}]), "steps[0].command.completion: an object"),
    ],
)
def test_what_is_no_case_says_why(value: Any, says: str, tmp_path: Path) -> None:
    path = tmp_path / "case.json"
    path.write_text(json.dumps(value))
    with pytest.raises(CaseError) as error:
        load(path)
    assert str(error.value).startswith(f"case {path}: ")
    assert says in str(error.value)


@pytest.mark.parametrize(("content", "says"), [(b"{", "not JSON"), (b"\xff\xfe", "not text in UTF-8"), (b"[" * 10_000, "not JSON")])
def test_what_is_not_even_json(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "case.json"
    path.write_bytes(content)
    with pytest.raises(CaseError, match=says):
        load(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="No such file"):
        load(tmp_path / "nowhere.json")
    with pytest.raises(CaseError, match="Is a directory"):
        load(tmp_path)


def test_a_case_of_an_older_release_may_lack_a_policy() -> None:
    assert from_json(damaged(policies={})).policies == SEED.recommended
