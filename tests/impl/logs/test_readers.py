"""Logs of every form into lines, and what is said of those that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from leasehold.logs.lines import LogError, Tag, hashable, shown
from leasehold.specs import directory
from leasehold.verify import read

DATA = Path(__file__).parent / "data"
HEADER = {"history": 1}
READ = {"client": "a", "start": 0, "end": 1, "op": "read", "ok": 3}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "log"
    path.write_text(text, "utf-8")
    return path


def jsonl(tmp_path: Path, *lines: Any) -> Path:
    return written(tmp_path, "\n".join(json.dumps(line) for line in lines))


def brief(path: Path) -> list[Any]:
    return [(one.number, one.client, one.start, one.end, one.op, one.args, one.outcome, one.value) for one in read(path).lines]


def test_edn_maps() -> None:
    assert brief(DATA / "stale.edn") == [
        (2, "0", 1, 2, "write", (1,), "ok", True),
        (5, "1", 3, 6, "write", (2,), "ok", True),
        (6, "2", 4, 5, "read", (), "ok", 1),
        (9, "2", 7, 8, "read", (), "ok", 1),
    ]


def test_an_edn_vector_of_records() -> None:
    assert brief(DATA / "lost.edn") == [
        (1, "0", 1, None, "write", (1,), "unknown", None),
        (2, "1", 2, 6, "cas", [1, 3], "ok", True),
        (4, "2", 4, 5, "read", (), "ok", None),
        (7, "2", 7, 8, "cas", [7, 8], "err", None),
        (9, "2", 9, 10, "read", (), "ok", 3),
    ]


def test_lines_of_a_jepsen_log() -> None:
    assert brief(DATA / "etcd.log") == [
        (2, "0", 1, 3, "read", (), "ok", None),
        (3, "1", 2, None, "write", (3,), "unknown", None),
        (7, "2", 5, 8, "cas", [3, 4], "ok", True),
        (8, "0", 6, 7, "read", (), "err", None),
        (11, "0", 9, 10, "read", (), "ok", 4),
        (13, "4", 11, 12, "cas", [9, 9], "err", None),
    ]
    assert read(DATA / "etcd.log").skipped == 1


def test_a_store_of_texts_begins_empty() -> None:
    log = read(DATA / "texts.edn")
    assert log.initial == ("",)
    assert [(one.op, one.key) for one in log.lines] == [("write", "a"), ("append", "a"), ("read", "b"), ("read", "a")]


def test_json_lines() -> None:
    log = read(DATA / "gap.jsonl")
    assert (log.model, log.initial, log.gaps) == ("cas-register", (0,), [(100, 200)])
    assert [(one.start, one.end, one.outcome, one.value) for one in log.lines] == [
        (0, 10, "ok", None),
        (20, 30, "ok", 1),
        (90, 110, "ok", True),
        (95, None, "unknown", "timeout"),
        (210, 220, "ok", 7),
        (230, 240, "ok", 3),
        (250, 260, "err", "no quorum"),
        (270, 280, "ok", 3),
    ]


def test_a_lost_call_ends_only_where_the_log_says_by_when(tmp_path: Path) -> None:
    lost = {"client": 1, "start": 0, "end": 5, "op": "write", "args": [1], "unknown": True}
    assert [one.end for one in read(jsonl(tmp_path, lost, {**lost, "by": 9})).lines] == [None, 9]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([{**READ, "end": None}], 'log:1: an answer, but no "end"'),
        ([READ, {**READ, "end": -1}], "log:2: it ends at -1, before its start at 0"),
        ([{**READ, "err": "x"}], 'log:1: a call has exactly one of "ok"'),
        ([{**READ, "by": 3}], '"unknown" is a required'),
        ([{"client": "a", "start": 0, "end": 1, "op": "read"}], "log:1: a call has exactly one of"),
        ([{**READ, "start": "0"}], "log:1: start"),
        ([{**READ, "start": 0.5}], "log:1: start"),
        ([{**READ, "strat": 1}], "strat"),
        ([{"op": "read", "ok": 1}], "client"),
        ([READ, HEADER], "log:2: .* first line only"),
        ([HEADER, HEADER, READ], "log:2: .* first line only"),
        ([{"history": 2}, READ], "log:1: history"),
        ([{**HEADER, "gaps": [[3, 2]]}, READ], "log:1: a gap from 3 to 2"),
        ([{**HEADER, "gaps": [[3]]}, READ], "log:1: gaps"),
        ([HEADER], "log:1: there is no call in it"),
        ([READ, [1]], "log:2: "),
    ],
)
def test_json_lines_that_cannot_be_read(tmp_path: Path, lines: list[Any], says: str) -> None:
    with pytest.raises(LogError, match=says):
        read(jsonl(tmp_path, *lines))


def test_a_line_that_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="log:3: no JSON"):
        read(written(tmp_path, f"{json.dumps(READ)}\n\n{{'client'}}"))


INVOKE = "{:process 0, :type :invoke, :f :read, :value nil}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (INVOKE + INVOKE, "log:2: process 0 invokes :read, but its :read of line 1 has not come back"),
        ("{:process 0, :type :ok, :f :read, :value 1}", "log:1: :ok of :read, but process 0 has invoked nothing"),
        (
            INVOKE + "{:process 0, :type :ok, :f :write, :value 1}",
            "log:2: :ok of :write, but process 0 has invoked :read, in line 1",
        ),
        (INVOKE + "{:process 0, :type :okay, :f :read}", "log:2: :okay is no type"),
        (INVOKE + "{:process 0, :f :read}", "log:2: an operation without :type"),
        (INVOKE + "[1]", "log:2: .* stands where a map"),
        (INVOKE + "{:process 0", "log:2: { is not closed"),
        ("INFO  jepsen.util - 0\t:invoke\t:read\t[1", "log:1: "),
        ("nothing of the kind", "log:1: neither JSON lines"),
        ("", "log:1: neither JSON lines"),
        ("; {:process 0, :type :invoke", "log:1: neither JSON lines"),
        ("{:process :nemesis, :type :info, :f :start}", "log:1: there is no call in it"),
    ],
)
def test_jepsen_histories_that_cannot_be_read(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(LogError, match=says.replace("{", r"\{")):
        read(written(tmp_path, text))


def test_what_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"a": 1}\n\x1f\x8b\x08')
    with pytest.raises(LogError, match="log:2: no UTF-8"):
        read(path)


def test_the_form_can_be_named(tmp_path: Path) -> None:
    path = written(tmp_path, "; a comment\n" + INVOKE)
    assert len(read(path, "jepsen").lines) == 1
    with pytest.raises(LogError, match="log:1: no JSON"):
        read(path, "jsonl")


def test_the_schema_is_one_and_allows_the_data() -> None:
    schema = json.loads((directory() / "history.schema.json").read_text("utf-8"))
    jsonschema_rs.meta.validate(schema)
    validator = jsonschema_rs.validator_for(schema)
    files = sorted(DATA.glob("*.jsonl"))
    assert len(files) >= 2
    assert all(validator.is_valid(json.loads(line)) for path in files for line in path.read_text("utf-8").splitlines())
    assert not validator.is_valid({**READ, "err": 1})


def test_values_that_differ_are_different_in_a_state() -> None:
    values = [True, 1, "1", "true", None, [1], [[1]], {"a": 1}, {"a": True}, Tag(":a"), ":a", []]
    assert len({hashable(value) for value in values}) == len(values)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        (1, "1"),
        ("a", '"a"'),
        (Tag("true"), "true"),
        ((1, ("a",)), '[1, ["a"]]'),
        ("x" * 99, '"' + "x" * 24 + " ... " + "x" * 24 + '"'),
    ],
)
def test_values_for_people(value: Any, text: str) -> None:
    assert shown(value) == text
