"""Recorded histories of stores: what the clients of a race saw, written as a log and judged from it alone."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from leasehold.logs.lines import LogError
from leasehold.oracle.answers import Answer, Err, Ok
from leasehold.oracle.concurrent import History, Threads
from leasehold.oracle.concurrent import judged as judged_run
from leasehold.oracle.python_door import PythonDoor
from leasehold.oracle.races import races
from leasehold.oracle.schedule import Schedule
from leasehold.records import BatchDraft
from leasehold.store import Clock
from leasehold.stores.memory import MemoryStore
from leasehold.verify import Verified, read, verify
from leasehold.wire.codec import encode_args, encode_result
from leasehold_model.machine import RECOMMENDED

_TICK = itertools.count(1)


class RecordingDoor(PythonDoor):
    """Writes down every call on the store of the moment."""

    def __init__(self, factory: Any = MemoryStore) -> None:
        self.lines: list[dict[str, Any]] = []
        super().__init__(factory, "recorded")

    def fresh(self, session_id: str) -> None:
        self.lines = []
        super().fresh(session_id)

    def call(self, handle: int, op: str, args: tuple[Any, ...]) -> Answer:
        start = next(_TICK)
        answer = super().call(handle, op, args)
        line: dict[str, Any] = {"client": f"client {handle}", "start": start, "end": next(_TICK), "op": op}
        line["args"] = encode_args(op, args)
        if isinstance(answer, Ok):
            line["ok"] = encode_result(op, answer.value)
        elif isinstance(answer, Err):
            line["err"] = {"code": answer.code, "message": answer.message, **answer.details}
        else:
            line["unknown"] = True
        line["now_ms"] = self.virtual.now
        self.lines.append(line)
        return answer


def judged(lines: list[dict[str, Any]], path: Path, model: str = "auto") -> Verified:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return verify(read(path), model, 60.0, 100_000)


class NoLock:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def unlocked(clock: Clock) -> MemoryStore:
    store = MemoryStore(clock)
    store._lock = store._state.lock = NoLock()  # type: ignore[assignment]  # that is what is wrong with it
    return store


@pytest.mark.requirement("LAW-12")
def test_what_clients_saw_of_a_right_store_is_linearizable(tmp_path: Path) -> None:
    door = RecordingDoor()
    threads, lost = Threads(door, RECOMMENDED), 0
    for number, race in enumerate(races(door.capabilities)):
        threads.run(race, Schedule(tuple(range(len(race.clients))), [3 + number]))
        lines = [dict(line) for line in door.lines]
        if number % 2:  # an answer that was lost, and the time of day for a clock
            for line in [line for line in lines if line["op"] in NAMELESS and "kept" not in race.name][:2]:
                for name in ("ok", "err", "now_ms"):
                    line.pop(name, None)
                line["unknown"] = "timed out"
                lost += 1
        verdict = judged(lines, tmp_path / "history.jsonl")
        assert (verdict.verdict, verdict.model) == ("linearizable", "store"), race.name
    assert lost > 20


NAMELESS = {
    *("release_session_execution_lease", "abandon_queued_work_claim", "commit_runtime_state", "tombstone_nodes", "vacuum"),
    *("record_intent", "commit_refs", "forget", "save_session_meta", "cancel_queued_work_batch", "renew_session_execution_lease"),
}
"""Operations whose answer brings no id that is used later."""


def test_an_id_that_came_from_nowhere_is_told(tmp_path: Path) -> None:
    door = RecordingDoor()
    door.clock(1_000)
    lease = door.call(0, "try_claim_session_execution_lease", ("s", "ann", 60_000))
    assert isinstance(lease, Ok)
    door.call(0, "renew_session_execution_lease", (lease.value.fence(), 60_000))
    with pytest.raises(LogError, match=r"history\.jsonl:1: renew_session_execution_lease: it names an id that no answer"):
        judged(door.lines[1:], tmp_path / "history.jsonl")
    door.lines[1]["args"]["fence"]["lease_token"] = "forged"
    del door.lines[1]["ok"]
    door.lines[1]["err"] = {"code": "session_execution_lease_expired"}
    assert judged(door.lines, tmp_path / "history.jsonl").verdict == "linearizable"


@pytest.mark.requirement("LAW-12")
def test_twin_what_clients_saw_of_a_racing_store_is_not(tmp_path: Path) -> None:
    door = RecordingDoor(unlocked)
    threads, wrong, agreed, count = Threads(door, RECOMMENDED), 0, 0, 0
    for one in races(door.capabilities):
        for point in range(4, 40, 7):
            history = threads.run(one, Schedule(tuple(range(len(one.clients))), [point]))
            assert isinstance(history, History)
            result, _ = judged_run(history)
            assert result is not None
            verdict = judged(door.lines, tmp_path / "history.jsonl").verdict
            wrong += result.verdict == "not linearizable"
            agreed += result.verdict == verdict
            count += 1
    assert wrong > 20
    assert agreed == count, "the log says what the run said"


def test_a_wrong_history_is_told_by_its_rule(tmp_path: Path) -> None:
    door = RecordingDoor()
    door.clock(1_000)
    door.call(0, "try_claim_session_execution_lease", ("s", "ann", 60_000))
    door.call(1, "try_claim_session_execution_lease", ("s", "bob", 60_000))
    lines = door.lines
    lines[1]["ok"] = {**lines[0]["ok"], "owner_id": "bob", "lease_token": "another", "fencing_token": 2}
    verdict = judged(lines, tmp_path / "history.jsonl")
    assert verdict.verdict == "not linearizable"
    assert verdict.wrong is not None
    assert "LEASE-3" in verdict.wrong.next[0][2] or "LAW-2" in verdict.wrong.next[0][2]


def test_texts_and_payloads_may_be_any(tmp_path: Path) -> None:
    door = RecordingDoor()
    door.clock(1_000)
    payload = {"type": "turn_input", "input": {"items": [{"type": "text", "text": "naïve"}, {"type": "text", "text": "two"}]}}
    draft = BatchDraft(
        session_id="söme session",
        delivery_policy="earliest_safe_boundary",
        slot_policy="join",
        payloads=(payload, payload, payload),
        source_key="a key of ours",
    )
    door.call(0, "enqueue_queued_work", (draft,))
    door.call(1, "list_queued_work", ("söme session",))
    assert judged(door.lines, tmp_path / "history.jsonl").verdict == "linearizable"
    lines = json.loads(json.dumps(door.lines))
    lines[1]["ok"][0]["items"][1]["payload"]["input"]["items"][0]["text"] = "changed"
    assert judged(lines, tmp_path / "history.jsonl").verdict == "not linearizable"


def test_a_line_out_of_shape_is_told_with_its_number(tmp_path: Path) -> None:
    door = RecordingDoor()
    door.call(0, "load_session_meta", ())
    door.call(0, "list_queued_work", ("s",))
    door.lines[1]["ok"] = [{"batch_id": 7}]
    with pytest.raises(LogError, match=r"history\.jsonl:2: list_queued_work: .*batch_id"):
        judged(door.lines, tmp_path / "history.jsonl")
