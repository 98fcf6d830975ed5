"""The pytest plugin, in runs of pytest of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from leasehold.deviations import NEVER, TODO
from leasehold_model.requirements import REQUIREMENTS
from tests.impl.wrong import HERE

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "pytest.md").read_text("utf-8")
ITEMS = len(REQUIREMENTS) + 1
"""One for each requirement, and the one for the whole."""
SHORT = ("--leasehold-budget", "0.3s")
"""Enough for every requirement of leases and metadata."""


class Session:
    """Runs of pytest in a directory of their own, and what came of them."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path

    def __call__(self, *words: str) -> pytest.RunResult:
        return self.pytester.runpytest_subprocess("-W", "error", "-rA", "--leasehold-seed", "1", *words)

    def check(self, store: str, *words: str) -> pytest.RunResult:
        target = store if store == "memory" else HERE + store
        return self("--leasehold-target", target, "--leasehold-budget", "2s", *words)


@pytest.fixture
def session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return Session(pytester)


def ended(result: pytest.RunResult) -> dict[str, str]:
    """Item -> how it ended, from the summary of -rA."""
    lines = re.findall(r"^(PASSED|FAILED|ERROR|XFAIL) (\S+)", result.stdout.str(), re.MULTILINE)
    return {name.removeprefix("leasehold::"): outcome for outcome, name in lines}


# -- who does not use it pays nothing ----------------------------------------------------------------------------------------------


def test_a_run_without_it_imports_next_to_nothing(session: Session) -> None:
    session.pytester.makepyfile(
        """
        import sys

        def test_what_is_imported():
            ours = {one for one in sys.modules if one.startswith("leasehold")}
            assert ours == {"leasehold", "leasehold.pytest_plugin"}
            assert not {"attr", "rich", "jinja2", "click"} & set(sys.modules)
        """
    )
    session.pytester.makeini("[pytest]\naddopts = --strict-markers --strict-config")
    session("--deselect", "nothing", "-p", "no:xdist").assert_outcomes(passed=1)


# -- a target on the command line --------------------------------------------------------------------------------------------------


def test_a_right_store_passes_item_by_item(session: Session) -> None:
    result = session.check("memory", "--junitxml", "report.xml")
    outcomes = result.parseoutcomes()
    assert result.ret == 0
    assert outcomes["passed"] + outcomes["skipped"] == ITEMS
    assert outcomes["passed"] > outcomes["skipped"]
    assert "LEASE-3" in ended(result)
    result.stdout.fnmatch_lines(["leasehold: memory, 2 s, seed 1", "SKIPPED*the manifest is persistent"])
    cases = ElementTree.parse(session.path / "report.xml").getroot().findall(".//testcase")
    assert ("leasehold", "LEASE-3") in {(case.get("classname"), case.get("name")) for case in cases}
    assert len(cases) == ITEMS


def test_a_broken_rule_fails_by_its_number_with_its_run_and_case(session: Session) -> None:
    result = session.check("TwoOwners")
    assert result.ret == 1
    assert {name for name, how in ended(result).items() if how == "FAILED"} == {"LEASE-3", "LAW-2"}
    text = result.stdout.str()
    assert "LEASE-3 is broken: A live lane is not granted to another owner: None." in text
    assert ">>2   try_claim(alpha, bob, ttl 60000)" in text
    assert "LAW-2 was never exercised" in text
    (case,) = (session.path / "leasehold-cases").glob("LEASE-3-*.json")
    replay = re.search(r"Run it again: leasehold (replay .*)", text)
    assert replay is not None
    command = [sys.executable, "-m", "leasehold", *replay[1].split()]
    done = subprocess.run(command, cwd=session.path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert case.name in done.stdout


def test_what_was_never_exercised_does_not_pass(session: Session) -> None:
    result = session.check("memory", "--leasehold-budget", "0.001s")
    assert result.ret == 1
    assert ended(result)["LEASE-4"] == ended(result)["coverage"] == "FAILED"
    result.stdout.fnmatch_lines(["LEASE-4 was never exercised: *", "*a longer budget may."])


@pytest.mark.parametrize(
    ("target", "says"),
    [(HERE + "raises", "the factory raised ConnectionError: no database at port 1"), ("memroy", "Did you mean 'memory'?")],
)
def test_a_broken_target_errs_with_its_message_once(target: str, says: str, session: Session) -> None:
    result = session("--leasehold-target", target, "-rN")
    result.assert_outcomes(errors=ITEMS)
    assert result.stdout.str().count(says) == 1


def test_items_are_chosen_as_tests_are(session: Session) -> None:
    session.pytester.makepyfile("def test_other():\n    pass")
    listed = session.check("memory", "--collect-only")
    listed.stdout.fnmatch_lines(["collected *", "*<Function test_other>", "<LeaseholdTarget memory>", "  <RequirementItem LAW-1>"])
    chosen = set(ended(session.check("memory", *SHORT, "-k", "LEASE-3 or other")))
    assert chosen == {"LEASE-3", "test_items_are_chosen_as_tests_are.py::test_other"}
    assert set(ended(session.check("memory", *SHORT, "leasehold::LEASE-3", "leasehold::META-1"))) == {"LEASE-3", "META-1"}
    assert len(session.check("memory", "--collect-only", "-q", "-m", "leasehold").outlines) >= ITEMS
    only = session.check("memory", "--collect-only", "-q", "leasehold").stdout.str()
    assert "leasehold::LEASE-3" in only
    assert "test_other" not in only
    wrong = session.check("memory", "leasehold::LEESE-3")
    assert wrong.ret == pytest.ExitCode.USAGE_ERROR
    wrong.stderr.fnmatch_lines(["*leasehold::LEESE-3 is no requirement*"])


@pytest.mark.heavy
def test_last_failed_and_workers(session: Session) -> None:
    session.check("TwoOwners", "-k", "LEASE-3 or META-1")
    assert set(ended(session.check("TwoOwners", "--lf"))) == {"LEASE-3"}
    spread = session.check("memory", "-n", "2", "leasehold::LEASE-3", "leasehold::META-1")
    spread.assert_outcomes(passed=2)
    together = session.check("memory", "-n", "2", "--dist", "loadfile", "-v", "leasehold").stdout.str()
    assert len(set(re.findall(r"^\[(gw\d)\]", together, re.MULTILINE))) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--leasehold-budget", "soon"], "*'soon' is no time above 0*"),
        (["--deviations", "x.toml"], "*--deviations is about a target*"),
        (["--fix-deviations", "-n", "2"], "*leave -n away*"),
    ],
)
def test_wrong_usage(words: list[str], says: str, session: Session) -> None:
    result = session(*words)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([says])


# -- known deviations --------------------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_a_register_is_made_explained_and_held(session: Session) -> None:
    path = session.path / "known.toml"
    words = ("--deviations", "known.toml")
    refused = session.check("TwoOwners", *words, "--fix-deviations", "-k", "LEASE-3")
    refused.stdout.fnmatch_lines([f"known.toml: not rewritten: {ITEMS} of {ITEMS + 1} items were not run.*"])
    assert not path.exists()
    session.check("TwoOwners", *words, "--fix-deviations").stdout.fnmatch_lines(["known.toml: rewritten, with 2 known deviations"])
    text = path.read_text()
    assert text.count(TODO) == 2
    assert NEVER in text
    unexplained = session.check("TwoOwners", *words)
    assert ended(unexplained)["LEASE-3"] == "FAILED"
    unexplained.stdout.fnmatch_lines(["known.toml: LEASE-3 has no reason yet*"])
    path.write_text(text.replace(TODO, "until spring"))
    known = session.check("TwoOwners", *words)
    assert known.ret == 0
    assert ended(known)["LEASE-3"] == ended(known)["LAW-2"] == "XFAIL"
    known.stdout.fnmatch_lines(["XFAIL leasehold::LEASE-3 - until spring*"])
    assert ended(session.check("TwoOwners", *words, "--runxfail", "leasehold::LEASE-3")) == {"LEASE-3": "FAILED"}
    path.write_text(path.read_text().replace("LAW-2", "LEESE-2"))
    mended = session.check("memory", *words)
    assert ended(mended)["LEASE-3"] == ended(mended)["deviations"] == "FAILED"
    mended.stdout.fnmatch_lines(["known.toml: LEASE-3 no longer occurs*", "known.toml: LEESE-2 is no requirement*"])


# -- a store in one's own test file ------------------------------------------------------------------------------------------------


def test_a_marked_test_is_checked_once(session: Session) -> None:
    session.pytester.makepyfile(
        test_mine="""
        import pytest
        from tests.impl.wrong import TwoOwners
        from leasehold.stores.memory import MemoryStore

        @pytest.fixture
        def stores():
            return {"right": MemoryStore, "wrong": TwoOwners}

        @pytest.mark.leasehold(budget=2)
        @pytest.mark.parametrize("which", ["right", "wrong"])
        def test_my_store(stores, which):
            with open("asked.txt", "a") as file:
                file.write(which + "\\n")
            return stores[which]

        def test_other():
            pass
        """
    )
    result = session("-p", "no:randomly")
    assert result.ret == 1
    assert (session.path / "asked.txt").read_text().split() == ["right", "wrong"]
    failed = {name for name, how in ended(result).items() if how == "FAILED"}
    assert failed == {"test_mine.py::test_my_store[LEASE-3-wrong]", "test_mine.py::test_my_store[LAW-2-wrong]"}
    assert "test_mine.py::test_other" in ended(result)
    result.stdout.fnmatch_lines(["Run it again: leasehold.testing.replay_case(*LEASE-3*, factory)"])
    assert list((session.path / "leasehold-cases").glob("LEASE-3-*.json"))


@pytest.mark.parametrize(
    ("marker", "body", "says"),
    [
        ("budget=2", "pass", "*it returned None, and has to return a factory of stores*"),
        ("budget=2", "return lambda clock: None", "*the factory returned None*"),
        ("bugdet=2", "return 'memory'", "*takes no bugdet*"),
    ],
)
def test_a_marked_test_that_is_wrong(marker: str, body: str, says: str, session: Session) -> None:
    session.pytester.makepyfile(f"import pytest\n\n@pytest.mark.leasehold({marker})\ndef test_it():\n    {body}\n")
    result = session()
    assert result.ret != 0
    assert "passed" not in result.parseoutcomes()
    result.stdout.fnmatch_lines([says])


def test_a_marked_test_may_have_a_register(session: Session) -> None:
    session.pytester.makepyfile(
        """
        import pytest

        @pytest.mark.leasehold(budget=2, deviations="known.toml")
        def test_it():
            return "python:tests.impl.wrong:TwoOwners"
        """
    )
    first = session("--fix-deviations")
    first.stdout.fnmatch_lines(["*known.toml: rewritten, with 2 known deviations"])
    path = session.path / "known.toml"
    path.write_text(path.read_text().replace(TODO, "until spring"))
    again = session()
    assert again.ret == 0
    assert again.parseoutcomes()["xfailed"] == 2


# -- the guide ---------------------------------------------------------------------------------------------------------------------


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


def test_the_guide_does_what_it_says(session: Session) -> None:
    store = (ROOT / "docs" / "examples" / "mystore.py").read_text("utf-8")
    right = "self._fencing[session_id] = self._fencing.get(session_id, 0) + 1"
    assert store.count(right) == 1
    (session.path / "mystore.py").write_text(store)
    (test,) = blocks("python")
    (register,) = blocks("toml")
    command = next(line for line in GUIDE.splitlines() if line.startswith("pytest --leasehold-target "))
    (session.path / "test_guide.py").write_text(test)
    (session.path / "known.toml").write_text(register)
    words = command.split()
    first = session(*words[1:])
    assert first.ret == 0
    assert ended(first)["LEASE-3"] == "PASSED"
    second = session("test_guide.py")
    assert second.ret == 0
    assert ended(second)["test_guide.py::test_my_store[LEASE-3]"] == "PASSED"
    (session.path / "mystore.py").write_text(store.replace(right, "1 if lease is None else lease.fencing_token + 1"))
    known = session(*words[1:], "--deviations", "known.toml")
    assert ended(known)["LAW-3"] == "XFAIL", known.stdout.str()
