"""Schedules: which of several clients in this process goes on, decided at every line of the store's code.

A race that real threads lose once in a million runs is lost every time under the schedule that stops one client between its check
and its act. So the clients of a concurrent run take turns: one runs until a point that the schedule names, then another does, until
all are done. A point is a line of the store's own code (or an opcode), as Python's trace function shows it. A client that waits for
a lock reaches no point; after a moment it is left to wait, and the one that was stopped goes on.

With one change of turns, tried at every point in turn, each pair of calls is interleaved in every way that one interruption can
(Musuvathi & Qadeer, Iterative Context Bounding, PLDI 2007); random changes find what needs more (Burckhardt et al., A Randomized
Scheduler with Probabilistic Guarantees of Finding Bugs, ASPLOS 2010).
"""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from attrs import frozen

_Value = TypeVar("_Value")

STUCK = 0.001
"""Seconds after which a client that reaches no point is taken to wait for another."""

LONG_TURN = 0.02
"""Seconds after which a client that does not end is taken to ask again and again for what another holds."""

_INSTALLED = tuple(str(Path(sysconfig.get_path(name)).resolve()) + os.sep for name in ("purelib", "platlib"))
_LIBRARY = (*_INSTALLED, *(str(Path(sysconfig.get_path(name)).resolve()) + os.sep for name in ("stdlib", "platstdlib")))
_OURS = str(Path(__file__).resolve().parents[1]) + os.sep
_STORES = {f"{_OURS}stores{os.sep}"}
"""Places whose code is a store's, though it is ours or installed."""


@frozen
class Stop:
    """Where a client was stopped so that the next one went on: before this line."""

    client: int
    file: str
    line: int
    function: str

    @property
    def code(self) -> str:
        """The line."""
        return linecache.getline(self.file, self.line).strip()


class Schedule:
    """Turns for ``clients`` clients, in this order, with a change to the next one that is not done at each of ``changes``.

    ``changes`` are numbers of points, counted over all clients. None of them: one client after the other. ``points`` is how many
    there were, ``shared`` how many before only one client was left, ``places`` the line of each. ``fine``: a point is an opcode.
    ``patience``: how long a client that waits is left to wait; what it waits for may have a time limit. ``stops`` tells where the
    changes were.
    """

    def __init__(
        self,
        order: Sequence[int],
        changes: Sequence[int],
        own: Callable[[str], bool] | None = None,
        *,
        fine: bool = False,
        patience: float = STUCK,
    ) -> None:
        self.points = 0
        self.shared = 0
        self.stuck = 0
        self.places: list[tuple[str, int]] = []
        self.stops: list[Stop] = []
        self.order = tuple(order)
        self.changes = tuple(sorted(changes))
        self.fine = fine
        self.patience = patience
        self._order = list(order)
        self._changes = list(self.changes)
        self._next = self._changes.pop(0) if self._changes else -1
        self._own = own or is_stores
        self._turn = self._order[0]
        self._over = False
        self._native: dict[int, int] = {}
        self._go = {client: threading.Event() for client in self._order}
        self._go[self._turn].set()
        self._done: set[int] = set()
        self._lock = threading.Lock()
        self._finished = threading.Event()
        self._moved = time.monotonic()

    def anew(self) -> Schedule:
        """The same turns once more."""
        return Schedule(self.order, self.changes, self._own, fine=self.fine, patience=self.patience)

    # -- in a client's thread ------------------------------------------------------------------------------------------

    def begin(self, client: int) -> None:
        """Wait for the first turn."""
        self._native[client] = threading.get_native_id()
        self._go[client].wait()

    def watched(self, client: int, call: Callable[[], _Value]) -> _Value:
        """The value of a call of the store: every point in it counts."""
        sys.settrace(lambda frame, _event, _arg: self._enter(client, frame))
        try:
            return call()
        finally:
            sys.settrace(None)

    def end(self, client: int) -> None:
        """This client is done: the next one goes on."""
        with self._lock:
            self._done.add(client)
            if len(self._done) == len(self._order) - 1:
                self.shared = self.points
            if self._turn == client:
                self._pass_on(client)
            if len(self._done) == len(self._order):
                self._finished.set()

    def _enter(self, client: int, frame: FrameType) -> Any:
        if not self._own(frame.f_code.co_filename):
            return None
        if self.fine:
            frame.f_trace_opcodes = True
        wanted = "opcode" if self.fine else "line"

        def at(frame: FrameType, event: str, _arg: Any) -> Any:
            if event == wanted:
                self.point(client, frame)
            return at

        return at

    def point(self, client: int, frame: FrameType) -> None:
        """This client could be interrupted here."""
        if self._over:
            return
        if self._turn != client:
            self._go[client].wait()
        self.points += 1
        if not self.changes:
            self.places.append((frame.f_code.co_filename, frame.f_lineno))
        if self.points == self._next:
            self.stops.append(Stop(client, frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
            with self._lock:
                self._next = self._changes.pop(0) if self._changes else -1
                self._pass_on(client)
            self._go[client].wait()

    def let_go(self) -> None:
        """There are no turns any more: whoever was stopped, perhaps with a lock in hand, goes on to its end."""
        self._over = True
        for go in self._go.values():
            go.set()

    # -- turns ---------------------------------------------------------------------------------------------------------

    def _pass_on(self, client: int) -> None:
        """The next in order that is not done has the turn. With the lock held."""
        if self._over:
            return
        at = self._order.index(client)
        for other in (*self._order[at + 1 :], *self._order[: at + 1]):
            if other not in self._done and (other != client or client not in self._done):
                self._go[client].clear()
                self._turn = other
                self._go[other].set()
                self._moved = time.monotonic()
                return

    def watch(self, ends: Callable[[], float]) -> bool:
        """See to it that nobody waits for one that waits for it, until all are done. False if they are not by then."""
        seen = -1
        while not self._finished.wait(STUCK):
            now = time.monotonic()
            if now > ends():
                return False
            with self._lock:
                waited = now - self._moved
                still = self.points == seen and not _is_at_work(self._native.get(self._turn, 0))
                if waited > self.patience and (still or waited > max(LONG_TURN, self.patience)):
                    self.stuck += 1
                    self._pass_on(self._turn)
                seen = self.points
        return True


def _is_at_work(thread: int) -> bool:
    """This thread has or wants a processor, or waits for a disk: it is the machine that is slow. Where that cannot be seen: no."""
    try:
        return Path(f"/proc/self/task/{thread}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[0] in "RD"
    except OSError:
        return False


os.register_at_fork(after_in_child=lambda: sys.settrace(None))  # what a store forks in a call is no client


def is_stores(file: str) -> bool:
    """Whether code of this file is a store's: not the library's, not an installed package's, not ours; or of `belongs`."""
    known = _KNOWN.get(file)
    if known is None:
        place = str(Path(file).resolve()) if not file.startswith("<") else ""
        known = bool(place) and (place.startswith(tuple(_STORES)) or not place.startswith((*_LIBRARY, _OURS)))
        _KNOWN[file] = known
    return known


def belongs(module: str) -> None:
    """The package that this module is of is the store's own, though it may be installed."""
    top = sys.modules.get(module.partition(".")[0])
    file = getattr(top, "__file__", None) or getattr(sys.modules.get(module), "__file__", None)
    place = Path(file).resolve() if file else None
    if place is not None and str(place).startswith(_INSTALLED) and not str(place).startswith(_OURS):
        _STORES.add(str(place.parent) + os.sep if place.name == "__init__.py" else str(place))
        _KNOWN.clear()


def is_library(file: str | None) -> bool:
    """Whether a module's file is Python's, an installed package's, or ours."""
    return file is not None and str(Path(file).resolve()).startswith((*_LIBRARY, _OURS))


_KNOWN: dict[str, bool] = {}
