"""The door to a store that is an object in this process."""

from __future__ import annotations

import gc
import time
import weakref
from typing import Any, ClassVar

import pytest

from leasehold.oracle.answers import Hung
from leasehold.oracle.python_door import PythonDoor
from leasehold.stores.memory import MemoryStore


class Cycle:
    """Garbage."""

    def __init__(self) -> None:
        self.itself = self


class Final(Cycle):
    """Takes longer to be finalized than a call may."""

    def __del__(self) -> None:
        time.sleep(0.3)


class Collects(MemoryStore):
    """Has the garbage collected, and then never comes back."""

    garbage: ClassVar[type[Cycle]] = Cycle

    def load_session_meta(self) -> Any:
        late = weakref.ref(self.garbage(), lambda _: time.sleep(0.3))
        gc.collect()
        time.sleep(20)
        return late


@pytest.mark.requirement("LAW-13")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("where", ["callback", "finalizer", "weak reference"])
def test_a_call_that_hangs_is_ended_though_what_the_alarm_raises_would_be_swallowed(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    gc.collect()
    monkeypatch.setattr(Collects, "garbage", Final if where == "finalizer" else Cycle)
    added = [lambda _phase, _info: time.sleep(0.3)] if where == "callback" else []
    gc.callbacks.extend(added)
    door = PythonDoor(Collects, "collects", deadline=0.1)
    try:
        began = time.monotonic()
        with door.alarm():
            door.fresh("alpha")
            answer = door.call(0, "load_session_meta", ())
    finally:
        for one in added:
            gc.callbacks.remove(one)
        door.close()
    assert isinstance(answer, Hung)
    assert time.monotonic() - began < 10
