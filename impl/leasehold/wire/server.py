"""The protocol's server: one of our stores as an adapter program (``leasehold serve``). One request at a time."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from typing import IO, Any

from leasehold import __version__
from leasehold.oracle.python_door import declared, takes_session
from leasehold.store import Indeterminate, Refusal, VirtualClock
from leasehold.wire.codec import ShapeError, decode_args, encode_result

Json = dict[str, Any]


class Server:
    """Serves stores that ``make(session_id, clock)`` opens, each an object with the methods of `leasehold.store.Store`."""

    def __init__(self, name: str, make: Callable[[str, VirtualClock], Any]) -> None:
        self.name = name
        self.clock = VirtualClock(0)
        self._make = make
        self._stores: dict[str, _Store] = {}
        self._handles: dict[str, tuple[_Store, Any]] = {}
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
        probe = self._make("alpha", self.clock)
        capabilities = declared(probe)
        _end(probe, "close")
        _end(probe, "drop")
        given = {
            "tier": capabilities.tier,
            "manifest": capabilities.manifest,
            "clock": capabilities.clock,
            "handles": capabilities.handles,
            "reopen": capabilities.reopen,
            "kill": False,
            "concurrent": False,
            "max_integer": capabilities.max_integer,
            "ops": sorted(capabilities.ops),
        }
        return {"ok": {"protocol": 1, "name": self.name, "version": __version__, "language": "python", "capabilities": given}}

    def _create(self, request: Json) -> Json:
        self._stores[request["store"]] = _Store(self._make(request["session_id"], self.clock))
        return {"ok": {}}

    def _open(self, request: Json) -> Json:
        store = self._stores[request["store"]]
        self._handles[request["handle"]] = (store, store.open())
        return {"ok": {}}

    def _close(self, request: Json) -> Json:
        store, handle = self._handles.pop(request["handle"])
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
        _, handle = self._handles[request["handle"]]
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


def serve(target: str, factory: Callable[..., Any], requests: IO[str], replies: IO[str]) -> None:
    """Serve the stores of a factory, as `leasehold.targets` has them: ``factory(clock)``, or with ``session_id=`` too."""
    wants_session = takes_session(factory)

    def make(session_id: str, clock: VirtualClock) -> Any:
        return factory(clock, session_id=session_id) if wants_session else factory(clock)

    Server(f"leasehold {target}", make).serve(requests, replies)
