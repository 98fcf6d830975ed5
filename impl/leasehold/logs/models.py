"""Every model that a log can be judged by, by its name."""

from __future__ import annotations

from leasehold.logs import store
from leasehold.logs.lines import Log
from leasehold.logs.objects import OBJECTS, Model, guess

MODELS: dict[str, Model] = {**OBJECTS, "store": store.STORE}


def guessed(log: Log) -> str:
    """The model that the operations of a log are of; empty if there is none."""
    return "store" if store.offered(log) else guess(log)
