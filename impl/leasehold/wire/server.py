"""The protocol's server: one of our stores as an adapter program (``leasehold serve``). One request at a time."""

from __future__ import annotations

import json
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from leasehold import __version__
from leasehold.store import Capabilities, Refusal, VirtualClock
from leasehold.stores.memory import MemoryStore
from leasehold.stores.sqlite import SqliteStore
from leasehold.wire.codec import ShapeError, decode_args, encode_result

Json = dict[str, Any]


class Server:
    """Serves stores made by ``make(label, clock)``; ``again(label, clock)`` finds one that every handle was closed of."""

    def __init__(
        self, name: str, make: Callable[[str, VirtualClock], Any], again: Callable[[str, VirtualClock], Any] | None
    ) -> None:
        self.name = name
        self.clock = VirtualClock(0)
        self._make = make
        self._again = again
        self._stores: dict[str, Any] = {}
        self._handles: dict[str, tuple[str, Any]] = {}
        self._commands: dict[str, Callable[[Json], Json]] = {
            "hello": self._hello,
            "create": self._create,
            "open": self._open,
            "close": self._close,
            "drop": self._drop,
            "clock": self._clock,
            "call": self._call,
            "bye": lambda request: {"ok": {}},
        }

    def serve(self, requests: IO[str], replies: IO[str]) -> None:
        """Answer every request until ``bye`` or the end of input."""
        for line in requests:
            request = json.loads(line)
            try:
                reply = self._commands[request["cmd"]](request)
            except Exception as error:  # noqa: BLE001 - whatever fails here is the adapter's fault, not the store's
                reply = {"fault": {"message": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}}
            replies.write(json.dumps({"seq": request["seq"], **reply}, ensure_ascii=False, separators=(",", ":")) + "\n")
            replies.flush()
            if request["cmd"] == "bye":
                return

    def _hello(self, request: Json) -> Json:
        probe: Capabilities = self._make("hello", self.clock).capabilities
        given = {
            "tier": probe.tier,
            "manifest": probe.manifest,
            "clock": "virtual",
            "handles": probe.handles,
            "reopen": probe.reopen and self._again is not None,
            "kill": False,
            "concurrent": False,
            "ops": sorted(probe.ops),
        }
        return {"ok": {"protocol": 1, "name": self.name, "version": __version__, "language": "python", "capabilities": given}}

    def _create(self, request: Json) -> Json:
        self._stores[request["store"]] = self._make(request["store"], self.clock)
        return {"ok": {}}

    def _open(self, request: Json) -> Json:
        label = request["store"]
        store = self._stores.get(label)
        self._handles[request["handle"]] = (label, store.open_handle() if store is not None else self._reopened(label))
        return {"ok": {}}

    def _reopened(self, label: str) -> Any:
        if self._again is None:
            raise KeyError(f"no store {label}")
        return self._again(label, self.clock)

    def _close(self, request: Json) -> Json:
        label, handle = self._handles.pop(request["handle"])
        handle.close()
        last = not any(other == label for other, _ in self._handles.values())
        if last and self._again is not None and label in self._stores:
            self._stores.pop(label).close()
        return {"ok": {}}

    def _drop(self, request: Json) -> Json:
        store = self._stores.pop(request["store"], None)
        if store is not None:
            store.close()
        return {"ok": {}}

    def _clock(self, request: Json) -> Json:
        self.clock.now = request["now_ms"]
        return {"ok": {}}

    def _call(self, request: Json) -> Json:
        op = request["op"]
        _, handle = self._handles[request["handle"]]
        try:
            args = decode_args(op, request["args"])
        except ShapeError as error:
            return {"err": {"code": "invalid_request", "message": str(error)}}
        try:
            value = getattr(handle, op)(*args)
        except Refusal as refusal:
            return {"err": {"code": refusal.code, "message": str(refusal), **refusal.details}}
        return {"ok": encode_result(op, value)}


def serve(store: str, requests: IO[str], replies: IO[str]) -> None:
    """Serve ``memory``, or ``sqlite`` in a temporary directory."""
    if store == "memory":
        Server("leasehold memory", lambda label, clock: MemoryStore(clock), None).serve(requests, replies)
        return
    with tempfile.TemporaryDirectory(prefix="leasehold-serve-") as directory:

        def path(label: str) -> Path:
            return Path(directory) / f"{label}.db"

        def opened(label: str, clock: VirtualClock) -> SqliteStore:
            return SqliteStore(path(label), clock=clock)

        Server("leasehold sqlite", opened, opened).serve(requests, replies)
