"""The door to a store that is an object in this process."""

from __future__ import annotations

import gc
import time
from typing import Any

import pytest

from leasehold.oracle.answers import Hung
from leasehold.oracle.python_door import PythonDoor
from leasehold.stores.memory import MemoryStore


class Collects(MemoryStore):
    """Has the garbage collected, and then never comes back."""

    def load_session_meta(self) -> Any:
        gc.collect()
        time.sleep(20)


@pytest.mark.requirement("LAW-13")
def test_a_call_that_hangs_is_ended_though_the_alarm_rings_in_a_garbage_collection() -> None:
    door = PythonDoor(Collects, "collects", deadline=0.1)
    rung: list[str] = []

    def slow(phase: str, _info: dict[str, int]) -> None:
        time.sleep(0.3)  # what is raised here, nobody sees
        rung.append(phase)

    gc.callbacks.append(slow)
    try:
        began = time.monotonic()
        with door.alarm():
            door.fresh("alpha")
            answer = door.call(0, "load_session_meta", ())
    finally:
        gc.callbacks.remove(slow)
        door.close()
    assert isinstance(answer, Hung)
    assert rung[:2] == ["start", "stop"]
    assert time.monotonic() - began < 10
