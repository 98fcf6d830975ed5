"""Every example adapter conforms; a twin with one wrong line in its store is caught; and they are what their page says."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from leasehold.oracle.check import Options, Report, check
from leasehold.store import OPERATIONS, Refusal
from leasehold.wire.client import WireDoor
from tests.adapters.languages import LANGUAGES, ROOT, Language, lines, replace

PAGE = ROOT / "docs" / "adapters.md"

every_language = pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
durable = pytest.mark.parametrize("language", [one for one in LANGUAGES if one.reopen], ids=lambda language: language.name)


Build = Callable[..., list[str]]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The command of an example, built once."""
    made: dict[tuple[str, bool], list[str]] = {}

    def command(language: Language, *, twin: bool = False) -> list[str]:
        key = (language.name, twin)
        if key not in made:
            made[key] = language.command(tmp_path_factory.mktemp(language.name), twin=twin)
        return made[key]

    return command


def checked(command: list[str], budget: float) -> Report:
    """The report of a check. What a slow machine leaves unexercised gets more time."""
    for factor in (1, 4):
        door = WireDoor(command, command[-1])
        try:
            report = check(door, Options(budget=budget * factor, seed=11, max_findings=1))
        finally:
            door.shut()
        if report.verdict != "inconclusive":
            break
    return report


@pytest.mark.slow
@every_language
def test_the_adapter_conforms(language: Language, build: Build) -> None:
    report = checked(build(language), language.budget)
    assert report.verdict == "conforms", [finding.requirement for finding in report.findings] or report.starved
    assert report.capabilities.ops == frozenset(OPERATIONS)
    assert report.capabilities.reopen == report.capabilities.kill == language.reopen
    assert report.exercised.get("LAW-10", 0) > 0 if language.reopen else "LAW-10" not in report.starved


@pytest.mark.slow
@every_language
def test_one_wrong_line_in_the_store_is_found(language: Language, build: Build) -> None:
    report = checked(build(language, twin=True), 20.0)
    assert report.verdict == "violates"
    assert [finding.requirement for finding in report.findings] == [language.breaks]


class Talk:
    """An adapter program, spoken with by hand."""

    def __init__(self, command: list[str], data: Path) -> None:
        env = {**os.environ, "LEASEHOLD_DATA": str(data)}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True)
        self.seq = 0

    def ask(self, cmd: str, **fields: Any) -> dict[str, Any]:
        """One exchange."""
        self.seq += 1
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"seq": self.seq, "cmd": cmd, **fields}) + "\n")
        self.process.stdin.flush()
        reply: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert reply.pop("seq") == self.seq
        return reply

    def claim(self, owner: str, ttl: int = 1000) -> dict[str, Any]:
        """Ask for the lane of alpha on handle h."""
        args = {"session_id": "alpha", "owner_id": owner, "lease_ttl_ms": ttl}
        return self.ask("call", handle="h", op="try_claim_session_execution_lease", args=args)


@contextmanager
def talking(command: list[str], data: Path) -> Iterator[Talk]:
    """The process is ended and its pipes are closed."""
    talk = Talk(command, data)
    try:
        yield talk
    finally:
        talk.process.kill()
        talk.process.communicate()


@durable
@pytest.mark.requirement("LAW-10")
def test_what_was_answered_outlives_a_kill(language: Language, build: Build, tmp_path: Path) -> None:
    command = build(language)
    with talking(command, tmp_path) as first:
        assert first.ask("create", store="s", session_id="alpha") == {"ok": {}}
        assert first.ask("open", store="s", handle="h") == {"ok": {}}
        assert first.claim("ann")["ok"]["fencing_token"] == 1
        first.process.send_signal(signal.SIGKILL)
        assert first.process.wait() == -signal.SIGKILL
    with talking(command, tmp_path) as second:
        assert second.ask("open", store="s", handle="h") == {"ok": {}}
        assert second.claim("bob") == {"ok": None}
        assert second.ask("clock", now_ms=1000) == {"ok": {}}
        assert second.claim("bob")["ok"]["fencing_token"] == 2


@pytest.mark.parametrize(("torn", "answer"), [("0123abcd {", "ok"), ("0123abcd {}\n0123abcd {}\n", "fault")])
def test_go_drops_a_torn_last_line_and_refuses_a_damaged_journal(torn: str, answer: str, build: Build, tmp_path: Path) -> None:
    command = build(LANGUAGES[0])
    with talking(command, tmp_path) as first:
        first.ask("create", store="s", session_id="alpha")
        first.ask("open", store="s", handle="h")
        first.claim("ann")
        first.ask("close", handle="h")
        with (tmp_path / "s.journal").open("a") as journal:
            journal.write(torn)
        reply = first.ask("open", store="s", handle="h")
        assert list(reply) == [answer]
        assert answer == "fault" or first.claim("bob") == {"ok": None}


@pytest.mark.requirement("LAW-12", "LAW-15")
def test_go_answers_unknown_when_the_disk_fails_and_refuses_from_then_on(build: Build, tmp_path: Path) -> None:
    (program,) = build(LANGUAGES[0])
    limited = ["bash", "-c", f"ulimit -f 1; exec {program}"]
    with talking(limited, tmp_path) as talk:
        talk.ask("create", store="s", session_id="alpha")
        talk.ask("open", store="s", handle="h")
        answers = [talk.claim("ann", ttl) for ttl in range(30)]
        kinds = [next(iter(answer)) for answer in answers]
        first = kinds.index("unknown")
        assert set(kinds[:first]) == {"ok"}
        assert {answer["err"]["code"] for answer in answers[first + 1 :]} == {"backend"}


@every_language
def test_what_is_no_operation_is_skipped_and_what_is_no_handle_is_a_fault(language: Language, build: Build, tmp_path: Path) -> None:
    with talking(build(language), tmp_path) as talk:
        assert talk.ask("hello", protocol={"min": 1, "max": 3})["ok"]["protocol"] == 1
        assert list(talk.ask("hello", protocol={"min": 2, "max": 3})) == ["fault"]
        talk.ask("create", store="s", session_id="alpha")
        talk.ask("open", store="s", handle="h")
        assert list(talk.ask("call", handle="h", op="nonsense", args={})) == ["skip"]
        assert list(talk.ask("call", handle="nonsense", op="vacuum", args={})) == ["fault"]
        assert talk.claim("ann", -1)["err"]["code"] == "invalid_request"
        assert talk.ask("bye") == {"ok": {}}
        assert talk.process.wait(20) == 0


@every_language
def test_an_adapter_has_at_most_150_lines(language: Language) -> None:
    assert 50 < lines(language.folder / language.adapter, language.comment) <= 150


def table(page: str) -> dict[str, tuple[int, int]]:
    """Language -> lines of the store, lines of the adapter, as the page has them."""
    rows = re.findall(r"^\| \[(\w+)\]\([^)]*\) \|[^|]*\| (\d+) \| (\d+) \|", page, re.MULTILINE)
    return {name: (int(store), int(adapter)) for name, store, adapter in rows}


def test_the_page_has_the_right_line_counts() -> None:
    counted = {
        one.name: (sum(lines(one.folder / file, one.comment) for file in one.store), lines(one.folder / one.adapter, one.comment))
        for one in LANGUAGES
    }
    assert table(PAGE.read_text("utf-8")) == counted


def exchanged(page: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The requests and replies that the page shows."""
    requests, replies = (re.findall(rf"^{arrow} (.*)$", page, re.MULTILINE) for arrow in ("->", "<-"))
    return [(json.loads(request), json.loads(reply)) for request, reply in zip(requests, replies, strict=True)]


def test_the_exchange_on_the_page_is_a_real_one(build: Build, tmp_path: Path) -> None:
    shown = exchanged(PAGE.read_text("utf-8"))
    assert {request["cmd"] for request, _ in shown} == {"hello", "create", "open", "clock", "call", "close", "drop", "bye"}
    with talking(build(LANGUAGES[0]), tmp_path) as talk:
        for request, expected in shown:
            given = {name: value for name, value in request.items() if name not in ("seq", "cmd")}
            reply = talk.ask(request["cmd"], **given)
            if request["cmd"] == "hello":
                ops = reply["ok"]["capabilities"].pop("ops")
                assert set(expected["ok"]["capabilities"].pop("ops")) < set(ops) == set(OPERATIONS)
            assert {"seq": talk.seq, **reply} == expected
            assert request["seq"] == talk.seq


def test_the_page_has_every_operation_and_every_code() -> None:
    rows = re.findall(r"^\| (`.*`) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.partition(" |")[0])}
    codes = {"backend", *(refusal.code for refusal in Refusal.__subclasses__())}
    assert (set(OPERATIONS) | codes) - named == set()


def imported(source: str) -> set[str]:
    """The top names of what a Python file imports."""
    nodes = list(ast.walk(ast.parse(source)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.partition(".")[0] for name in plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}}


def foreign(language: str, text: str) -> set[str]:
    """What a source file, or a file beside it, wants that does not come with the language."""
    if language == "python":
        return imported(text) - set(sys.stdlib_module_names) - {"store"}
    if language == "go":
        found = re.findall(r"^\s*require\b.*|^(?:import )?\s*\"[^\"]*\.[^\"]*/[^\"]*\"", text, re.MULTILINE)
    else:
        found = re.findall(r"(?:from|import\(|require\()\s*[\"'](?!node:|\./)[^\"']*|\"dependencies\"", text)
    return {line.strip() for line in found}


@pytest.mark.parametrize("language", [one for one in LANGUAGES if one.name != "rust"], ids=lambda language: language.name)
def test_the_example_needs_nothing_but_its_language(language: Language) -> None:
    files = [file for file in language.folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert {language.folder / file for file in (language.adapter, *language.store)} <= set(files)
    assert {str(file): wants for file in files if (wants := foreign(language.name, file.read_text("utf-8")))} == {}


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "from leasehold.store import Refusal"),
        ("go", "require example.org/x v1.0.0"),
        ("go", 'import (\n\t"fmt"\n\t"example.org/x/y"\n)'),
        ("node", 'import x from "express";'),
        ("node", '{"dependencies": {}}'),
    ],
)
def test_a_foreign_import_is_noticed(language: str, text: str) -> None:
    assert foreign(language, text)


def test_a_twin_has_to_have_its_line_exactly_once(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a b a")
    with pytest.raises(AssertionError, match="2 times"):
        replace(tmp_path / "store", "a", "c")
