"""The protocol's JSON Schema says what the codec says."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leasehold.oracle.answers import Answer
from leasehold.oracle.check import Options, check
from leasehold.oracle.python_door import CODES, PythonDoor
from leasehold.store import OPERATIONS
from leasehold.stores.memory import MemoryStore
from leasehold.wire.codec import SIGNATURES, ShapeError, decode_args, decode_result, encode_args, encode_result
from leasehold.wire.schema import problem, schema
from tests.impl.wire import strategies


def test_it_is_a_json_schema_that_names_every_operation_and_every_code() -> None:
    jsonschema_rs.meta.validate(schema())
    definitions = schema()["$defs"]
    assert sorted(definitions["operation"]["enum"]) == sorted(SIGNATURES) == sorted(OPERATIONS)
    assert {f"args_{op}" for op in SIGNATURES} | {f"ok_{op}" for op in SIGNATURES} <= set(definitions)
    assert set(definitions["code"]["enum"]) == CODES
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.meta.validate({"type": "no such type"})


def test_every_reference_names_a_definition_and_every_definition_is_used() -> None:
    text = json.dumps(schema())
    named = {name for name in schema()["$defs"] if f'"#/$defs/{name}"' in text}
    loose = {name for name in schema()["$defs"] if name not in named}
    assert loose == {"hello"} | {f"ok_{op}" for op in SIGNATURES}, "these are named by the reply they are the value of"


class _Told(PythonDoor):
    """Remembers the arguments of every call."""

    def call(self, handle: int, op: str, args: tuple[Any, ...]) -> Answer:
        TOLD.setdefault(op, []).append(encode_args(op, args))
        return super().call(handle, op, args)


TOLD: dict[str, list[Any]] = {}
"""What stores are told in real runs, by operation."""


@pytest.fixture(scope="module")
def told() -> dict[str, list[Any]]:
    if not TOLD:
        check(_Told(MemoryStore, "told"), Options(budget=1.5, seed=1))
    return TOLD


def test_what_stores_are_told_is_valid(told: dict[str, list[Any]]) -> None:
    assert set(told) == set(SIGNATURES)
    for op, calls in told.items():
        for args in calls[:300]:
            request = {"seq": 1, "cmd": "call", "handle": "h", "op": op, "args": args}
            assert problem(f"args_{op}", args) == problem("request_call", request) == problem("request", request) == ""


RESULTS = {op: kind for op, kind in strategies.RESULTS.items() if kind is not None}


@pytest.mark.parametrize("op", RESULTS)
def test_what_stores_may_say_is_valid(op: str) -> None:
    @settings(max_examples=20, deadline=None)
    @given(RESULTS[op])
    def valid(value: Any) -> None:
        assert problem(f"ok_{op}", encode_result(op, value)) == ""

    valid()


Path = tuple[Any, ...]


def _places(value: Any, path: Path = ()) -> list[Path]:
    """Where something stands in a value."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    if isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(place for key, one in inner for place in _places(one, (*path, key)))]


def _put(value: Any, path: Path, new: Any) -> Any:
    changed = copy.deepcopy(value)
    at = changed
    for key in path[:-1]:
        at = at[key]
    if new is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = new
    return changed


def _refused(decode: Callable[[str, Any], Any], op: str, value: Any) -> bool:
    """The codec refuses it."""
    try:
        decode(op, value)
    except ShapeError:
        return True
    return False


NEW: st.SearchStrategy[Any] = st.sampled_from((..., None, "text", 7, [], {}, True, 1.5))


@pytest.mark.parametrize("op", SIGNATURES)
def test_of_what_stores_are_told_the_schema_refuses_what_the_codec_refuses(op: str, told: dict[str, list[Any]]) -> None:
    @settings(max_examples=30, deadline=None)
    @given(st.data())
    def agree(data: st.DataObject) -> None:
        right = data.draw(st.sampled_from(told[op][:50]))
        places = [place for place in _places(right) if place]
        if not places:
            return
        changed = _put(right, data.draw(st.sampled_from(places)), data.draw(NEW))
        if _refused(decode_args, op, changed):
            assert problem(f"args_{op}", changed), "the schema takes what the codec refuses"

    agree()


@pytest.mark.parametrize("op", RESULTS)
def test_of_what_stores_say_both_refuse_the_same(op: str) -> None:
    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def agree(data: st.DataObject) -> None:
        right = encode_result(op, data.draw(RESULTS[op]))
        places = [place for place in _places(right) if place]
        if not places:
            return
        changed = _put(right, data.draw(st.sampled_from(places)), data.draw(NEW))
        assert _refused(decode_result, op, changed) == bool(problem(f"ok_{op}", changed))

    agree()


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ({"seq": 1}, "not valid"),
        ({"seq": 1, "ok": 1, "skip": {"reason": "x"}}, "more than one"),
        ({"seq": 1, "err": {"message": "x"}}, "code"),
        ({"seq": 1, "err": {"code": "sorry"}}, "err.code"),
        ({"seq": 1, "unknown": "x"}, "unknown"),
        ({"ok": None}, "seq"),
        ({"seq": 1, "ok": 1e400}, ""),
    ],
)
def test_a_reply_out_of_shape_is_told(reply: dict[str, Any], said: str) -> None:
    assert problem("reply", {"seq": 1, "ok": None}) == ""
    assert said in problem("reply", reply)
