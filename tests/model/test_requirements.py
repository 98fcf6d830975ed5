"""The list of requirements against the contract's, the model's source, and the markers of the tests.

A check takes what it looks at as arguments and answers with complaints; so a twin hands it an invented source.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from leasehold_model.laws import LAWS
from leasehold_model.policy import POINTS
from leasehold_model.requirements import REQUIREMENTS, STATEMENTS

ROOT = Path(__file__).parents[2]

CONTRACT = [
    f"{group}-{number}"
    for group, last in (
        ("LAW", 15),
        ("LEASE", 8),
        ("COMMIT", 10),
        ("GRAPH", 9),
        ("QUEUE", 14),
        ("ATTACH", 5),
        ("META", 1),
        ("TIER", 1),
    )
    for number in range(1, last + 1)
]
"""The contract's identifiers, counted by hand. Its policy points stand in test_policy.py."""

ELSEWHERE = {
    "LAW-10": "speaks of closing, opening and killing a store; the model has no process to end. The oracle's reopen runs decide.",
    "LAW-12": "speaks of calls that overlap; the model takes one step at a time. The oracle's concurrent runs decide.",
    "TIER-1": "what a store declares about itself is no state; the oracle reads it.",
}
"""Requirements that no line of the model decides, with the reason."""

COMPUTED = {
    "liars/test_interrupted.py: *one.rules": "each is marked with the rules it breaks, and is caught by one of these rules",
    "liars/test_liars.py: *liar.rules": "each liar is marked with the rules it breaks, and is caught by one of these rules",
}
"""Markers that are no literals, with the reason."""

CITED = re.compile(r"\b(?:LAW|LEASE|COMMIT|GRAPH|QUEUE|ATTACH|META|TIER)-\d+\b|\bP-[A-Z]+(?:-[A-Z]+)*\b")
KNOWN = frozenset(STATEMENTS) | {point.id for point in POINTS}


def sources(root: Path) -> dict[str, str]:
    """Path below the root -> text of every Python file; none is an error, so that no check passes by finding nothing."""
    found = {str(path.relative_to(root)): path.read_text("utf-8") for path in root.rglob("*.py")}
    assert found, f"no Python files under {root.name}/"
    return found


def unknown_citations(texts: Mapping[str, str]) -> list[str]:
    """Identifiers in the source that stand in no list."""
    return [f"{path}: {cited}" for path, text in texts.items() for cited in CITED.findall(text) if cited not in KNOWN]


def undecided(texts: Mapping[str, str], elsewhere: Mapping[str, str]) -> list[str]:
    """Requirements that no deciding file cites, no law predicate states, and the table of those decided elsewhere does not have;
    and the other way round, entries of that table that are decided here after all."""
    lists = ("requirements.py", "policy.py", "laws.py")
    cited = {one for path, text in texts.items() if Path(path).name not in lists for one in CITED.findall(text)}
    decided = cited | set(LAWS)
    missing = [f"{one} is decided nowhere" for one in STATEMENTS if one not in decided and one not in elsewhere]
    return missing + [f"{one} is decided here, not elsewhere" for one in elsewhere if one in decided or one not in STATEMENTS]


def unread_points(texts: Mapping[str, str]) -> list[str]:
    """Policy points that no file but the list reads."""
    deciding = "".join(text for path, text in texts.items() if Path(path).name != "policy.py")
    return [point.id for point in POINTS if not re.search(rf"\bpolicies\.{point.field}\b", deciding)]


def marked(text: str) -> Iterator[str]:
    """The arguments of every ``pytest.mark.requirement(...)``; one that is no literal counts as unknown."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "requirement":
            for argument in node.args:
                yield str(argument.value) if isinstance(argument, ast.Constant) else ast.unparse(argument)


def unknown_markers(texts: Mapping[str, str]) -> list[str]:
    """Markers with identifiers that stand in no list."""
    found = [(f"{path}: {one}", one) for path, text in texts.items() for one in marked(text)]
    return [where for where, one in found if one not in KNOWN and where not in COMPUTED]


def unmarked(texts: Mapping[str, str]) -> list[str]:
    """Requirements and policy points that no test is marked with."""
    found = {one for text in texts.values() for one in marked(text)}
    return [one for one in (*STATEMENTS, *(point.id for point in POINTS)) if one not in found]


@pytest.fixture(scope="module")
def model() -> dict[str, str]:
    return sources(ROOT / "model" / "leasehold_model")


@pytest.fixture(scope="module")
def tests() -> dict[str, str]:
    return sources(ROOT / "tests")


def test_the_registry_is_the_contracts_list() -> None:
    assert [requirement.id for requirement in REQUIREMENTS] == CONTRACT
    assert list(STATEMENTS) == CONTRACT and len(set(CONTRACT)) == 63
    for requirement in REQUIREMENTS:
        assert requirement.level == ("law" if requirement.id.startswith("LAW-") else "requirement")
        assert requirement.statement.endswith(".")


def test_no_unknown_identifier_is_cited(model: dict[str, str]) -> None:
    assert unknown_citations(model) == []


def test_twin_unknown_identifiers_are_noticed() -> None:
    text = '"""LEASE-9."""\nx = "P-NOT-THERE"  # COMMIT-1, QUEUE-15\n'
    assert unknown_citations({"a.py": text}) == ["a.py: LEASE-9", "a.py: P-NOT-THERE", "a.py: QUEUE-15"]


def test_every_requirement_is_decided_somewhere(model: dict[str, str]) -> None:
    assert undecided(model, ELSEWHERE) == []


def test_twin_undecided_requirements_are_noticed(model: dict[str, str]) -> None:
    assert undecided(model, {}) == [f"{one} is decided nowhere" for one in ELSEWHERE]
    silent = {path: text.replace("LEASE-3", "LEASE-1") for path, text in model.items() if path != "lease.py"}
    assert "LEASE-3 is decided nowhere" in undecided(silent, ELSEWHERE)
    assert undecided(model, {**ELSEWHERE, "LEASE-3": "?"}) == ["LEASE-3 is decided here, not elsewhere"]
    only_listed = {path: text for path, text in model.items() if path in {"requirements.py", "policy.py"}}
    assert len(undecided(only_listed, {})) == len(CONTRACT) - len(LAWS)


def test_every_policy_point_is_read(model: dict[str, str]) -> None:
    assert unread_points(model) == []


def test_twin_points_that_nothing_reads_are_noticed(model: dict[str, str]) -> None:
    assert unread_points({path: text for path, text in model.items() if path != "lease.py"}) == ["P-REENTRY"]


def test_no_marker_is_unknown(tests: dict[str, str]) -> None:
    assert unknown_markers(tests) == []


def test_every_requirement_has_a_test(tests: dict[str, str]) -> None:
    assert unmarked(tests) == []


def test_twin_markers_are_read() -> None:
    text = """
import pytest
pytestmark = pytest.mark.requirement('LEASE-1')
@pytest.mark.requirement('LEASE-2', 'LEASE-99')
class TestMore:
    @pytest.mark.requirement(*more)
    def test(self): ...
"""
    assert unknown_markers({"t.py": text}) == ["t.py: LEASE-99", "t.py: *more"]
    left = unmarked({"t.py": text})
    assert "LEASE-1" not in left and "LEASE-2" not in left and "LEASE-3" in left and "P-JOIN-GAP" in left
    assert len(left) == len(CONTRACT) + len(POINTS) - 2
