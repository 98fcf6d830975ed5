"""The door to a store that is a Python object in this process."""

from __future__ import annotations

import contextlib
import gc
import inspect
import math
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from leasehold.oracle.answers import Answer, BrokenTarget, Crashing, Err, Hung, Ok, Skip, Unknown
from leasehold.oracle.schedule import belongs
from leasehold.records import Tier
from leasehold.store import OPERATIONS, Capabilities, Clock, Indeterminate, Refusal, VirtualClock

Factory = Callable[..., Any]
"""``factory(clock)`` opens a fresh store; one that binds at its creation takes ``session_id=`` too."""


_REFUSALS: list[type[Refusal]] = [Refusal, *Refusal.__subclasses__()]
CODES = frozenset(kind.code for kind in _REFUSALS)
"""The codes of contract section 8. An exception with one of them as ``code`` is a refusal, whatever its type."""


ONCE_MORE = 0.5
"""Seconds after which the alarm rings again in a call that has swallowed it."""


class _TooLong(BaseException):
    """Raised by the alarm inside a call that does not end. No store may catch it, so it is no `Exception`."""


class _Watch(threading.local):
    """When the call that this thread makes began (0: it makes none). The alarm looks at the main thread's only."""

    started = 0.0


class PythonDoor:
    """Calls the store's methods directly. A call that takes over ``deadline`` seconds is interrupted (in the main thread)."""

    def __init__(self, factory: Factory, name: str, deadline: float = 3.0) -> None:
        self.name = name
        self.deadline = deadline
        self.ends = math.inf
        self.hangs = False
        self.not_killed = "only a target that is named can be opened by another process"
        self.killable: Callable[[], Crashing] | None = None
        self.processes: Callable[[], Crashing] | None = None
        """A door to a store of this kind with each handle in a process of its own, where that promises to work."""
        self.at_place: Callable[[Path, Clock], Any] | None = None
        """Opens a store of this kind in a directory, where that promises to survive a power loss."""
        self.virtual = VirtualClock(0)
        self._factory = factory
        self._wants_session = takes_session(factory)
        self._store: Any = None
        self._handles: dict[int, Any] = {}
        self._methods: dict[tuple[int, str], Any] = {}
        self._watch = _Watch()
        self.capabilities = Capabilities()
        with self.alarm():
            self.fresh("alpha")
        self.capabilities = declared(self._store)
        for one in (factory, type(self._store)):
            belongs(getattr(one, "__module__", None) or "")

    def fresh(self, session_id: str) -> None:
        """A fresh store from the factory."""
        self.close()
        try:
            with self._watched():
                self._store = (
                    self._factory(self.virtual, session_id=session_id) if self._wants_session else self._factory(self.virtual)
                )
        except _TooLong:
            raise BrokenTarget(f"{self.name}: the factory did not return within {self.deadline:g} s") from None
        except Exception as error:
            raise BrokenTarget(f"{self.name}: the factory raised {brief(error)}\n{_tail(error)}") from error
        if self._store is None:
            raise BrokenTarget(f"{self.name}: the factory returned None; it has to return a store")
        self._handles = {0: self._store}

    @property
    def store(self) -> Any:
        """The store as handle 0 has it."""
        return self._handle(0)

    def reported_tier(self) -> str | None:
        """The store's ``durability_tier``, if it has one."""
        tier: str | None = getattr(self._store, "durability_tier", None)
        return tier

    def clock(self, now_ms: int) -> None:
        """Set the clock that the factory was given."""
        self.virtual.now = now_ms

    def call(self, handle: int, op: str, args: tuple[Any, ...]) -> Answer:
        """Call the method of the operation's name."""
        method = self._methods.get((handle, op))
        if method is None:
            method = getattr(self._handle(handle), op, None)
            if method is None:
                return Skip(f"the store has no method {op}")
            self._methods[handle, op] = method
        try:
            self._watch.started = time.monotonic()
            value = method(*args)
        except Refusal as refusal:
            return Err(refusal.code, str(refusal), refusal.details)
        except Indeterminate as lost:
            return Unknown(str(lost) or "the answer was lost")
        except NotImplementedError as error:
            return Skip(str(error) or f"{op} is not implemented")
        except _TooLong:
            return Hung(self.deadline)
        except Exception as error:  # noqa: BLE001 - whatever a store raises is its answer (LAW-15)
            code = getattr(error, "code", None)
            if isinstance(code, str) and code in CODES:  # a store with an exception type of its own, but the contract's codes
                return Err(code, str(error), dict(getattr(error, "details", None) or {}))
            return Err("untyped", f"raised {brief(error)}, which is no leasehold.store.Refusal\n{_tail(error)}", untyped=True)
        finally:
            self._watch.started = 0.0
        return Ok(value)

    def open(self, handle: int) -> None:
        """Open a handle, if it is not yet."""
        self._handle(handle)

    def close_handle(self, handle: int) -> None:
        """Close one handle; the others stay open."""
        closed = self._handles.pop(handle, None)
        self._methods = {key: method for key, method in self._methods.items() if key[0] != handle}
        if closed is not None and not any(closed is other for other in self._handles.values()):
            self._end(closed, "close")

    def _handle(self, number: int) -> Any:
        if number not in self._handles:
            self._handles[number] = self._open()
        return self._handles[number]

    def _open(self) -> Any:
        try:
            with self._watched():
                return self._store.open_handle()
        except _TooLong:
            raise BrokenTarget(f"{self.name}: open_handle() did not return within {self.deadline:g} s") from None
        except Exception as error:
            raise BrokenTarget(f"{self.name}: open_handle() raised {brief(error)}\n{_tail(error)}") from error

    def reopen(self) -> None:
        """Close every handle, then open one again."""
        self._close_handles()
        self._handles = {0: self._open()}
        self._methods = {}

    def crashing(self) -> Crashing | None:
        """A door to the same kind of store in another process, if its target can be opened there."""
        return self.killable() if self.killable is not None else None

    def restart(self) -> None:
        """Nothing runs beside this process."""
        self.close()

    def close(self) -> None:
        """Close every handle and let the store go. A store with ``drop()`` is told that its data may go too."""
        store, self._store = self._store, None
        self._close_handles()
        self._end(store, "drop")

    def _close_handles(self) -> None:
        handles, self._handles, self._methods = self._handles, {}, {}
        for handle in handles.values():
            self._end(handle, "close")

    def _end(self, handle: Any, how: str) -> None:
        end = getattr(handle, how, None)
        if end is None:
            return
        try:
            with self._watched(), contextlib.suppress(Refusal):
                end()
        except _TooLong:
            raise BrokenTarget(f"{self.name}: {how}() did not return within {self.deadline:g} s") from None
        except Exception as error:
            raise BrokenTarget(f"{self.name}: {how}() raised {brief(error)}\n{_tail(error)}") from error

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        self._watch.started = time.monotonic()
        try:
            yield
        finally:
            self._watch.started = 0.0

    @contextlib.contextmanager
    def alarm(self) -> Iterator[None]:
        """While open, calls that run beyond the deadline are interrupted. Works in the main thread; elsewhere it does nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        began = time.monotonic()
        old = signal.signal(signal.SIGALRM, self._ring)
        due, interval = signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
            if due:  # another's timer, such as a test runner's, goes on
                signal.setitimer(signal.ITIMER_REAL, max(due - (time.monotonic() - began), 0.001), interval)

    def _ring(self, signum: int, frame: FrameType | None) -> None:
        started = self._watch.started
        if started and time.monotonic() - started > self.deadline and not _is_collecting(frame):
            self._watch.started = time.monotonic() - self.deadline + ONCE_MORE
            raise _TooLong


def _is_collecting(frame: FrameType | None) -> bool:
    """What is raised here, in a finalizer or a callback of the garbage collector, is swallowed: the next ring comes soon."""
    callbacks = [getattr(one, "__code__", None) for one in gc.callbacks]
    while frame is not None and frame.f_code not in callbacks and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


def takes_session(factory: Factory) -> bool:
    """The factory takes ``session_id=``."""
    try:
        return "session_id" in inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return False


def declared(store: Any) -> Capabilities:
    """What the store declares, or what its methods show."""
    declared = getattr(store, "capabilities", None)
    if isinstance(declared, Capabilities):
        return declared
    if declared is not None:
        raise BrokenTarget(f"the store's capabilities are {declared!r}; a leasehold.store.Capabilities is due")
    tier: Tier = "durable" if getattr(store, "durability_tier", "inline") == "durable" else "inline"
    ops: frozenset[str] = frozenset(op for op in OPERATIONS if callable(getattr(store, op, None)))
    if not ops:
        raise BrokenTarget(
            f"the factory returned {_text(store)}, which has none of the Store interface's methods (leasehold.store.Store)"
        )
    handles = hasattr(store, "open_handle")
    return Capabilities(tier=tier, handles=8 if handles else 1, reopen=handles and tier == "durable", ops=ops)


def _text(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 200 else text[:197] + "..."


def brief(error: BaseException) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _tail(error: BaseException) -> str:
    """Where the exception came from: the innermost frames of the store's own."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    return "\n".join(f"  {one.filename}:{one.lineno} in {one.name}: {one.line}" for one in frames[-4:])
