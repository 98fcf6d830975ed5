"""Progress: a line that moves on a terminal; elsewhere, as in CI, at most one plain line every ten seconds."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.status import Status

QUIET = 10.0
"""Seconds between two plain lines."""

LIVELY = 0.1
"""Seconds between two changes of the moving line."""


class Progress:
    """Told by the check what it does. Writes to ``stream``, which is never where a report goes to a program."""

    def __init__(self, stream: TextIO, budget: float, unit: str = "operations") -> None:
        self._console = Console(file=stream, highlight=False)
        self._budget = budget
        self._unit = unit
        self._status: Status | None = None
        if self._console.is_terminal and not self._console.is_dumb_terminal and not os.environ.get("CI"):
            self._status = self._console.status("starting")
        self._every = LIVELY if self._status else QUIET
        self._last = self._start = time.monotonic()

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._status:
            self._status.stop()

    def __call__(self, what: str, operations: int, share: float) -> None:
        now = time.monotonic()
        if now - self._last < self._every:
            return
        self._last = now
        text = f"{what}: {operations:,} {self._unit}, {now - self._start:.0f} of {self._budget:g} s"
        if self._status:
            self._status.update(text)
        else:
            self._console.print(text, soft_wrap=True)
