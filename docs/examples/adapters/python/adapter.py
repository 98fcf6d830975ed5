"""The adapter: leasehold's protocol on standard input and output, in front of the store beside it. Run it with

leasehold check -- python adapter.py
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import quote

from store import LATEST, Refusal, Store, UnknownOutcome, create

Json = dict[str, Any]

OPS = (
    "load_session",
    "load_node",
    "commit_runtime_state",
    "try_claim_session_execution_lease",
    "renew_session_execution_lease",
    "release_session_execution_lease",
    "enqueue_queued_work",
    "claim_ready_queued_work",
    "claim_ready_queued_work_by_batch_ids",
    "renew_queued_work_claim",
    "abandon_queued_work_claim",
    "cancel_queued_work_batch",
    "list_queued_work",
    "list_pending_queued_work",
    "save_session_meta",
    "load_session_meta",
    "tombstone_nodes",
    "vacuum",
    "gc_unreachable",
    "record_intent",
    "commit_refs",
    "list_uncommitted",
    "forget",
)
"""The store's methods have the operations' names, and their parameters those of the arguments."""

CAPABILITIES = {
    "tier": "durable",
    "manifest": "persistent",
    "clock": "virtual",
    "handles": 8,
    "reopen": True,
    "kill": True,  # the data is in files under LEASEHOLD_DATA, and every operation is a transaction
    "concurrent": False,
    "max_integer": LATEST,
    "ops": OPS,
}


class Adapter:
    """Answers one request after the other."""

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)
        self.now_ms = 0  # the virtual clock: only the command clock moves it
        self.handles: dict[str, Store] = {}

    def answer(self, request: Json) -> Json:
        """One reply, without its seq."""
        command = {"hello": self.hello, "create": self.create, "open": self.open, "close": self.close, "drop": self.drop}
        command |= {"clock": self.clock, "call": self.call, "bye": lambda _: {"ok": {}}}
        try:
            return command[request["cmd"]](request)
        except Exception as error:  # noqa: BLE001 - whatever fails here is this program's fault, not the store's answer
            return {"fault": {"message": repr(error), "trace": traceback.format_exc()}}

    def path(self, request: Json) -> Path:
        return self.directory / f"{quote(request['store'], safe='')}.db"

    def hello(self, request: Json) -> Json:
        if not request["protocol"]["min"] <= 1 <= request["protocol"]["max"]:
            raise ValueError(f"protocol 1 is spoken here, not {request['protocol']}")
        who = {"protocol": 1, "name": "example-python", "version": "1.0.0", "language": "python"}
        return {"ok": {**who, "capabilities": CAPABILITIES}}

    def create(self, request: Json) -> Json:
        create(str(self.path(request)))
        return {"ok": {}}

    def open(self, request: Json) -> Json:
        self.handles[request["handle"]] = Store(str(self.path(request)), lambda: self.now_ms)
        return {"ok": {}}

    def close(self, request: Json) -> Json:
        self.handles.pop(request["handle"]).close()
        return {"ok": {}}

    def drop(self, request: Json) -> Json:
        for file in self.directory.glob(f"{self.path(request).name}*"):  # SQLite keeps files of its own beside it
            file.unlink()
        return {"ok": {}}

    def clock(self, request: Json) -> Json:
        self.now_ms = request["now_ms"]
        return {"ok": {}}

    def call(self, request: Json) -> Json:
        store, op = self.handles[request["handle"]], request["op"]
        if op not in OPS:
            return {"skip": {"reason": f"this store has no {op}"}}
        try:
            return {"ok": getattr(store, op)(**request["args"])}
        except Refusal as refusal:
            return {"err": {"code": refusal.code, "message": str(refusal), **refusal.details}}
        except UnknownOutcome as unknown:
            return {"unknown": {"message": str(unknown)}}


def serve(directory: str) -> None:
    """Answer until ``bye`` or the end of input. Standard output is the protocol's alone: print nothing else there."""
    adapter = Adapter(directory)
    for line in sys.stdin:
        request = json.loads(line)
        reply = {"seq": request["seq"], **adapter.answer(request)}
        print(json.dumps(reply), flush=True)
        if request["cmd"] == "bye":
            return


if __name__ == "__main__":
    data = os.environ.get("LEASEHOLD_DATA")
    if data:
        serve(data)
    else:
        with tempfile.TemporaryDirectory(prefix="example-python-") as directory:
            serve(directory)
