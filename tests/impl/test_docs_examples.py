"""docs/check-your-store.md was written by doing it; this does it again."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "check-your-store.md").read_text("utf-8")
RIGHT = "fencing = self._fencing[session_id] = self._fencing.get(session_id, 0) + 1"
WRONG = "fencing = 1 if lease is None else lease.fencing_token + 1"
TARGET = "python:mystore:open_store"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The examples, where a stranger would have them."""
    place = tmp_path / "mine"
    shutil.copytree(DOCS / "examples", place, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    return place


def run(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"COLUMNS": "80", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-m", *words], cwd=place, env=environment, capture_output=True, text=True, check=False)


def leasehold(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run(place, "leasehold", *words)


def spoil(place: Path) -> None:
    """Make the store what the guide says it first was."""
    text = (place / "mystore.py").read_text("utf-8")
    assert text.count(RIGHT) == 1
    (place / "mystore.py").write_text(text.replace(RIGHT, WRONG), "utf-8")


def test_the_store_conforms(place: Path) -> None:
    done = leasehold(place, "check", TARGET, "--budget", "2s", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"CONFORMS   {TARGET} kept every rule that was checked" in done.stdout
    assert f"CONFORMS   {TARGET} kept every rule that was checked" in GUIDE
    assert "P-ZERO-BEFORE-LEASE: lease-first; recommended none-first" in done.stdout
    assert "the store does not offer commit_runtime_state" in re.sub(r"\s+", " ", done.stdout)


def test_its_first_version_breaks_what_the_guide_shows(place: Path) -> None:
    assert WRONG in GUIDE
    spoil(place)
    done = leasehold(place, "check", TARGET, "--budget", "20s", "--seed", "1")
    assert done.returncode == 1, done.stdout + done.stderr
    shown = [line.rstrip() for line in done.stdout.splitlines()]
    table = GUIDE.partition("   #   operation")[2].partition("```")[0].splitlines()
    for line in (f" VIOLATES   {TARGET} breaks LAW-3", *table[1:]):
        assert line in shown, f"the guide shows {line!r}; the report was\n{done.stdout}"
        assert line in GUIDE
    (case,) = (place / "leasehold-cases").glob("*.json")
    assert leasehold(place, "replay", str(case), TARGET).returncode == 1
    assert leasehold(place, "replay", str(case), "memory").returncode == 0


def test_a_broken_factory_is_a_broken_set_up(place: Path) -> None:
    (place / "mystore.py").write_text("def open_store(clock):\n    return None\n")
    assert leasehold(place, "check", TARGET).returncode == 3


def test_the_examples_tests_pass_and_fail_with_the_store(place: Path) -> None:
    words = ("pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "test_mystore.py")
    done = run(place, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    spoil(place)
    done = run(place, *words)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "3 failed" in done.stdout
    assert done.stdout.count("LAW-3 is broken: ") >= 2, "both the check and the Hypothesis test name the rule"
    assert "run=b'" in done.stdout, "Hypothesis's failing example"


def test_the_machine_of_the_guide_runs(place: Path) -> None:
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if "class Machine" in block)
    fewer = "from hypothesis import settings\nTestMyStore.settings = settings(TestMyStore.settings, max_examples=5)\n"
    (place / "test_machine.py").write_text(f"from mystore import open_store\n{block}\n{fewer}")
    done = run(place, "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "test_machine.py")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_the_guide_names_is_there() -> None:
    names = re.findall(r"\]\(([^)]+)\)", GUIDE)
    assert names
    assert [name for name in names if not (DOCS / name).exists()] == []
