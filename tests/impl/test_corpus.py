"""The regression corpus: every liar has a case that still shows it, right stores keep them all, and checks replay them first."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from attrs import evolve

from leasehold import corpus, specs
from leasehold.case import Case, load, prepare, replay
from leasehold.oracle.check import Options, Report, check
from leasehold.oracle.fitting import fit, fitted
from leasehold.oracle.python_door import PythonDoor
from leasehold.oracle.run import START, Reopen, Step, execute
from leasehold.store import Capabilities, SystemClock
from leasehold.stores.memory import MemoryStore
from leasehold.stores.sqlite import SqliteStore
from leasehold_model.decisions import MAX_MS
from leasehold_model.ids import Millis
from leasehold_model.machine import Contract
from leasehold_model.queue import Enqueue
from tests.liars.liars import LIARS, Liar
from tests.liars.oddities import ODDITIES, Oddity
from tests.liars.patching import in_a_folder
from tools import case_schema
from tools.corpus import CASES, PREFIX, SCHEMA, of

ROOT = Path(__file__).parents[2]
SCHEMA_OF_CASES = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text("utf-8")))
STORES: dict[str, Callable[..., Any]] = {"memory": MemoryStore, "sqlite": in_a_folder(SqliteStore)}


def replayed(case: Case, factory: Callable[..., Any], name: str) -> Any:
    """What becomes of the case on such a store."""
    door = PythonDoor(factory, name, deadline=1.0)
    try:
        with door.alarm():
            contract, _ = prepare(door)
            return replay(case, door, contract)
    finally:
        door.close()


# -- the files --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", corpus.files(), ids=lambda path: path.stem)
def test_a_case_has_the_shape_of_the_schema(path: Path) -> None:
    value = json.loads(path.read_text("utf-8"))
    SCHEMA_OF_CASES.validate(value)
    assert path.stem.startswith(value["requirement"] + "-")
    assert path.stat().st_size < 64_000


def test_twin_a_wrong_case_has_not() -> None:
    path = next(path for path in corpus.files() if load(path).steps)
    value = json.loads(path.read_text("utf-8"))
    assert SCHEMA_OF_CASES.is_valid(value)
    first, *rest = value["steps"]
    command = first["command"]
    for wrong in (
        {"format": 2},
        {"requirement": "LEASE-99"},
        {"kind": "dream"},
        {"policies": {"P-REENTRY": "never"}},
        {"made_at": "today"},
        {"steps": [{**first, "at": "now"}, *rest]},
        {"steps": [{**first, "command": {**command, "type": "Sing"}}, *rest]},
        {"steps": [{**first, "command": {**command, "loud": 1}}, *rest]},
        {"steps": [{"at": 1, "handle": 0}]},
    ):
        assert not SCHEMA_OF_CASES.is_valid({**value, **wrong}), wrong


def test_the_schema_is_fresh() -> None:
    assert SCHEMA.read_text("utf-8") == case_schema.page(), "run: make corpus"


def without_a_case(liars: tuple[Liar, ...]) -> list[str]:
    return [liar.name for liar in liars if len(of(liar.name)) != 1]


def test_every_liar_has_a_case() -> None:
    assert without_a_case(LIARS) == [], "run: make corpus"
    assert len(corpus.files()) == len(LIARS), "a case of a liar that is no more"
    assert sum(path.stat().st_size for path in corpus.files()) < 6_000 * len(LIARS)


def test_twin_a_liar_without_one_is_noticed() -> None:
    assert without_a_case((evolve(LIARS[0], name="new-liar"),)) == ["new-liar"]


# -- replayed ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("liar", LIARS, ids=lambda liar: liar.name)
def test_a_case_shows_its_liar(liar: Liar) -> None:
    (path,) = of(liar.name)
    case = load(path)
    assert case.target == PREFIX + liar.name
    assert case.requirement in liar.rules
    again = replayed(case, liar.factory(), case.target)
    assert (again.verdict, again.changed) == ("violates", False), again.change
    assert again.change == f"Was {case.requirement}, broken by {case.target}; the same rule is broken here"


@pytest.mark.parametrize("store", STORES)
def test_a_right_store_keeps_every_case(store: str) -> None:
    door = PythonDoor(STORES[store], store)
    contract, _ = prepare(door)
    try:
        results = {path.stem: replay(load(path), door, contract) for path in corpus.files()}
    finally:
        door.close()
    assert {name: one.change for name, one in results.items() if one.verdict == "violates"} == {}
    unlike = {name for name, one in results.items() if one.verdict != "conforms"}
    assert all("does not declare reopen" in results[name].because for name in unlike)
    assert bool(unlike) == (store == "memory"), "only a store in memory cannot be opened again"


@pytest.mark.parametrize("oddity", ODDITIES, ids=lambda oddity: oddity.name)
def test_an_odd_store_is_accused_by_no_case(oddity: Oddity) -> None:
    door = PythonDoor(oddity.factory, oddity.name)
    contract, _ = prepare(door)
    try:
        runs = corpus.runs()[:25] if oddity.slow else corpus.runs()
        failures = [execute(door, contract, fitted(run, door.capabilities)) for run in runs]
    finally:
        door.close()
    assert [one.mismatch for one in failures if one is not None] == []


# -- in a check -------------------------------------------------------------------------------------------------------------------


def heard(door: PythonDoor, options: Options) -> tuple[list[str], Report]:
    """What a check says that it is doing until it is well in the tour, and its report."""
    told: list[str] = []

    def progress(what: str, _operations: int, _share: float) -> None:
        told.append(what)
        if told.count("tour") == 3:
            raise KeyboardInterrupt

    return told, check(door, options, progress)


def test_a_finding_of_the_corpus_is_a_finding() -> None:
    """The liar that takes a long run to find is found by its case, at once and by the rule's name."""
    liar = next(one for one in LIARS if one.name == "sql-limit-before-filter")
    door = PythonDoor(liar.factory(), liar.name)
    try:
        told, report = heard(door, Options(budget=90.0, seed=1, max_findings=1))
    finally:
        door.close()
    assert [one.requirement for one in report.findings] == ["QUEUE-5"]
    assert report.findings[0].confirmed
    assert "tour" not in told


def test_a_check_begins_with_the_corpus() -> None:
    door = PythonDoor(MemoryStore, "memory")
    told, report = heard(door, Options(budget=60.0, seed=1))
    assert report.findings == ()
    order = list(dict.fromkeys(told))
    assert order.index("probing policies") < order.index("regression cases") < order.index("tour")
    assert told.count("regression cases") == len(corpus.runs())
    without, _ = heard(door, Options(budget=60.0, seed=1, corpus=False))
    assert "regression cases" not in without


def test_a_slow_store_has_the_rest_of_the_corpus_after_the_tour() -> None:
    told, _ = heard(PythonDoor(MemoryStore, "memory"), Options(budget=0.001, seed=1))
    assert told.count("regression cases") < len(corpus.runs())


# -- on a store that can do less --------------------------------------------------------------------------------------------------


def test_what_a_store_cannot_do_is_left_out_and_told() -> None:
    late = Enqueue(1, 0, False, False, 2, MAX_MS, 1, 10)  # type: ignore[arg-type]  # plain numbers are the model's ids
    soon = evolve(late, available_at=Millis(START + 5))
    able = Capabilities(handles=2, reopen=True)
    for one in (Step(START, 1, late), Step(START + 9, 1, soon), Step(START, 0, Reopen())):
        assert fit(one, START, able) == (one, "")
    assert fit(Step(START, 0, Reopen()), START, Capabilities()) == (None, "is left out: the store does not declare reopen")
    assert fit(Step(START, 1, soon), START, Capabilities()) == (
        Step(START, 0, soon),
        "used handle 0 for handle 1: the store takes 1 at once",
    )
    small = Capabilities(handles=2, max_integer=2**53 - 1)
    assert fit(Step(START, 1, late), START, small) == (None, f"is left out: it needs integers above {2**53 - 1}")
    assert fit(Step(START, 1, soon), START, small) == (Step(START, 1, soon), "")
    real = Capabilities(clock="real")
    moved, why = fit(Step(START + 9, 0, soon), START, real)
    assert why == "was not 9 ms after the first: the store's clock is real"
    assert moved == Step(START + 9, 0, evolve(soon, available_at=Millis(0)))


def test_a_store_with_a_real_clock_keeps_the_corpus() -> None:
    class Real(MemoryStore):
        capabilities = Capabilities(clock="real", handles=1, max_integer=2**53 - 1)

    door = PythonDoor(lambda _clock: Real(SystemClock()), "real")
    contract, _ = prepare(door)
    results = [replay(load(path), door, contract) for path in corpus.files() if load(path).kind == "run"]
    assert [one.change for one in results if one.verdict == "violates"] == []
    notes = " ".join(note for one in results for note in one.notes)
    for what in ("clock is real", "needs integers above", "does not declare reopen", "used handle 0"):
        assert what in notes
    assert all(one.notes for one in results if one.verdict == "inconclusive")


def test_why_another_rule_is_broken_now() -> None:
    (path,) = of("busy-is-an-error")
    case = load(path)
    shares = next(one for one in LIARS if one.name == "never-binds")
    assert replayed(case, shares.factory(), "x").change == "Was LEASE-3, broken by liar:busy-is-an-error; conforms here"
    other = evolve(case, requirement="LEASE-5", policies=evolve(Contract().policies, reentry="reset"))
    again = replayed(other, next(one for one in LIARS if one.name == "busy-is-an-error").factory(), "x")
    assert again.change.endswith(
        "another rule is broken here, because policies differ: P-REENTRY is extend-only here and was reset"
    )
    other = evolve(case, requirement="LEASE-5")
    again = replayed(other, next(one for one in LIARS if one.name == "busy-is-an-error").factory(), "x")
    assert again.changed
    assert again.because == "the store answers otherwise"


# -- shipped ----------------------------------------------------------------------------------------------------------------------


def test_a_wheel_has_the_corpus(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=ROOT, check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    tell = "from leasehold import corpus, specs; print(specs.directory(), len(corpus.files()), len(corpus.runs()))"
    found = subprocess.run(
        [sys.executable, "-c", tell], cwd=tmp_path, env={"PYTHONPATH": str(installed)}, check=True, capture_output=True, text=True
    )
    assert found.stdout.split() == [str(installed / "leasehold" / "specs"), str(len(corpus.files())), str(len(corpus.runs()))]
    assert (installed / "leasehold_model" / "machine.py").is_file()


def test_a_checkout_has_its_own() -> None:
    assert specs.directory() == CASES.parent
    assert len(corpus.runs()) > 100
