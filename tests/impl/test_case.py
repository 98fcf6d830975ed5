"""Cases: saved, loaded, run again, and what is wrong with a file that is none."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import attrs
import jsonschema_rs
import pytest

from leasehold.case import (
    COMMANDS,
    Case,
    CaseError,
    Turns,
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
from leasehold.oracle.check import Options, check
from leasehold.oracle.concurrent import RaceFinding
from leasehold.oracle.findings import Finding
from leasehold.oracle.fitting import fit, fitted
from leasehold.oracle.python_door import PythonDoor
from leasehold.oracle.run import START, Reopen, Step
from leasehold.store import Capabilities
from leasehold.stores.memory import MemoryStore
from leasehold.targets import open_target
from leasehold.testing import replay_case as replay_by_hand
from leasehold.wire.client import WireDoor
from leasehold_model.ids import Millis, Name, OwnerId, SessionId
from leasehold_model.lease import TryClaimLease
from leasehold_model.machine import RECOMMENDED, Command
from leasehold_model.policy import POINTS, SEED, choose
from tests.impl.found import NAMES, emptied, forgotten, half_done, named, raced
from tests.impl.wrong import HERE, KILLABLE, LiesAboutItsTier, RefusesAndExtends, Resets, TwoOwners, Unlocked
from tools.case_schema import case_schema

SCHEMA = jsonschema_rs.validator_for(case_schema())


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


# -- races ------------------------------------------------------------------------------------------------------------------------


def a_race(name: str = NAMES[0]) -> Case:
    finding = raced(name)
    return case_of(finding, HERE + "Unlocked", Unlocked.capabilities, RECOMMENDED)


@pytest.mark.parametrize("name", NAMES)
def test_a_race_survives(name: str, tmp_path: Path) -> None:
    case = a_race(name)
    path = save(case, tmp_path)
    again = load(path)
    assert again == case
    assert to_json(again) == to_json(case)
    assert SCHEMA.is_valid(json.loads(path.read_text()))
    assert again.race is not None
    assert again.race.clients == named(name).clients
    assert again.steps == named(name).before
    assert len(again.race.calls) == raced(name).commands
    shown = {str(one["call"]): one for one in again.race.calls}
    assert [one["refused"] is not None for one in shown.values()].count(True) == len(raced(name).refused)
    assert sorted(one["explained"] for one in shown.values() if one["explained"]) == list(range(1, len(raced(name).explained) + 1))
    assert as_pytest(again, path).count(f'replay_case("{path}", Unlocked)') == 1


def test_every_race_has_a_file_of_its_own(tmp_path: Path) -> None:
    case = a_race()
    assert case.race is not None
    others = [
        attrs.evolve(case, race=attrs.evolve(case.race, turns=Turns(order=(0, 1, 2), changes=(99,)))),
        attrs.evolve(case, race=attrs.evolve(case.race, clients=case.race.clients[:2], turns=None)),
        attrs.evolve(case, steps=grants(1)),
        attrs.evolve(case, steps=(attrs.evolve(grants(1)[0], kill=3),)),
        attrs.evolve(case, steps=(attrs.evolve(grants(1)[0], kill=4),)),
    ]
    assert len({save(one, tmp_path) for one in (case, *others)}) == 1 + len(others)
    assert save(case, tmp_path) == save(attrs.evolve(case, message="told otherwise"), tmp_path)


def test_a_race_is_run_again_and_judged_anew() -> None:
    case = from_json(to_json(a_race()))
    again = replay(case, door(Unlocked), RECOMMENDED)
    assert (again.verdict, again.changed) == ("violates", False)
    assert isinstance(again.finding, RaceFinding)
    assert again.finding.calls
    assert replay(case, door(MemoryStore), RECOMMENDED).verdict == "conforms"
    with pytest.raises(AssertionError, match="No order of these 2 calls of 2 clients at once"):
        replay_case(to_json(case), door(Unlocked))


@pytest.mark.parametrize("turns", [None, Turns(order=(2, 1, 0), changes=(1,)), Turns(order=(0, 1, 2), changes=(10_000,))])
def test_a_race_is_found_again_though_the_code_has_moved(turns: Turns | None) -> None:
    case = a_race()
    assert case.race is not None
    moved = attrs.evolve(case, race=attrs.evolve(case.race, turns=turns))
    assert replay(moved, door(Unlocked), RECOMMENDED).verdict == "violates"


def test_a_race_of_an_older_release_has_no_calls() -> None:
    old = from_json(damaged(kind="race", requirement="LEASE-8", steps=[]))
    assert old.race is None
    again = replay(old, door(Unlocked), RECOMMENDED)
    assert (again.verdict, again.changed) == ("violates", False)
    assert replay(old, door(MemoryStore), RECOMMENDED).verdict == "conforms"


class OneAtATime(MemoryStore):
    capabilities = Capabilities(handles=8)


class OnlyLeases(MemoryStore):
    capabilities = Capabilities(handles=8, concurrent=True, ops=frozenset({"try_claim_session_execution_lease"}))


@pytest.mark.parametrize(
    ("store", "name", "why"),
    [
        (OneAtATime, NAMES[0], "does not declare several handles and concurrent calls"),
        (OnlyLeases, NAMES[1], "it takes commit_runtime_state, load_session, which the store does not offer"),
    ],
)
def test_a_race_that_cannot_be_run_says_nothing(store: type[MemoryStore], name: str, why: str) -> None:
    again = replay(a_race(name), door(store), RECOMMENDED)
    assert again.verdict == "inconclusive"
    assert why in again.because


def test_a_store_that_is_wrong_before_the_race_is_found_out() -> None:
    class Forgets(MemoryStore):
        capabilities = Capabilities(handles=8, concurrent=True)

        def try_claim_session_execution_lease(self, session_id: str, owner_id: str, lease_ttl_ms: int) -> Any:
            super().try_claim_session_execution_lease(session_id, owner_id, lease_ttl_ms)

    again = replay(a_race(NAMES[1]), door(Forgets), RECOMMENDED)
    assert again.verdict == "violates"
    assert isinstance(again.finding, Finding)
    assert again.finding.requirement == "LEASE-1"


# -- kills ------------------------------------------------------------------------------------------------------------------------


def a_kill(finding: Finding, factory: str) -> Case:
    return case_of(finding, HERE + factory, KILLABLE, RECOMMENDED)


@pytest.mark.parametrize(
    ("found_", "target"),
    [
        (half_done, HERE + "usage_later"),
        (forgotten, HERE + "meta_in_memory"),
        (emptied, "python:tests.liars.crashing:compacts_in_place"),
    ],
)
def test_a_kill_is_saved_and_done_again(found_: Callable[[], Finding], target: str, tmp_path: Path) -> None:
    finding = found_()
    case = case_of(finding, target, KILLABLE, RECOMMENDED)
    path = save(case, tmp_path)
    again = load(path)
    assert again == case
    assert again.killed
    assert not again.lost, "the answer was lost by the kill, and that comes again"
    assert SCHEMA.is_valid(json.loads(path.read_text()))
    assert any("the store's process was killed" in str(one.get("fault")) for one in again.shown)
    text = as_pytest(again, path)
    compile(text, "pasted", "exec")
    assert f'replay_case("{path}", "{target}")' in text
    with pytest.raises(AssertionError, match="LAW-10"):
        replay_by_hand(path, target)


def test_a_store_that_survives_the_kill_conforms() -> None:
    with open_target("sqlite") as opened:
        assert replay(a_kill(forgotten(), "meta_in_memory"), opened, RECOMMENDED).verdict == "conforms"


def test_a_kill_by_the_clock_is_tried_often_and_says_how_often(monkeypatch: pytest.MonkeyPatch) -> None:
    saved, read = forgotten().failure.steps
    case = attrs.evolve(a_kill(forgotten(), "meta_in_memory"), steps=(attrs.evolve(saved, kill=200), read))
    monkeypatch.setattr("leasehold.case.KILLS", 3)
    served = WireDoor([sys.executable, "-m", "leasehold", "serve", "sqlite"], "sqlite")
    with served.alarm():
        again = replay(case, served, RECOMMENDED)
        assert again.verdict == "inconclusive"
        assert again.because == "it is a matter of time, and was not seen in 4 tries"
        monkeypatch.setattr("leasehold.case.FEWEST", 4)
        again = replay(case, served, RECOMMENDED)
        assert again.verdict == "conforms"
        assert again.change.endswith("conforms here in 4 tries")


def test_a_race_with_a_kill_is_saved(tmp_path: Path) -> None:
    case = a_race(NAMES[0])
    assert case.race is not None
    case = attrs.evolve(case, race=attrs.evolve(case.race, turns=None, stopped=(), kill=700))
    path = save(case, tmp_path)
    assert load(path) == case
    assert SCHEMA.is_valid(json.loads(path.read_text()))
    again = replay(case, door(MemoryStore), RECOMMENDED)
    assert again.verdict == "inconclusive"
    assert "killed nothing" in again.because


def test_a_kill_that_cannot_be_done_says_nothing() -> None:
    again = replay(a_kill(half_done(), "usage_later"), door(MemoryStore), RECOMMENDED)
    assert again.verdict == "inconclusive"
    assert "killed nothing: only a target that is named can be opened by another process" in again.because


def test_a_kill_is_stripped_where_nothing_can_be_killed() -> None:
    one = attrs.evolve(grants(1)[0], kill=7)
    assert fit(one, START, KILLABLE) == (one, "")
    assert fit(one, START, KILLABLE, "no process") == (attrs.evolve(one, kill=0), "killed nothing: no process")
    assert [step.kill for step in fitted((one, one), KILLABLE)] == [0, 0]


def test_a_power_loss_is_looked_for_again(tmp_path: Path) -> None:
    case = case_of(RaceFinding("LAW-10", "after a power loss"), "sqlite", KILLABLE, RECOMMENDED)
    assert (case.kind, case.steps) == ("power", ())
    case = load(save(case, tmp_path))
    again = replay(case, door(MemoryStore), RECOMMENDED)
    assert again.verdict == "inconclusive"
    assert "only our SQLite store is put through that" in again.because
    with open_target("sqlite") as opened:
        assert replay(case, opened, RECOMMENDED).verdict == "conforms"


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


CLIENTS = [[{"type": "LoadNode", "node": 1}], [{"type": "LoadNode", "node": 1}]]
STEP = {"at": 1, "handle": 0, "command": {"type": "LoadNode", "node": 1}}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "it is no case"),
        ({}, "it is no case"),
        (damaged(format=2), "format: 2 cannot be read"),
        (damaged(requirement=...), "requirement: this member is required"),
        (damaged(requirement=3), "requirement: a value of type str"),
        (damaged(kind="dream"), "kind: one of run, race, tier, power"),
        (damaged(race=1), "race: an object"),
        (damaged(race={"name": "x"}), "race.clients: this member is required"),
        (damaged(race={"name": "x", "clients": []}), "race.clients: an array of arrays of commands"),
        (damaged(race={"clients": CLIENTS}), "race.name: this member is required"),
        (damaged(race={"name": "x", "clients": [[{"type": "Sing"}]]}), "race.clients[0][0].type: unknown command 'Sing'"),
        (damaged(race={"name": "x", "clients": CLIENTS, "schedule": 1}), "race.schedule: an object"),
        (
            damaged(race={"name": "x", "clients": CLIENTS, "schedule": {"order": [0, 0], "changes": [], "fine": False}}),
            "race.schedule.order: each of the clients 0 to 1",
        ),
        (damaged(steps=[{**STEP, "kill": "now"}]), "steps[0].kill: a value of type int"),
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
