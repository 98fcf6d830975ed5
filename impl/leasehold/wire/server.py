"""The protocol's server: one of our stores as an adapter program (``leasehold serve``).

Each handle has a thread of its own, so that calls on several handles run at once; everything else is done in the order it comes.
"""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from leasehold import __version__
from leasehold.oracle.python_door import Factory, declared, takes_session
from leasehold.store import Indeterminate, Refusal, VirtualClock
from leasehold.wire.codec import ShapeError, decode_args, encode_result

Json = dict[str, Any]
Make = Callable[[str, str, VirtualClock], Any]


class Server:
    """Serves stores that ``make(label, session_id, clock)`` opens, each an object with the methods of `leasehold.store.Store`."""

    def __init__(self, name: str, make: Make, *, kill: bool = False) -> None:
        self.name = name
        self._kill = kill
        self._written = threading.Lock()
        self.clock = VirtualClock(0)
        self._make = make
        self._stores: dict[str, _Store] = {}
        self._handles: dict[str, tuple[_Store, Any, ThreadPoolExecutor]] = {}
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
            if request["cmd"] == "call" and request["handle"] in self._handles:
                self._handles[request["handle"]][2].submit(self._answer, request, replies)
                continue
            self._answer(request, replies)
            if request["cmd"] == "bye":
                return

    def _answer(self, request: Json, replies: IO[str]) -> None:
        try:
            reply = self._commands[request["cmd"]](request)
        except Exception as error:  # noqa: BLE001 - whatever fails here is the adapter's fault, not the store's
            reply = {"fault": {"message": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}}
        text = json.dumps({"seq": request["seq"], **reply}, ensure_ascii=False, separators=(",", ":"))
        with self._written:
            replies.write(text + "\n")
            replies.flush()

    def _hello(self, request: Json) -> Json:
        probe = self._make("probe", "alpha", self.clock)
        capabilities = declared(probe)
        _end(probe, "close")
        _end(probe, "drop")
        given = {
            "tier": capabilities.tier,
            "manifest": capabilities.manifest,
            "clock": capabilities.clock,
            "handles": capabilities.handles,
            "reopen": capabilities.reopen,
            "kill": self._kill,
            "concurrent": capabilities.concurrent,
            "max_integer": capabilities.max_integer,
            "ops": sorted(capabilities.ops),
        }
        return {"ok": {"protocol": 1, "name": self.name, "version": __version__, "language": "python", "capabilities": given}}

    def _create(self, request: Json) -> Json:
        self._stores[request["store"]] = _Store(self._make(request["store"], request["session_id"], self.clock))
        return {"ok": {}}

    def _open(self, request: Json) -> Json:
        label = request["store"]
        if self._kill and label not in self._stores:  # made by a process that was killed
            self._stores[label] = _Store(self._make(label, "", self.clock))
        store = self._stores[label]
        self._handles[request["handle"]] = (store, store.open(), ThreadPoolExecutor(max_workers=1))
        return {"ok": {}}

    def _close(self, request: Json) -> Json:
        store, handle, thread = self._handles.pop(request["handle"])
        thread.shutdown()
        store.close(handle)
        return {"ok": {}}

    def _drop(self, request: Json) -> Json:
        store = self._stores.pop(request["store"], None)
        if store is not None:
            store.drop()
        return {"ok": {}}

    def _clock(self, request: Json) -> Json:
        self.clock.now = request["now_ms"]
        return {"ok": {}}

    def _call(self, request: Json) -> Json:
        op = request["op"]
        _, handle, _ = self._handles[request["handle"]]
        try:
            args = decode_args(op, request["args"])
        except ShapeError as error:
            return {"err": {"code": "invalid_request", "message": str(error)}}
        try:
            value = getattr(handle, op)(*args)
        except Indeterminate as lost:
            return {"unknown": {"message": str(lost)}}
        except NotImplementedError as error:
            return {"skip": {"reason": str(error)}}
        except Refusal as refusal:
            return {"err": {"code": refusal.code, "message": str(refusal), **refusal.details}}
        except Exception as error:  # noqa: BLE001 - whatever else a store raises is an error of its own
            return {"err": {"code": "backend", "message": f"{type(error).__name__}: {error}"}}
        return {"ok": _written(op, value)}


def _written(op: str, value: Any) -> Any:
    """The value as JSON; a store may also have written it already."""
    if value is None or isinstance(value, dict):
        return value
    if isinstance(value, list | tuple) and all(isinstance(one, dict) for one in value):
        return list(value)
    return encode_result(op, value)


class _Store:
    """One store. Its first handle is the object that the factory gave, the others are ``open_handle()``'s."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._fresh = True

    def open(self) -> Any:
        """A handle."""
        first, self._fresh = self._fresh, False
        return self._store if first else self._store.open_handle()

    def close(self, handle: Any) -> None:
        """Close one."""
        _end(handle, "close")

    def drop(self) -> None:
        """Its data may go."""
        if self._fresh:
            _end(self._store, "close")
        _end(self._store, "drop")


def _end(handle: Any, how: str) -> None:
    end = getattr(handle, how, None)
    if end is not None:
        end()


def serve(
    target: str, factory: Factory, requests: IO[str], replies: IO[str], at_place: Callable[[str], Factory] | None = None
) -> None:
    """Serve the stores of a factory, as `leasehold.targets` has them: ``factory(clock)``, or with ``session_id=`` too.

    With ``at_place``, which gives the factory of the store of a label, they are found again by a process that is started anew.
    """
    wants_session = takes_session(factory)

    def make(label: str, session_id: str, clock: VirtualClock) -> Any:
        if at_place is not None:
            return at_place(label)(clock)
        return factory(clock, session_id=session_id) if wants_session else factory(clock)

    Server(f"leasehold {target}", make, kill=at_place is not None).serve(requests, replies)
