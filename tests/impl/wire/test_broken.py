"""Adapters that are broken on purpose: each is told apart from a wrong store, soon, and with words that help. None is our crash."""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from leasehold.oracle.answers import BrokenTarget
from leasehold.oracle.check import Options, Report, check
from leasehold.wire import process
from leasehold.wire.client import WireDoor

DEADLINE = 1.0
GRACE = 5.0
CAPABILITIES = {"tier": "inline", "manifest": "persistent", "clock": "virtual", "handles": 1, "reopen": False, "kill": False}
HELLO = {"protocol": 1, "name": "small", "version": "1", "language": "python", "capabilities": CAPABILITIES}

FRAME = """\
import json, os, signal, subprocess, sys, threading, time

HELLO = json.loads({hello!r})

def say(text):
    print(text, flush=True)

def reply(request, **kind):
    say(json.dumps({{"seq": request["seq"], **kind}}))

def answer(request):
    if request["cmd"] == "hello":
        reply(request, ok=HELLO)
    elif request["cmd"] != "call":
        reply(request, ok={{}})
    else:
        reply(request, err={{"code": "backend", "message": "not built yet"}})

def break_at(request):
{body}

for line in sys.stdin:
    request = json.loads(line)
    if not break_at(request):
        answer(request)
"""
"""An adapter that does everything right but for ``break_at``, which may do something else instead and then returns True."""


def adapter(folder: Path, body: str, **hello: Any) -> list[str]:
    """The command of such an adapter."""
    program = folder / "adapter.py"
    text = FRAME.format(hello=json.dumps({**HELLO, **hello}), body="".join(f"    {line}\n" for line in body.splitlines()))
    program.write_text(text, "utf-8")
    return [sys.executable, str(program)]


def checked(command: list[str], deadline: float = DEADLINE, budget: float = 4.0, *, corpus: bool = False) -> Report:
    door = WireDoor(command, "broken", deadline=deadline)
    with door.alarm():
        return check(door, Options(budget=budget, seed=1, corpus=corpus))


def on(cmd: str, action: str) -> str:
    """Do something else where this command comes."""
    return f"if request['cmd'] == {cmd!r}: {action}; return True"


def capabilities(**changed: Any) -> str:
    """A hello with other capabilities."""
    given = {**HELLO, "capabilities": {name: one for name, one in {**CAPABILITIES, **changed}.items() if one is not ...}}
    return on("hello", f"reply(request, ok=json.loads({json.dumps(given)!r}))")


BROKEN = {
    "no JSON": (on("call", "say('oops')"), "not JSON"),
    "an empty line": (on("call", "say('')"), "not JSON"),
    "a greeting": (on("hello", "say('Welcome!'); answer(request)"), "not JSON"),
    "a log on standard output": (on("call", "say('INFO calling'); answer(request)"), "not JSON"),
    "half a line, then the end": (on("call", "sys.stdout.write('{\"seq\":'); sys.stdout.flush(); sys.exit(0)"), "output ended"),
    "a byte order mark": (on("call", "say('\\ufeff{\"seq\": %d, \"ok\": null}' % request['seq'])"), "not JSON"),
    "bytes that are no text": (on("call", "sys.stdout.buffer.write(b'\\xff\\xfe\\n'); sys.stdout.flush()"), "not JSON"),
    "half a surrogate pair": (on("call", 'say(\'{"seq": %d, "ok": "\\\\ud800"}\' % request[\'seq\'])'), "not JSON"),
    "not a number": (on("call", "say('{\"seq\": %d, \"ok\": NaN}' % request['seq'])"), "no JSON number"),
    "a number of 5,000 digits": (on("call", "say('{\"seq\": %d, \"ok\": %s}' % (request['seq'], '9' * 5000))"), "not JSON"),
    "deep nesting": (on("call", "say('[' * 100_000)"), "not JSON"),
    "an array": (on("call", "say('[]')"), "not a JSON object"),
    "a number for a reply": (on("call", "say('3')"), "not a JSON object"),
    "another seq": (on("call", "say(json.dumps({'seq': 7777, 'ok': None}))"), "seq 7777"),
    "the seq before": (on("call", "say(json.dumps({'seq': request['seq'] - 1, 'ok': None}))"), "was due"),
    "no seq": (on("call", "say(json.dumps({'ok': None}))"), "seq None"),
    "a seq that is text": (on("call", "say(json.dumps({'seq': str(request['seq']), 'ok': None}))"), "was due"),
    "a seq with a point": (on("call", "say(json.dumps({'seq': request['seq'] + 0.0, 'ok': None}))"), "was due"),
    "every reply twice": ("answer(request)", "was due"),
    "two kinds": (on("call", "reply(request, ok=None, skip={'reason': 'x'})"), "exactly one"),
    "no kind": (on("call", "reply(request)"), "exactly one"),
    "an error without a code": (on("call", "reply(request, err={'message': 'x'})"), "code"),
    "an error that is text": (on("call", "reply(request, err='sorry')"), "err"),
    "a code that there is not": (on("call", "reply(request, err={'code': 'sorry', 'message': ''})"), "err.code"),
    "a skip that is text": (on("call", "reply(request, skip='no')"), "skip"),
    "an unknown that is a number": (on("call", "reply(request, unknown=3)"), "unknown"),
    "a fault that is nothing": (on("call", "reply(request, fault=None)"), "fault"),
    "a fault": (on("call", "reply(request, fault={'message': 'my mistake', 'trace': 'line 3'})"), "my mistake"),
    "a value out of shape": (on("call", "reply(request, ok={'fencing_token': 'three'})"), "out of shape"),
    "text for a value": (on("call", "reply(request, ok='done')"), "out of shape"),
    "true for a number": (
        on(
            "call",
            "a = request['args']; reply(request, ok={**{n: a.get(n, 'x') for n in ('session_id', 'owner_id', 'lease_token')}, "
            "'fencing_token': True, 'claimed_at_epoch_ms': 5, 'expires_at_epoch_ms': 5})",
        ),
        "out of shape",
    ),
    "silence": (on("call", "time.sleep(60)"), "no reply within"),
    "silence at once": ("time.sleep(60)", "no reply within"),
    "an answer that is late": (on("call", "time.sleep(3); answer(request)"), "no reply within"),
    "a line that trickles": (
        on("call", "[(sys.stdout.write('x'), sys.stdout.flush(), time.sleep(0.2)) for _ in range(100)]"),
        "no reply",
    ),
    "a line without an end": (
        on("call", "[(sys.stdout.write('x' * 1000), sys.stdout.flush()) for _ in range(10**9)]"),
        "no reply|a line of",
    ),
    "death": (on("call", "sys.exit(3)"), "exit code 3"),
    "death at once": ("sys.exit(4)", "exit code 4"),
    "a crash": (on("call", "os.kill(os.getpid(), signal.SIGSEGV)"), "exit code -11"),
    "last words": (on("call", "sys.exit('a pity')"), "a pity"),
    "output closed": (on("call", "os.close(1); time.sleep(60)"), "output ended"),
    "input closed": (on("create", "answer(request); os.close(0); time.sleep(60)"), "output ended|no reply"),
    "deaf to signals": (on("call", "[signal.signal(s, signal.SIG_IGN) for s in (2, 15)]; time.sleep(60)"), "no reply within"),
    "a child that outlives it": (
        on("call", "subprocess.Popen(['sleep', '20'], start_new_session=True); sys.exit(5)"),
        "no reply within|exit code 5",
    ),
    "a flood of standard error": (on("call", "sys.stderr.write('x' * 3_000_000); sys.exit(1)"), "exit code 1"),
    "a long log": (on("call", "[print('line', n, file=sys.stderr) for n in range(50_000)]; sys.exit(1)"), "line 49999"),
    "create fails": (on("create", "reply(request, err={'code': 'backend', 'message': 'disk full'})"), "create has to succeed"),
    "open fails": (on("open", "reply(request, fault={'message': 'no such store'})"), "no such store"),
    "clock is skipped": (on("clock", "reply(request, skip={'reason': 'no'})"), "clock has to succeed"),
    "close is unknown": (on("close", "reply(request, unknown={'message': 'perhaps'})"), "close has to succeed"),
    "a hello of another protocol": (on("hello", "reply(request, ok={**HELLO, 'protocol': 9})"), "protocol 9"),
    "a hello without a protocol": (on("hello", "reply(request, ok={'capabilities': HELLO['capabilities']})"), "protocol None"),
    "a hello without capabilities": (on("hello", "reply(request, ok={'protocol': 1})"), "capabilities"),
    "a hello that is refused": (on("hello", "reply(request, err={'code': 'backend', 'message': 'no'})"), "hello"),
    "a strange clock": (capabilities(clock="sun"), "clock"),
    "no tier": (capabilities(tier=...), "tier"),
    "no handles": (capabilities(handles=0), "handles"),
    "a largest integer that is text": (capabilities(max_integer="big"), "max_integer"),
    "operations that there are not": (capabilities(ops=["vacuum", "defrost"]), "ops"),
    "operations as text": (capabilities(ops="vacuum"), "ops"),
}


def test_they_are_many() -> None:
    assert len(BROKEN) >= 50


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_adapter_is_never_counted_against_the_store(name: str, tmp_path: Path) -> None:
    body, said = BROKEN[name]
    started = time.monotonic()
    with pytest.raises(BrokenTarget, match=said) as broken:
        checked(adapter(tmp_path, body))
    assert time.monotonic() - started < DEADLINE + GRACE
    assert "last exchange:" in str(broken.value)


def test_a_program_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("not a program")
    for command in ([str(tmp_path / "nowhere")], [str(text)], ["\0"]):
        with pytest.raises(BrokenTarget, match="could not be started"):
            checked(command)


def test_a_line_beyond_all_bounds_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LINE_LIMIT", 100_000)
    with pytest.raises(BrokenTarget, match="a line of over"):
        checked(adapter(tmp_path, on("call", "say('x' * 1_000_000)")))


def test_a_request_that_nobody_reads_ends_with_the_deadline(tmp_path: Path) -> None:
    command = adapter(tmp_path, on("create", "answer(request); time.sleep(60)"))
    door = WireDoor(command, "deaf", deadline=DEADLINE)
    with door.alarm():
        door.fresh("alpha")
        started = time.monotonic()
        with pytest.raises(BrokenTarget, match="no reply within"):
            door._exchange("call", handle="h", op="forget", args={"attachment_id": "x" * 10_000_000})
        assert time.monotonic() - started < DEADLINE + GRACE


def test_what_only_looks_odd_is_not_broken(tmp_path: Path) -> None:
    """Noise on standard error, unknown members, other white space, numbers as large as they come."""
    body = (
        "print('noise ' * 1000, file=sys.stderr)\n"
        "if request['cmd'] == 'call' and request['op'] == 'vacuum':\n"
        '    say(\' {"more": [1e3], "ok" : {"removed_node_count":0, "x": -1}, "seq":\\t%d}\\r\' % request["seq"])\n'
        "    return True"
    )
    ops = {**CAPABILITIES, "ops": ["vacuum"], "max_integer": 2**63 - 1}
    assert checked(adapter(tmp_path, body, capabilities=ops), budget=2.0).findings == ()


# -- a silent store or a silent adapter? ----------------------------------------------------------------------------------------

STUCK = """\
if request["cmd"] == "create": seen.clear()
if request["cmd"] != "call": return False
op = request["op"]
if op == "tombstone_nodes": seen.append(op)
if op == "vacuum" and seen: time.sleep(60)
reply(request, ok={"tombstone_nodes": None, "vacuum": {"removed_node_count": 0}, "load_node": None}[op])
return True"""


def test_a_store_that_hangs_in_one_state_breaks_law_13(tmp_path: Path) -> None:
    ops = {**CAPABILITIES, "ops": ["tombstone_nodes", "vacuum", "load_node"]}
    command = adapter(tmp_path, STUCK.replace("seen", "SEEN"), capabilities=ops)
    program = Path(command[1])
    program.write_text("SEEN = []\n" + program.read_text("utf-8"), "utf-8")
    report = checked(command, budget=20.0)
    assert [finding.requirement for finding in report.findings] == ["LAW-13"]
    assert report.findings[0].commands == 2


def test_an_adapter_that_never_answers_one_operation_is_broken(tmp_path: Path) -> None:
    ops = {**CAPABILITIES, "ops": ["tombstone_nodes", "vacuum", "load_node"]}
    body = (
        STUCK.replace('op == "vacuum" and seen', 'op == "vacuum"')
        .replace("seen.clear()", "pass")
        .replace("seen.append(op)", "pass")
    )
    with pytest.raises(BrokenTarget, match="no reply within"):
        checked(adapter(tmp_path, body, capabilities=ops), budget=20.0)


def test_an_adapter_that_falls_silent_after_a_while_is_broken(tmp_path: Path) -> None:
    body = "SEEN.append(1)\nif len(SEEN) == 100: time.sleep(60)\n" + STUCK.replace("seen.clear()", "pass").replace(
        "and seen", "and 0"
    )
    ops = {**CAPABILITIES, "ops": ["tombstone_nodes", "vacuum", "load_node"]}
    command = adapter(tmp_path, body.replace("seen.append", "max"), capabilities=ops)
    program = Path(command[1])
    program.write_text("SEEN = []\n" + program.read_text("utf-8"), "utf-8")
    with pytest.raises(BrokenTarget, match="no reply within"):
        checked(command, budget=20.0)


# -- fuzzed transcripts ----------------------------------------------------------------------------------------------------------

REPLAYER = """\
import sys

with open(sys.argv[1], "rb") as recorded:
    replies = recorded.read().split(b"\\0")
for line, reply in zip(sys.stdin.buffer, replies):
    sys.stdout.buffer.write(reply)
    sys.stdout.buffer.flush()
"""


class _Recording(WireDoor):
    """Keeps every reply."""

    def __init__(self, command: list[str], name: str) -> None:
        self.replies: list[bytes] = []
        super().__init__(command, name, deadline=20.0)

    def _checked(self, raw: bytes) -> Any:
        raw = raw.replace(b'"concurrent":true', b'"concurrent":false')  # the order of what happens at once is no transcript's
        self.replies.append(raw + b"\n")
        return super()._checked(raw)


@pytest.fixture(scope="module")
def transcript() -> list[bytes]:
    """What a right store replies in the first exchanges of a check."""
    door = _Recording([sys.executable, "-m", "leasehold", "serve", "memory"], "recorded")
    with door.alarm():
        check(door, Options(budget=2.0, seed=1, corpus=False))
    assert len(door.replies) > 200
    return door.replies[:600]


JUNK = b'{}[]",:0123456789.eE+-truefalsn\\u \x00\xff'


def fuzzed(transcript: list[bytes], rng: random.Random) -> tuple[str, list[bytes]]:
    """One thing in the transcript is not as it was."""
    replies = list(transcript)
    at = rng.randrange(1, len(replies))
    line = bytearray(replies[at])
    place = rng.randrange(len(line))
    kind = rng.choice(("flip", "cut", "drop", "double", "swap", "insert", "delete", "null"))
    if kind == "flip":
        line[place] = rng.randrange(256)
    elif kind == "cut":
        del line[place:]
    elif kind == "drop":
        line.clear()
    elif kind == "double":
        line *= 2
    elif kind == "swap":
        replies[at - 1], line = bytes(line), bytearray(replies[at - 1])
    elif kind == "insert":
        line[place:place] = bytes(rng.choice(JUNK) for _ in range(rng.randrange(1, 9)))
    elif kind == "delete":
        del line[place : place + rng.randrange(1, 9)]
    else:
        line = bytearray(b'{"seq":%d,"ok":null}\n' % (at + 1))
    replies[at] = bytes(line).replace(b"\0", b"?")
    return f"{kind} at {at}, {place}", replies


@pytest.mark.parametrize("seed", range(30))
def test_a_fuzzed_transcript_never_crashes_the_runner(seed: int, transcript: list[bytes], tmp_path: Path) -> None:
    what, replies = fuzzed(transcript, random.Random(seed))
    recorded, program = tmp_path / "replies", tmp_path / "replayer.py"
    recorded.write_bytes(b"\0".join(replies))
    program.write_text(REPLAYER)
    started = time.monotonic()
    try:
        report = checked([sys.executable, str(program), str(recorded)], budget=20.0)
    except BrokenTarget as broken:
        said = str(broken)
    else:  # the bytes still were a reply in shape, but another answer than a right store's
        said = report.verdict
    assert "last exchange:" in said or said == "violates", what
    assert time.monotonic() - started < DEADLINE + GRACE + 10.0, what


def test_an_unharmed_transcript_is_good_to_its_end(transcript: list[bytes], tmp_path: Path) -> None:
    recorded, program = tmp_path / "replies", tmp_path / "replayer.py"
    recorded.write_bytes(b"\0".join(transcript))
    program.write_text(REPLAYER)
    door = WireDoor([sys.executable, str(program), str(recorded)], "replayed", deadline=DEADLINE)
    with door.alarm(), pytest.raises(BrokenTarget, match=rf'output ended[\s\S]*"seq":{len(transcript) + 1}\b'):
        check(door, Options(budget=20.0, seed=1, corpus=False))


def test_nothing_of_it_is_left_behind(tmp_path: Path) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    for name in ("death", "deaf to signals", "output closed"):
        with pytest.raises(BrokenTarget):
            checked(adapter(tmp_path, BROKEN[name][0]))
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_a_store_that_offers_nothing_does_not_conform(tmp_path: Path) -> None:
    report = checked(adapter(tmp_path, "pass", capabilities={**CAPABILITIES, "ops": []}))
    assert (report.verdict, report.operations) == ("inconclusive", 0)
