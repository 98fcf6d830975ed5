"""The conformance vectors: fresh, in shape, complete; kept by right stores, broken by wrong ones."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from leasehold.stores.memory import MemoryStore
from leasehold.stores.sqlite import SqliteStore
from leasehold_model.machine import Contract
from leasehold_model.policy import POINTS, Point, choose
from leasehold_model.requirements import REQUIREMENTS
from tests.impl.replayer import Differs, Vector, fits, ordered, replay
from tests.liars.liars import LIARS, Liar
from tests.liars.oddities import OTHERWISE
from tests.liars.patching import in_a_folder
from tests.liars.plain import PlainStore
from tools import vector_schema, vectors
from tools.vector_runs import runs
from tools.vectors import LEFT_OUT, SCHEMA, VECTORS, pages

ROOT = Path(__file__).parents[2]
FILES = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(VECTORS.glob("*.json"))}
INDEX = FILES.pop("index")
OF_VECTORS = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text("utf-8")))
MAKE = "run: make vectors"


def right_stores(vector: Vector) -> dict[str, Callable[..., Any]]:
    """The stores of ours that offer what the vector needs."""
    needs = vector["needs"]
    if needs["manifest"] == "noop":
        return {"noop": Noop}
    sqlite = {"sqlite": in_a_folder(SqliteStore)}
    return sqlite if needs["reopen"] else {"memory": MemoryStore, **sqlite}


class Noop(MemoryStore):
    """A store whose manifest is a declared no-op."""

    def record_intent(self, intent: Any) -> None:
        """Nothing."""


# -- the files ---------------------------------------------------------------------------------------------------------------


def test_they_are_fresh() -> None:
    made = pages()
    assert {path.name: path.read_text("utf-8") for path in VECTORS.glob("*.json")} == made, MAKE
    assert SCHEMA.read_text("utf-8") == vector_schema.page(), MAKE


@pytest.mark.parametrize("name", FILES)
def test_a_vector_has_the_shape_of_the_schema(name: str) -> None:
    OF_VECTORS.validate(FILES[name])
    times = [step["at"] for step in FILES[name]["steps"]]
    assert times == sorted(times)


def test_twin_a_wrong_vector_has_not() -> None:
    vector = FILES["leases"]
    assert OF_VECTORS.is_valid(vector)
    first = vector["steps"][0]
    wrongs: list[Vector] = [
        {"format": 2},
        {"steps": []},
        {"extra": 1},
        {"requirements": ["LEASE-99"]},
        {"policies": {"P-REENTRY": "reset"}},
        {"rising": [["fence1"]]},
        {"steps": [{**first, "op": "sing"}]},
        {"steps": [{**first, "expect": {"ok": {"lease_token": "$Token"}}}]},
        {"steps": [{**first, "expect": {"ok": 1, "err": {}}}]},
        {"steps": [{**first, "expect": {"ok": {"$every": True}}}]},
    ]
    for wrong in wrongs:
        assert not OF_VECTORS.is_valid({**vector, **wrong}), wrong


def test_every_requirement_is_covered_or_left_out_for_a_reason() -> None:
    covered = {rule for vector in FILES.values() for rule in vector["requirements"]}
    left_out = {one["requirement"]: one["why"] for one in INDEX["not_covered"]}
    assert covered | set(left_out) == {one.id for one in REQUIREMENTS}
    assert not covered & set(left_out)
    assert left_out == LEFT_OUT
    assert {one["file"] for one in INDEX["vectors"]} == {f"{name}.json" for name in FILES}
    decided = {step["rule"] for vector in FILES.values() for step in vector["steps"]}
    assert {rule for rule in decided if not rule.startswith("LAW-")} <= covered


def test_twin_a_requirement_that_no_vector_covers_has_no_reason() -> None:
    few = {"leases.json": FILES["leases"]}
    missing = {one["requirement"]: one["why"] for one in vectors.index(few)["not_covered"]}
    assert missing["QUEUE-1"] == ""
    assert "LEASE-1" not in missing


def test_no_name_is_used_before_it_is_bound() -> None:
    for name, vector in FILES.items():
        seen: set[str] = set()
        for step in vector["steps"]:
            assert names_in(step.get("args")) <= seen, name
            seen |= names_in(step.get("expect"))


def names_in(value: Any) -> set[str]:
    """The names in a pattern or in arguments."""
    if isinstance(value, dict | list):
        members = value.values() if isinstance(value, dict) else value
        return {name for member in members for name in names_in(member)}
    return {value} if isinstance(value, str) and value.startswith("$") else set()


# -- policies ----------------------------------------------------------------------------------------------------------------


def test_what_a_vector_depends_on() -> None:
    run = next(one.run for one in runs() if one.name == "gap-claimed")
    assert vectors.depends_on(run, Contract()) == ["P-JOIN-GAP", "P-CLAIM-FENCE"]


PLAIN = {
    name: vector
    for name, vector in FILES.items()
    if vector["needs"]["handles"] == 1 and not vector["needs"]["reopen"] and vector["needs"]["manifest"] != "noop"
}
"""What a plain store, which has one handle, can be held to."""


@pytest.mark.parametrize(("point", "taken"), [(point, taken) for point in POINTS for taken in point.options[1:]], ids=str)
def test_a_store_that_differs_at_one_point_keeps_the_vectors_that_do_not_name_it(point: Point, taken: str) -> None:
    policies = choose(Contract().policies, point, taken)
    kept = [vector for vector in PLAIN.values() if point.id not in vector["policies"]]
    assert len(kept) > 20
    for vector in kept:
        replay(vector, lambda clock: PlainStore(clock, policies, session_id="alpha" if point.field == "binding" else None))


def test_a_store_that_takes_no_recommended_option_keeps_those_that_depend_on_none() -> None:
    free = [vector for vector in PLAIN.values() if not vector["policies"]]
    assert len(free) > 12
    for vector in free:
        replay(vector, lambda clock: PlainStore(clock, OTHERWISE, session_id="alpha"))


# -- replayed ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_right_stores_keep_it(name: str) -> None:
    for factory in right_stores(FILES[name]).values():
        replay(FILES[name], factory)


def broken_by(liar: Liar) -> list[tuple[str, str]]:
    """The vectors that a liar breaks, with the rules of the wrong answers, until one is of its own rules. Likely ones are first."""
    factory, found = liar.factory(), list[tuple[str, str]]()
    for name in sorted(
        FILES, key=lambda name: (name != f"not-{liar.name}", not set(liar.rules) & set(FILES[name]["requirements"]))
    ):
        needs = FILES[name]["needs"]
        if needs["manifest"] == "noop" or (needs["reopen"] and liar.store != "sqlite"):
            continue
        try:
            replay(FILES[name], factory)
        except Differs as differs:
            found.append((name, differs.rule))
        except sqlite3.Error:
            found.append((name, "LAW-10"))  # it cannot even be closed
        if found and found[-1][1] in liar.rules:
            break
    return found


@pytest.mark.slow
def test_twin_liars_break_vectors_of_their_rules() -> None:
    """Not those that hang, for nothing here ends a call, nor those that lose answers, for they do so by chance."""
    liars = [liar for liar in LIARS if not {"LAW-12", "LAW-13"} & set(liar.rules)]
    broken = {liar.name: broken_by(liar) for liar in liars}
    kept = {name for name, found in broken.items() if not found}
    exactly = {liar.name for liar in liars if any(rule in liar.rules for _, rule in broken[liar.name])}
    groups = {rule.partition("-")[0] for liar in liars if liar.name in exactly for rule in liar.rules}
    assert {"LEASE", "COMMIT", "GRAPH", "QUEUE", "ATTACH", "META", "LAW"} <= groups
    assert len(exactly) >= 75
    assert len(kept) <= 10, sorted(kept)


def test_twin_each_part_of_a_pattern_can_fail() -> None:
    for pattern, right, wrong in (
        (1, 1, 2),
        (1, 1, True),
        (None, None, 0),
        ("a", "a", "b"),
        ("$x1", "a", None),
        ([1, 2], [1, 2], [2, 1]),
        ([1], [1], [1, 1]),
        ({"a": None}, {"b": 1}, {"a": 1}),
        ({"a": 1}, {"a": 1, "b": 2}, {"b": 2}),
        ({"$between": [0, 2]}, 2, 3),
        ({"$unordered": [1, 2]}, [2, 1], [2, 3]),
        (["$x1", "$x1"], [5, 5], [5, 6]),
    ):
        assert fits(pattern, right, {}), pattern
        assert not fits(pattern, wrong, {}), pattern
    vector: Vector = {"distinct": [["$a1", "$a2"]], "rising": [[0, "$b1", "$b2"]]}
    assert ordered(vector, {"$a1": "x", "$a2": "y", "$b1": 1, "$b2": 7})
    for wrong_names in ({"$a1": "x", "$a2": "x"}, {"$b1": 0}, {"$b1": 2, "$b2": 2}, {"$b1": 3, "$b2": 2}):
        assert not ordered(vector, wrong_names)


# -- the replayer in the documents -------------------------------------------------------------------------------------------


def documented(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    script = ROOT / "docs" / "examples" / "vectors" / "replay.py"
    return subprocess.run(
        [sys.executable, script, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_the_documented_replayer_finds_our_adapter_right() -> None:
    done = documented(str(VECTORS), "--", sys.executable, "-m", "leasehold", "serve", "sqlite")
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = [line.split()[0] for line in done.stdout.splitlines()]
    assert verdicts.count("kept") == len(FILES) - 1
    assert [line for line in done.stdout.splitlines() if "skipped" in line] == ["skipped noop-manifest: manifest noop"]


LIAR = """
import sys
from leasehold.wire.server import Server
from tests.liars.liars import LIARS, Liar
factory = next(one for one in LIARS if one.name == "grants-too-early").factory()
Server("liar", lambda label, session_id, clock: factory(clock)).serve(sys.stdin, sys.stdout)
"""


def test_twin_the_documented_replayer_finds_a_liar_wrong() -> None:
    path = VECTORS / "lease-expiry.json"
    done = documented(str(path), "--", sys.executable, "-c", LIAR)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.startswith("BROKEN  lease-expiry: step 2, try_claim_session_execution_lease, LEASE-3: expected")
