"""The command line: exit codes, messages, the JSON, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import leasehold
from leasehold.cli import main
from leasehold_model.policy import POINTS
from leasehold_model.requirements import STATEMENTS
from tests.impl.wrong import HERE

ROOT = Path(__file__).parents[2]
LEASEHOLD = [sys.executable, "-c", "from leasehold.cli import main; main()"]


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    return tmp_path / "cases"


def run(*words: object) -> Result:
    """A command in this process."""
    return CliRunner().invoke(main, [str(word) for word in words])


def check(target: str, cases: Path, *words: object) -> Result:
    return run("check", target, "--cases", cases, *words)


# -- wrong usage: 64 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["check"], "Missing argument 'TARGET'"),
        (["check", "memroy"], "Did you mean 'memory'?"),
        (["check", "sqlite:"], "unknown target"),
        (["check", "postgres:"], "unknown target"),
        (["check", "postgres:nonsense"], "It is written as postgresql://user@host/database"),
        (["check", "cmd:"], "names no command"),
        (["check", "sqlite:/no/such/directory/store.db"], "there is no directory /no/such/directory"),
        (["check", f"sqlite:{__file__}"], "never touches a file of yours"),
        (["check", "python:leasehold"], "python:pkg.module:factory"),
        (["check", "python:no_such_module:factory"], "there is no module 'no_such_module'"),
        (["check", "python:leasehold.nowhere:factory"], "there is no module 'leasehold.nowhere'"),
        (["check", f"{HERE}NoSuchStore"], "has no 'NoSuchStore'"),
        (["check", f"{HERE}TwoOwner"], "Did you mean 'TwoOwners'?"),
        (["check", f"{HERE}NOT_A_FACTORY"], "cannot be called"),
        (["check", "memory", "--budget", "0s"], "no time above 0"),
        (["check", "memory", "--budget", "soon"], "Write 20s, 5m, or a number of seconds"),
        (["check", "memory", "--max-findings", "0"], "--max-findings"),
        (["check", "memory", "--require", "everything"], "--require"),
        (["check", "memory", "--json", "/no/such/directory/report.json"], "there is no directory"),
        (["check", "memory", "--junit", "/no/such/directory/report.xml"], "there is no directory"),
        (["check", "memory", "--html", "/no/such/directory/report.html"], "there is no directory"),
        (["check", "memory", "--markdown", "/"], "is a directory"),
        (["check", "memory", "--junit", "-", "--html", "-"], "--junit and --html cannot both write to standard output"),
        (["check", "memory", "--deviations", "x.toml"], "let --fix-deviations make one"),
        (["probe", "memroy"], "Did you mean 'memory'?"),
        (["replay", "memory"], "Missing argument"),
        (["replay", "/no/such/case.json", "memory"], "No such file"),
        (["spec", "--format", "pdf"], "--format"),
        (["chekc"], "No such command"),
    ],
)
def test_wrong_usage(words: list[str], says: str) -> None:
    result = run(*words)
    assert result.exit_code == 64
    assert says in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.output


def test_a_users_file_is_not_touched(tmp_path: Path) -> None:
    mine = tmp_path / "mine.db"
    mine.write_text("precious")
    assert run("check", f"sqlite:{mine}").exit_code == 64
    assert mine.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [mine]


@pytest.mark.parametrize("command", [[], ["check"], ["probe"], ["replay"], ["matrix"], ["spec"]])
def test_help_has_an_example(command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Example" in result.stdout
    assert "leasehold " + " ".join(command) in result.stdout


def test_version() -> None:
    assert run("--version").stdout == f"leasehold {leasehold.__version__}\n"


# -- a broken set-up: 3 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("raises", "the factory raised ConnectionError: no database at port 1"),
        ("nothing", "the factory returned None"),
        ("hangs", "the factory did not return within 0.3 s"),
        ("HangsAtOnce", "enqueue_queued_work did not answer within 0.3 s"),
        ("Nonsense", "enqueue_queued_work answered 42; a Batch"),
        ("NonsenseLater", "vacuum answered lots where a VacuumReport"),
        ("CannotClose", "close() raised RuntimeError: still in use"),
    ],
)
def test_a_broken_set_up(name: str, says: str, cases: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    result = check(HERE + name, cases, "--budget", "6s", "--deadline", "0.3s", "--json", report)
    assert result.exit_code == 3
    assert result.stdout.lstrip().startswith("BROKEN")
    assert says in " ".join(result.stdout.replace("│", " ").split())
    assert "mend this first" in result.stdout
    assert "Traceback" not in result.output
    value = json.loads(report.read_text())
    assert_shape(value)
    assert value["verdict"] == "broken"
    assert says in value["not_checked"][0]["why"]
    assert not cases.exists()


def test_a_module_that_fails_on_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_more.py").write_text("import no_such_library\n")
    (tmp_path / "no_python.py").write_text("def (\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    missing, wrong = run("check", "python:needs_more:factory"), run("check", "python:no_python:factory")
    assert (missing.exit_code, wrong.exit_code) == (3, 3)
    assert "needs the module 'no_such_library'" in missing.stdout
    assert "SyntaxError" in wrong.stdout


def test_targets_are_imported_from_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_very_own_store.py").write_text("from leasehold.stores.memory import MemoryStore as factory\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one])
    assert run("probe", "python:my_very_own_store:factory").exit_code == 0


# -- violations: 1 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "rule", "commands"),
    [
        ("TwoOwners", "LEASE-3", 2),
        ("RefusesAndExtends", "LAW-1", 4),
        ("Hangs", "LAW-13", 1),
        ("HangsInTheRace", "LAW-13", 2),
        ("Throws", "LAW-15", 1),
        ("LiesAboutItsTier", "TIER-1", 0),
    ],
)
def test_a_liar_is_caught_and_its_case_replays(name: str, rule: str, commands: int, cases: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    words = ("--budget", "20s", "--deadline", "0.3s")
    result = check(HERE + name, cases, *words, "--seed", 1, "--max-findings", 1, "--json", report)
    assert result.exit_code == 1
    assert result.stdout.lstrip().startswith("VIOLATES")
    value = json.loads(report.read_text())
    assert_shape(value)
    (violation,) = value["violations"]
    assert (violation["requirement"], violation["commands"]) == (rule, commands)
    path = Path(violation["case"])
    assert list(cases.iterdir()) == [path]
    again = run("replay", path, HERE + name, "--deadline", "0.3s")
    assert again.exit_code == 1
    assert f"breaks {rule}, as in the case" in " ".join(again.stdout.split())
    right = run("replay", path, "memory", "--json", report)
    assert right.exit_code == 0
    assert "CONFORMS" in right.stdout
    (told,) = json.loads(report.read_text())["cases"]
    assert (told["verdict"], told["changed"]) == ("conforms", True)
    assert told["change"].startswith(f"Was {rule}, broken by {HERE + name}; conforms here")
    assert told["change"] in " ".join(right.stdout.split())


def test_an_answer_with_odd_members_is_no_fault_of_ours(cases: Path) -> None:
    result = check(HERE + "OddMembers", cases, "--budget", "6s", "--max-findings", 1)
    assert result.exit_code in (1, 3)
    assert "leasehold itself failed" not in result.output


def test_the_recommended_options_may_be_required(cases: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    result = check(HERE + "Resets", cases, "--budget", "0.2s", "--require", "recommended", "--json", report)
    assert result.exit_code == 1
    assert "* P-REENTRY: reset; recommended extend-only" in result.stdout
    value = json.loads(report.read_text())
    assert_shape(value)
    assert [one["requirement"] for one in value["violations"]] == ["P-REENTRY"]
    assert value["policies"]["P-REENTRY"] == {"option": "reset", "recommended": False}
    assert check(HERE + "Resets", cases, "--budget", "0.001s").exit_code == 2


def test_cases_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = check(HERE + "TwoOwners", tmp_path / "file" / "cases", "--budget", "20s", "--seed", 1, "--max-findings", 1)
    assert result.exit_code == 1
    assert "could not be written" in result.stderr


# -- the rest ------------------------------------------------------------------------------------------------------------------


def test_memory_conforms(cases: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    result = check("memory", cases, "--budget", "6s", "--seed", 7, "--json", report)
    value = json.loads(report.read_text())
    assert_shape(value)
    assert (result.exit_code, value["verdict"], value["violations"]) == (0, "conforms", []), result.stdout
    assert value["seed"] == 7
    assert set(value["policies"]) == {point.id for point in POINTS}
    assert all(count["exercised"] > 0 for count in value["requirements"].values())
    assert "leasehold check --seed 7 --budget 6s" in result.stdout
    assert not cases.exists()


def test_too_short_a_look_is_inconclusive(cases: Path) -> None:
    result = check("memory", cases, "--budget", "0.001s")
    assert result.exit_code == 2
    assert result.stdout.lstrip().startswith("INCONCLUSIVE")
    assert "--budget 5m" in result.stdout


def test_json_on_standard_output_stands_alone(cases: Path) -> None:
    result = check(HERE + "Prints", cases, "--budget", "0.5s", "--json", "-")
    assert_shape(json.loads(result.stdout))
    assert "vacuuming" in result.stderr


@pytest.mark.parametrize("place", ["", "beside", "inside"])
def test_sqlite_files_are_temporary(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    target = {"": "sqlite", "beside": f"sqlite:{tmp_path}/new.db", "inside": f"sqlite:{tmp_path}"}[place]
    assert run("probe", target).exit_code == 0
    assert list(tmp_path.iterdir()) == []


def test_probe_as_json() -> None:
    value = json.loads(run("probe", "memory", "--json", "-").stdout)
    assert value["policies"] == {point.id: {"option": point.options[0], "recommended": True} for point in POINTS}
    assert run("probe", HERE + "TwoOwners", "--json", "-").exit_code == 0
    assert run("probe", HERE + "Throws").exit_code == 0


def test_spec() -> None:
    value = json.loads(run("spec", "--format", "json").stdout)
    assert {one["id"] for one in value["requirements"]} == set(STATEMENTS)
    assert {one["id"] for one in value["policies"]} == {point.id for point in POINTS}
    by_id = {one["id"]: one for one in (*value["requirements"], *value["policies"])}
    assert any(place.startswith("lease.py:") for place in by_id["LEASE-3"]["decided"])
    assert any(place.startswith("lease.py:") for place in by_id["P-REENTRY"]["decided"])
    assert any("test_model" in test or "tests/model" in test for test in by_id["LEASE-3"]["tests"])
    page = run("spec", "--format", "markdown").stdout
    assert all(f"| {name} |" in page for name in by_id)
    page = run("spec", "--format", "html").stdout
    assert all(f'id="{name}"' in page for name in by_id)
    assert "src=" not in page
    text = run("spec").stdout
    assert all(name in text for name in by_id)


def test_spec_of_some() -> None:
    shown = run("spec", "graph-8", "P-NODE-DUPLICATE")
    assert STATEMENTS["GRAPH-8"] in shown.stdout
    assert "refines GRAPH-8" in shown.stdout
    assert STATEMENTS["GRAPH-7"] not in shown.stdout
    assert run("spec", "GRAHP-8").exit_code == run("spec", "GRAPH-8", "--format", "json").exit_code == 64


# -- in a process of its own -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_check_reports_what_it_has(sent: signal.Signals, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    words = ["check", HERE + "announced", "--budget", "60s", "--json", "report.json"]
    environment = {**os.environ, "ANNOUNCE": str(opened), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*LEASEHOLD, *words], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        _wait_for(opened)
        process.send_signal(sent)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert b"interrupted" in out
    assert err == b""
    value = json.loads((tmp_path / "report.json").read_text())
    assert_shape(value)
    assert value["verdict"] == "inconclusive"
    assert any(one["what"] == "the rest of the run" and one["why"].startswith("interrupted after") for one in value["not_checked"])


def _wait_for(path: Path) -> None:
    ends = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_an_interrupted_check_leaves_no_files(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [*LEASEHOLD, "check", "sqlite"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        ends = time.monotonic() + 30
        while not list(tmp_path.glob("leasehold-*/store-*.db")):
            assert time.monotonic() < ends
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away_does_not_change_the_verdict() -> None:
    command = [*LEASEHOLD, "spec"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_the_installed_command() -> None:
    done = subprocess.run([*LEASEHOLD, "check", "nowhere"], capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert "A target is one of" in done.stderr


# -- the shape of the JSON, as the command line's page has it --------------------------------------------------------------------

Shape = Any
SHAPE: dict[str, Shape] = {
    "format": int,
    "leasehold": str,
    "target": dict,
    "verdict": {"conforms", "violates", "inconclusive", "broken"},
    "seed": int,
    "seconds": float,
    "operations": int,
    "runs": int,
    "histories": int,
    "undecided": int,
    "kills": int,
    "power_losses": int,
    "violations": [
        {"requirement": str, "also": [str], "case": (str, type(None)), "commands": int, "concurrent": bool, "message": str}
    ],
    "policies": (str, {"option": (str, type(None)), "recommended": bool}),
    "requirements": (str, {"exercised": int, "asserted": int}),
    "not_checked": [{"what": str, "why": str}],
}
"""A type, a set of words, [shape of each], (types) or (str, shape of each member), or {name: shape}, and no other names."""


def assert_shape(value: Any) -> None:
    assert list(mismatches(value, SHAPE)) == []
    assert value["format"] == 1
    assert value["leasehold"] == leasehold.__version__
    assert value["target"]["name"]


def mismatches(value: Any, shape: Shape, path: str = "report") -> list[str]:
    """Where the value is not of the shape."""
    match shape:
        case set():
            return [] if value in shape else [f"{path}: {value!r}"]
        case [each]:
            if not isinstance(value, list):
                return [f"{path}: {value!r}"]
            return [one for index, member in enumerate(value) for one in mismatches(member, each, f"{path}[{index}]")]
        case _ if isinstance(shape, tuple) and isinstance(shape[1], Mapping):
            return [one for name, member in value.items() for one in mismatches(member, shape[1], f"{path}.{name}")]
        case Mapping():
            if not isinstance(value, dict) or set(value) != set(shape):
                return [f"{path}: {sorted(value)}"]
            return [one for name, each in shape.items() for one in mismatches(value[name], each, f"{path}.{name}")]
        case _:
            return [] if isinstance(value, shape) and (shape is bool or not isinstance(value, bool)) else [f"{path}: {value!r}"]


def test_twin_a_wrong_shape_is_noticed() -> None:
    right: dict[str, Any] = {
        **dict.fromkeys(("format", "seed", "operations", "runs", "histories", "undecided", "kills", "power_losses"), 1),
        "leasehold": "x",
        "target": {},
        "verdict": "broken",
        "seconds": 1.0,
        "violations": [],
        "policies": {},
        "requirements": {},
        "not_checked": [],
    }
    assert mismatches(right, SHAPE) == []
    wrongs: list[dict[str, Any]] = [
        {"verdict": "fine"},
        {"seed": None},
        {"extra": 1},
        {"violations": [{}]},
        {"policies": {"P-X": {"option": 1, "recommended": True}}},
        {"requirements": {"LEASE-1": {"exercised": True, "asserted": 1}}},
        {"not_checked": ["LAW-12"]},
    ]
    for wrong in wrongs:
        assert mismatches({**right, **wrong}, SHAPE), wrong
    del right["runs"]
    assert mismatches(right, SHAPE)


def test_an_adapter_program_is_written_last_or_as_a_target() -> None:
    ended = run("check", "--budget", "3s", "--", "./adapter", "--x", "two words")
    assert ended.exit_code == 3
    assert "cmd:./adapter --x 'two words'" in ended.stdout
    assert "could not be started" in ended.stdout
