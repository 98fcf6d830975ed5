"""The door to an adapter program: a right one is checked as in process."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from leasehold.oracle.answers import AFTER, CANNOT_BE_OPENED, BrokenTarget, Err, Ok, Skip, Unknown
from leasehold.oracle.check import Options, check
from leasehold.wire.client import WireDoor

SERVE = [sys.executable, "-m", "leasehold", "serve"]
CAPABILITIES = {"tier": "inline", "manifest": "persistent", "clock": "virtual", "handles": 1, "reopen": False, "kill": False}
HELLO = {"protocol": 1, "name": "small", "version": "1", "language": "python", "capabilities": CAPABILITIES}


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_our_stores_conform_through_the_wire(store: str) -> None:
    door = WireDoor([*SERVE, store], store)
    with door.alarm():
        report = check(door, Options(budget=6, seed=1))
    assert report.findings == ()
    assert report.operations > 100
    assert report.tally.histories > 0
    assert "LAW-12" not in [one.what for one in report.not_checked]


@pytest.mark.requirement("LAW-10")
def test_an_adapter_that_is_killed_finds_its_store_again() -> None:
    claim = "try_claim_session_execution_lease"
    door = WireDoor([*SERVE, "sqlite"], "sqlite")
    with door.alarm():
        assert door.crashing() is door
        seen = set()
        for at in (AFTER, 1, 200, 400, 800, 1_600, 3_200):
            door.fresh("alpha")
            door.clock(1_000)
            first = door.call(0, claim, ("before", "ann", 60_000))
            killed = door.crash(0, claim, ("alpha", "ann", 60_000), at)
            assert door.call(0, claim, ("before", "ann", 60_000)) == first, "what was before is there, and so is the time"
            lane = door.call(1, claim, ("alpha", "bob", 60_000))
            assert isinstance(lane, Ok)
            assert not (isinstance(killed, Ok) and lane.value is not None), "an answer that was given holds"
            seen.add(type(killed))
        assert seen == {Ok, Unknown}
        assert door.points > 0


FRAGILE = """
import json, os, pathlib, sys
HELLO = json.loads(sys.argv[1])
opened = pathlib.Path(os.environ["LEASEHOLD_DATA"], "opened")
for line in sys.stdin:
    request = json.loads(line)
    if request["cmd"] == sys.argv[2] and opened.exists() and len(opened.read_text()) >= int(sys.argv[3]):
        sys.exit("the journal is damaged")
    if request["cmd"] == "open":
        opened.write_text(opened.read_text() + "x" if opened.exists() else "x")
    value = HELLO if request["cmd"] == "hello" else {} if request["cmd"] != "call" else None
    print(json.dumps({"seq": request["seq"], "ok": value}), flush=True)
"""
"""An adapter that ends when it is asked to say hello, or to open, on data that another one left."""


HELLO_AGAIN = json.dumps({**HELLO, "capabilities": {**CAPABILITIES, "tier": "durable", "reopen": True, "kill": True}})


@pytest.mark.requirement("LAW-10")
def test_a_store_that_cannot_be_opened_some_time_after_a_kill_is_no_broken_adapter() -> None:
    door = WireDoor([sys.executable, "-c", FRAGILE, HELLO_AGAIN, "open", "2"], "fragile")
    with door.alarm():
        door.fresh("alpha")
        assert door.crash(0, "load_session_meta", (), AFTER) == Ok(None)
        assert door.call(0, "load_session_meta", ()) == Ok(None)
        door.reopen()
        lost = door.call(0, "load_session_meta", ())
        assert isinstance(lost, Err)
        assert lost.message.startswith(CANNOT_BE_OPENED)
    door = WireDoor([sys.executable, "-c", FRAGILE, HELLO_AGAIN, "open", "1"], "fragile")
    door.fresh("alpha")
    assert door.call(0, "load_session_meta", ()) == Ok(None)
    door.reopen()
    with door.alarm(), pytest.raises(BrokenTarget, match="the journal is damaged"):  # that was not killed
        door.call(0, "load_session_meta", ())


@pytest.mark.requirement("LAW-10")
@pytest.mark.parametrize("cmd", ["hello", "open"])
def test_an_adapter_that_cannot_be_started_again_is_the_stores_fault(cmd: str) -> None:
    door = WireDoor([sys.executable, "-c", FRAGILE, HELLO_AGAIN, cmd, "1"], "fragile")
    with door.alarm():
        for _ in range(2):
            door.fresh("alpha")
            assert door.call(0, "load_session_meta", ()) == Ok(None)
            assert door.crash(0, "load_session_meta", (), AFTER) == Ok(None)
            lost = door.call(0, "load_session_meta", ())
            assert isinstance(lost, Err)
            assert lost.message.startswith(CANNOT_BE_OPENED)
            assert "the journal is damaged" in lost.message
            door.reopen()
            assert door.call(0, "load_session_meta", ()) == lost
            assert door.crash(0, "load_session_meta", (), 10) == lost


@pytest.mark.requirement("LAW-10")
def test_an_adapter_is_killed_while_it_opens_its_store() -> None:
    claim = "try_claim_session_execution_lease"
    door = WireDoor([*SERVE, "sqlite"], "sqlite")
    with door.alarm():
        door.fresh("alpha")
        door.clock(1_000)
        held = door.call(0, claim, ("alpha", "ann", 60_000))
        door.call(1, claim, ("beta", "ann", 60_000))
        for at in (AFTER, 300):
            door.crash_reopen(at)
            door.crash_reopen(at)
            assert door.call(0, claim, ("alpha", "ann", 60_000)) == held
            assert door.opening > 0


def test_an_adapter_that_does_not_declare_kill_is_not_killed() -> None:
    door = WireDoor([*SERVE, "memory"], "memory")
    with door.alarm():
        assert door.crashing() is None
        assert door.not_killed == "the adapter does not declare kill"


def _adapter(tmp_path: Path, body: str) -> list[str]:
    """An adapter whose replies are made by ``body``, which sees the request and prints."""
    program = tmp_path / "adapter.py"
    program.write_text(
        "import json, sys, time\n"
        f"HELLO = json.loads({json.dumps(json.dumps(HELLO))})\n"
        "def reply(request, **kind): print(json.dumps({'seq': request['seq'], **kind}), flush=True)\n"
        "for line in sys.stdin:\n"
        "    request = json.loads(line)\n"
        "    if request['cmd'] == 'hello' and not BREAK_HELLO: reply(request, ok=HELLO); continue\n"
        "    if request['cmd'] in ('create', 'open', 'close', 'drop', 'clock', 'bye'): reply(request, ok={}); continue\n".replace(
            "BREAK_HELLO", str("hello" in body)
        )
        + "".join(f"    {line}\n" for line in body.splitlines()),
        "utf-8",
    )
    return [sys.executable, str(program)]


def test_every_kind_of_reply_becomes_its_answer(tmp_path: Path) -> None:
    replies = {
        "try_claim_session_execution_lease": "ok=None",
        "load_node": "err={'code': 'backend', 'message': 'no', 'more': 3}",
        "vacuum": "unknown={'message': 'perhaps'}",
        "forget": "skip={'reason': 'not here'}",
    }
    body = "\n".join(f"if request.get('op') == {op!r}: reply(request, {kind})" for op, kind in replies.items())
    door = WireDoor(_adapter(tmp_path, body), "replies", deadline=5.0)
    with door.alarm():
        door.fresh("alpha")
        door.clock(5)
        assert door.call(0, "try_claim_session_execution_lease", ("alpha", "ann", 5)) == Ok(None)
        assert door.call(0, "load_node", ("x",)) == Err("backend", "no", {"more": 3})
        assert door.call(0, "vacuum", ()) == Unknown("perhaps")
        assert door.call(0, "forget", ("x",)) == Skip("not here")


def test_a_wrong_store_is_a_violation_through_the_wire_too(tmp_path: Path) -> None:
    lease = (
        "{'session_id': a['session_id'], 'owner_id': a['owner_id'], 'lease_token': str(time.monotonic_ns()), 'fencing_token': 1,"
        " 'claimed_at_epoch_ms': now, 'expires_at_epoch_ms': now + a['lease_ttl_ms']}"
    )
    program = _adapter(tmp_path, f"a = request['args']; now = 1_700_000_000_000; reply(request, ok={lease})")
    text = Path(program[1]).read_text("utf-8")
    ops = {**CAPABILITIES, "ops": ["try_claim_session_execution_lease"]}
    Path(program[1]).write_text(
        text.replace(json.dumps(json.dumps(HELLO)), json.dumps(json.dumps({**HELLO, "capabilities": ops}))), "utf-8"
    )
    door = WireDoor(program, "wrong", deadline=5.0)
    with door.alarm():
        report = check(door, Options(budget=5, seed=1))
    assert report.verdict == "violates"
    assert {"LAW-3", "LEASE-2", "LEASE-3"} & {finding.requirement for finding in report.findings}
