"""Both doors are one behaviour: through the codec a store is judged as it is without."""

from __future__ import annotations

import pytest

from leasehold.oracle.check import Options, check
from leasehold.oracle.python_door import PythonDoor
from leasehold.store import Refusal
from leasehold.stores.memory import MemoryStore
from leasehold.stores.sqlite import SqliteStore
from leasehold.wire.inside import CodecDoor
from tests.liars.catching import outcome_through
from tests.liars.liars import LIARS
from tests.liars.patching import Factory, in_a_folder


@pytest.mark.parametrize("factory", [MemoryStore, in_a_folder(SqliteStore)], ids=["memory", "sqlite"])
def test_our_stores_conform_through_the_codec(factory: Factory) -> None:
    door = CodecDoor(factory, "ours")
    with door.alarm():
        report = check(door, Options(budget=3, seed=1))
    assert (report.verdict, report.findings) == ("conforms", ())


@pytest.mark.parametrize("name", [liar.name for liar in LIARS[::12]])
def test_a_liar_is_caught_for_the_same_rule(name: str) -> None:
    liar = next(one for one in LIARS if one.name == name)
    assert outcome_through(CodecDoor(liar.factory(), name), 20, 1).named(liar.rules)


def test_a_value_out_of_shape_is_wrong_where_a_refusal_is_due_and_else_the_adapters_fault() -> None:
    class Odd(MemoryStore):
        def renew_session_execution_lease(self, fence, lease_ttl_ms):  # type: ignore[no-untyped-def]  # an odd one
            try:
                return super().renew_session_execution_lease(fence, lease_ttl_ms)
            except Refusal:
                return {"renewed": False}

    rules = outcome_through(CodecDoor(Odd, "odd"), 5, 1).rules
    assert rules == outcome_through(PythonDoor(Odd, "odd"), 5, 1).rules == ("LEASE-5",)
