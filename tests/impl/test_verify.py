"""`leasehold verify`: verdicts on recorded logs, gaps, what it says, exit codes; and the public histories with known verdicts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from attrs import evolve
from click.testing import CliRunner, Result

from leasehold.cli import main
from leasehold.logs.lines import LogError
from leasehold.logs.models import MODELS
from leasehold.logs.objects import OBJECTS
from leasehold.verify import Verified, read, shrunk, split, up_to, verify
from leasehold_model.history import Call
from leasehold_model.linearize import linearize
from leasehold_model.register import CompareAndSet, Read, Register, Write
from tests.model.histories import call, drawn, holds

DATA = Path(__file__).parent / "logs" / "data"

VERDICTS = {
    "stale.edn": ("register", "not linearizable"),
    "lost.edn": ("cas-register", "linearizable"),
    "etcd.log": ("cas-register", "linearizable"),
    "texts.edn": ("multi-register", "linearizable"),
    "mutex.edn": ("mutex", "not linearizable"),
    "gap.jsonl": ("cas-register", "linearizable"),
    "queues.jsonl": ("mutex", "linearizable"),
}


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["verify", *map(str, words)])


def judged(path: Path, model: str = "auto", nodes: int = 10_000) -> Verified:
    return verify(read(path), model, 60.0, nodes)


@pytest.mark.parametrize("name", VERDICTS)
def test_the_data(name: str) -> None:
    verified = judged(DATA / name)
    assert (verified.model, verified.verdict) == VERDICTS[name]


def test_every_file_of_the_data_is_judged() -> None:
    assert {path.name for path in DATA.iterdir()} == {*VERDICTS, "independent.edn"}


def test_keys_within_values() -> None:
    """Jepsen's independent registers look like compare-and-sets; only the user can tell."""
    verified = judged(DATA / "independent.edn", "multi-register")
    assert verified.wrong is not None and verified.parts == 2
    assert (verified.wrong.part.key, verified.wrong.state) == ('"b"', "5")


# -- every form, every model ------------------------------------------------------------------------------------------------------


def as_json(calls: Sequence[Call[Any, Any]]) -> list[dict[str, Any]]:
    lines = []
    for one in calls:
        match one.action:
            case Read():
                op, args = "read", []
            case Write(value):
                op, args = "write", [value]
            case _:
                op, args = "cas", [one.action.old, one.action.new]
        line: dict[str, Any] = {"client": one.client, "start": one.start, "end": one.end, "op": op, "args": args}
        if one.definite:
            line["ok"] = one.answer if op != "write" else None
        else:
            line["unknown"] = True
            line |= {} if one.end is None else {"by": one.end}
        lines.append(line)
    return lines


def as_edn(calls: Sequence[Call[Any, Any]], *, logged: bool) -> str:
    """Jepsen has no refused compare-and-set but one that says nothing, so none may stand here."""
    events = []
    for process, one in enumerate(calls):
        value = "nil" if isinstance(one.action, Read) else str(one.action.value) if isinstance(one.action, Write) else None
        value = value or f"[{one.action.old} {one.action.new}]"
        answer = value if not isinstance(one.action, Read) else "nil" if one.answer is None else str(one.answer)
        op = type(one.action).__name__.lower().replace("compareandset", "cas")
        events.append((one.start, 0, process, "invoke", op, value))
        if one.end is not None:
            kind = "ok" if one.definite else "info"
            events.append((one.end, 1, process, kind, op, answer if one.definite else ":timed-out"))
    form = "INFO  jepsen.util - {0}\t:{1}\t:{2}\t{3}" if logged else "{{:process {0}, :type :{1}, :f :{2}, :value {3}}}"
    return "\n".join(form.format(*event[2:]) for event in sorted(events))


def without_refused(calls: Sequence[Call[Any, Any]]) -> list[Call[Any, Any]]:
    return [one for one in calls if not (isinstance(one.action, CompareAndSet) and one.definite and not one.answer)]


def test_random_histories_in_every_form(tmp_path: Path) -> None:
    verdicts = Counter[str]()
    for seed in range(250):
        calls = without_refused(drawn(Random(seed), most=8))
        if not calls:
            continue
        expected = linearize(calls, Register(0)).verdict
        verdicts[expected] += 1
        path = tmp_path / "log"
        path.write_text("\n".join(map(json.dumps, [{"history": 1, "initial": 0}, *as_json(calls)])))
        assert judged(path, "cas-register").verdict == expected
        lasting = [one if one.definite else call(one.start, None, one.action, definite=False) for one in calls]
        expected = linearize(lasting, Register(None)).verdict
        for logged in (False, True):
            path.write_text(as_edn(calls, logged=logged))
            assert judged(path, "cas-register").verdict == expected, path.read_text()
    assert min(verdicts.values()) > 50


def lines(tmp_path: Path, *values: Any) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(map(json.dumps, values)))
    return path


def asked(start: int, end: int | None, op: str, *args: Any, **more: Any) -> dict[str, Any]:
    return {"client": "c", "start": start, "end": end, "op": op, "args": args, **(more or {"ok": None})}


@pytest.mark.parametrize(
    ("calls", "model"),
    [
        ([asked(0, 1, "write", 1)], "register"),
        ([asked(0, 1, "write", 1), asked(0, 1, "cas", 1, 2, ok=True)], "cas-register"),
        ([asked(0, 1, "write", 1, key="a", ok=None)], "multi-register"),
        ([asked(0, 1, "append", "x")], "cas-register"),
        ([asked(0, 1, "acquire", ok=True)], "mutex"),
    ],
)
def test_the_model_is_guessed(tmp_path: Path, calls: list[Any], model: str) -> None:
    assert judged(lines(tmp_path, *calls)).model == model


@pytest.mark.parametrize(
    ("values", "words", "says"),
    [
        ([asked(0, 1, "push", 1)], [], "no model has the operations push"),
        ([{"history": 1, "model": "stack"}, asked(0, 1, "write", 1)], [], "there is no model 'stack'. There are register"),
        (
            [asked(0, 1, "cas", 1, 2, ok=True)],
            ["--model", "register"],
            "'cas' is no operation of this model; there are read, write.",
        ),
        ([asked(0, 1, "write")], [], "write takes 1 arguments, not []"),
        ([asked(0, 1, "cas", 1, 2, ok="yes")], [], 'cas is answered with true or false, not with "yes"'),
        ([asked(0, 1, "acquire", ok=1)], [], "acquire is answered with true or false"),
        ([asked(0, 1, "write", 1, key="a", ok=None)], ["--model", "register"], "Try --model multi-register"),
        ([asked(0, 1, "write", 1), asked(0, 1, "read", ok=1)], ["--model", "multi-register"], 'it has no "key"'),
    ],
)
def test_lines_that_are_no_calls_of_the_model(tmp_path: Path, values: list[Any], words: list[str], says: str) -> None:
    result = run(lines(tmp_path, *values), *words)
    assert result.exit_code == 64
    assert says in result.output
    assert re.search(r"log\.jsonl:\d+: ", result.output)


def test_true_is_not_one(tmp_path: Path) -> None:
    assert judged(lines(tmp_path, asked(0, 1, "write", True), asked(2, 3, "read", ok=1))).verdict == "not linearizable"
    assert judged(lines(tmp_path, asked(0, 1, "write", True), asked(2, 3, "read", ok=True))).verdict == "linearizable"


def test_a_refusal_has_no_effect(tmp_path: Path) -> None:
    refused = asked(0, 1, "write", 1, err="full")
    assert judged(lines(tmp_path, refused, asked(2, 3, "read", ok=None))).verdict == "linearizable"
    assert judged(lines(tmp_path, refused, asked(2, 3, "read", ok=1))).verdict == "not linearizable"


# -- gaps -------------------------------------------------------------------------------------------------------------------------


def test_without_the_gap_the_same_log_is_wrong(tmp_path: Path) -> None:
    header, *calls = [json.loads(line) for line in (DATA / "gap.jsonl").read_text().splitlines()]
    del header["gaps"]
    assert judged(lines(tmp_path, header, *calls)).verdict == "not linearizable"


def test_each_side_of_a_gap_is_judged(tmp_path: Path) -> None:
    header = {"history": 1, "gaps": [[10, 20]]}
    before = [asked(0, 1, "write", 1), asked(2, 3, "read", ok=2)]
    after = [asked(30, 31, "read", ok=5), asked(32, 33, "read", ok=6)]
    for calls in (before, after):
        verified = judged(lines(tmp_path, header, *calls))
        assert verified.wrong is not None
        assert verified.wrong.part.after_gap == ((10, 20) if calls is after else None)
    assert judged(lines(tmp_path, header, before[0], after[0])).verdict == "linearizable"


def test_a_call_that_touches_a_gap_may_have_taken_effect_on_any_side(tmp_path: Path) -> None:
    header = {"history": 1, "initial": 0, "gaps": [[10, 20]]}
    over = asked(5, 25, "write", 7)
    assert judged(lines(tmp_path, header, over, asked(7, 8, "read", ok=7))).verdict == "linearizable"
    assert judged(lines(tmp_path, header, over, asked(7, 8, "read", ok=0), asked(22, 23, "read", ok=1))).verdict == "linearizable"
    seen = [asked(21, 22, "read", ok=1), asked(23, 24, "read", ok=7)]
    assert judged(lines(tmp_path, header, over, *seen)).verdict == "linearizable"
    assert judged(lines(tmp_path, header, asked(5, 8, "write", 7), *seen)).verdict == "not linearizable"
    assert judged(lines(tmp_path, header, asked(5, 10, "write", 7), *seen)).verdict == "not linearizable"
    touching = [asked(5, 10, "write", 7), asked(7, 8, "read", ok=7), asked(8, 9, "read", ok=7)]
    assert judged(lines(tmp_path, header, *touching)).verdict == "linearizable"
    assert judged(lines(tmp_path, header, asked(5, 6, "write", 7), asked(8, 10, "read", ok=3))).verdict == "linearizable"
    assert judged(lines(tmp_path, header, asked(5, 6, "write", 7), asked(8, 9, "read", ok=3))).verdict == "not linearizable"


def test_what_a_gap_hides_never_makes_a_right_history_wrong(tmp_path: Path) -> None:
    """Leave the calls within a gap out of a right history."""
    hidden, kept_wrong = 0, 0
    for seed in range(400):
        calls = [one for one in drawn(Random(seed), most=7) if one.definite]
        first = Random(seed).randrange(8)
        gap = (first, first + 4)
        left = [one for one in calls if not (one.end is not None and gap[0] <= one.start and one.end <= gap[1])]
        if len(left) == len(calls) or not left:
            continue
        hidden += 1
        verdict = judged(lines(tmp_path, {"history": 1, "initial": 0, "gaps": [gap]}, *as_json(left)), "cas-register").verdict
        if holds(calls, Register(0)):
            assert verdict == "linearizable"
        else:
            kept_wrong += verdict == "not linearizable"
    assert hidden > 100 and kept_wrong > 10


def test_after_a_gap_a_read_may_be_what_shows_the_state(tmp_path: Path) -> None:
    header = {"history": 1, "gaps": [[0, 9]]}
    calls = [asked(20, 30, "read", ok=3), asked(20, 25, "cas", 3, 4, ok=True), asked(40, 41, "read", ok=4)]
    assert judged(lines(tmp_path, header, *calls)).verdict == "linearizable"
    calls = [asked(20, 30, "read", ok=3), asked(20, 25, "cas", 5, 4, ok=True), asked(40, 41, "read", ok=4)]
    assert judged(lines(tmp_path, header, *calls)).verdict == "not linearizable"


def test_a_model_that_knows_no_unknown_state_is_not_judged_over_gaps(tmp_path: Path) -> None:
    log = read(lines(tmp_path, {"history": 1, "gaps": [[1, 2]]}, asked(0, 1, "write", 1)))
    with pytest.raises(LogError, match="cannot be judged over gaps"):
        split(log, evolve(MODELS["register"], unknown=None))


# -- what it says -----------------------------------------------------------------------------------------------------------------


def test_a_wrong_history_is_shown() -> None:
    result = run(DATA / "stale.edn")
    assert result.exit_code == 1
    text = " ".join(result.output.split())
    assert "NOT LINEARIZABLE" in text
    assert "4 calls of 3 clients; 0 answers were lost" in text
    assert "write 1" in text and "write 2" in text
    assert "line 9, client 2, 7 to 8: read: 1: the register holds 2, not 1" in text


def test_a_right_history_is_shown() -> None:
    result = run(DATA / "lost.edn")
    assert result.exit_code == 0
    assert result.output.startswith("LINEARIZABLE")
    assert "1 answer was lost" in result.output


def test_an_unknown_one_says_how_to_go_on(tmp_path: Path) -> None:
    path = lines(tmp_path, *(asked(0, 9, "write", at) for at in range(9)), asked(0, 9, "read", ok=77))
    result = run(path, "--nodes", 50)
    assert result.exit_code == 2
    assert "UNKNOWN" in result.output and "--nodes 500" in result.output
    result = run(path, "--budget", "0.000001")
    assert result.exit_code == 2
    assert "--budget" in result.output
    result = run(path)
    assert result.exit_code == 1


def test_a_budget_is_shared_so_that_a_hard_part_hides_no_wrong_one(tmp_path: Path) -> None:
    hard = [asked(0, 9, "append", chr(97 + at), key="hard", ok=None) for at in range(9)]
    hard += [asked(0, 9, "read", key="hard", ok="none of these")]
    wrong = [asked(0, 1, "write", 1, key="wrong", ok=None), asked(2, 3, "read", key="wrong", ok=2)]
    verified = judged(lines(tmp_path, *hard, *wrong), nodes=10_100)
    assert verified.wrong is not None and verified.wrong.part.key == '"wrong"'
    assert judged(lines(tmp_path, *hard), nodes=10_100).verdict == "unknown"


def test_an_interrupted_one_reports_what_it_has() -> None:
    def interrupts(*_: object) -> None:
        raise KeyboardInterrupt

    verified = verify(read(DATA / "texts.edn"), "auto", 60.0, 100, interrupts)
    assert (verified.verdict, verified.ended, verified.parts) == ("unknown", "interrupted", 2)


def test_json(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    assert run(DATA / "stale.edn", "--json", target).exit_code == 1
    value = json.loads(target.read_text())
    assert {
        name: value[name] for name in ("format", "form", "model", "verdict", "calls", "clients", "lost", "parts", "judged")
    } == {
        "format": 1,
        "form": "jepsen",
        "model": "register",
        "verdict": "not linearizable",
        "calls": 4,
        "clients": 3,
        "lost": 0,
        "parts": 1,
        "judged": 1,
    }
    assert [one["line"] for one in value["wrong"]["order"]] == [2, 5]
    assert value["wrong"]["next"] == [
        {"line": 9, "client": "2", "start": 7, "end": 8, "call": "read: 1", "why": "the register holds 2, not 1", "possible": False}
    ]
    result = run(DATA / "gap.jsonl", "--json", "-")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["gaps"] == [[100, 200]]


def test_no_such_file() -> None:
    result = run("no-such-log")
    assert result.exit_code == 64
    assert "does not exist" in result.output


# -- cutting down -----------------------------------------------------------------------------------------------------------------


def test_what_is_left_of_a_wrong_history_is_wrong_and_small() -> None:
    calls = [
        call(at * 3, at * 3 + 1, Write(at), True) if at % 5 == 0 else call(at * 3, at * 3 + 1, Read(), at - at % 5)
        for at in range(60)
    ]
    calls[42] = call(126, 127, Read(), 35)
    result = linearize(calls, Register())
    assert result.stuck == 42
    kept = shrunk(calls, up_to(calls, result.stuck), MODELS["register"], None, result.visited)
    assert kept == [*range(0, 42, 5), 42]
    assert linearize([calls[at] for at in kept], Register()).verdict == "not linearizable"


def test_twin_leaving_out_a_write_would_accuse_a_right_history() -> None:
    """So only calls without effect are left out."""
    calls = [call(0, 1, Write(1), True), call(2, 3, Read(), 1)]
    assert linearize(calls, Register()).verdict == "linearizable"
    assert linearize(calls[1:], Register()).verdict == "not linearizable"
    assert not MODELS["register"].effectless(calls[0])


def test_calls_said_to_have_no_effect_have_none() -> None:
    for name, model in OBJECTS.items():
        seen = 0
        for action, answer in [(Read(), 1), (CompareAndSet(1, 2), False), (CompareAndSet(1, 2), True), (Write(1), None)]:
            for definite in (True, False):
                one = call(0, 1, action, answer, definite=definite)
                if name == "mutex" or not model.effectless(one):
                    continue
                seen += 1
                assert all(set(model.specification(None).next(state, one)) <= {state} for state in (0, 1, 2, None))
        assert seen or name == "mutex"


# -- public histories -------------------------------------------------------------------------------------------------------------


def public() -> Path:
    """The sources of porcupine, with 102 histories of etcd and 6 of a key-value store; nothing of them is copied here."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("PUBLIC HISTORIES NOT JUDGED: there is no go on the PATH to get them with")
    words = [go, "mod", "download", "-json", "github.com/anishathalye/porcupine@v1.3.1"]
    done = subprocess.run(
        words, env={**os.environ, "GOFLAGS": "-mod=mod"}, capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        pytest.skip(f"PUBLIC HISTORIES NOT JUDGED: {' '.join(words[1:])} failed: {done.stderr[-300:] or done.stdout[-300:]}")
    return Path(json.loads(done.stdout)["Dir"])


@pytest.mark.slow
def test_public_histories_get_their_known_verdicts() -> None:
    root = public()
    source = (root / "porcupine_test.go").read_text()
    known = {
        f"jepsen/etcd_{int(number):03d}.log": right
        for number, right in re.findall(r"checkJepsen\(t, (\d+), (true|false)\)", source)
    }
    known |= {f"kv/{name}.txt": right for name, right in re.findall(r'checkKv\(t, "([\w-]+)", (true|false)', source)}
    assert len(known) == 108 and 20 < sum(right == "true" for right in known.values()) < 50
    found = {name: verify(read(root / "test_data" / name), "auto", 300.0, 1_000_000).verdict for name in known}
    assert found == {name: "linearizable" if right == "true" else "not linearizable" for name, right in known.items()}
