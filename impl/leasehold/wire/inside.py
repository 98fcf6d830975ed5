"""The door to a store in this process, through the wire's codec: what a store is told and says is JSON in between."""

from __future__ import annotations

import json
from typing import Any

from leasehold.oracle.answers import Answer, Misshapen, Ok
from leasehold.oracle.python_door import PythonDoor
from leasehold.wire.codec import ShapeError, decode_args, decode_result, encode_args, encode_result
from leasehold.wire.schema import problem


class CodecDoor(PythonDoor):
    """A `PythonDoor` whose calls and answers are written as the protocol's JSON, validated, and read again."""

    def call(self, handle: int, op: str, args: tuple[Any, ...]) -> Answer:
        """Call the method of the operation's name."""
        written = json.loads(json.dumps(encode_args(op, args)))
        wrong = problem(f"args_{op}", written)
        if wrong:
            raise ValueError(f"leasehold wrote arguments of {op} out of shape: {wrong}")
        answer = super().call(handle, op, decode_args(op, written))
        if not isinstance(answer, Ok):
            return answer
        try:
            value = json.loads(json.dumps(encode_result(op, answer.value)))
            wrong = problem(f"ok_{op}", value)
            return Misshapen(value, f"{op} answered out of shape: {wrong}") if wrong else Ok(decode_result(op, value))
        except ShapeError as error:
            return Misshapen(answer.value, f"{op} answered out of shape: {error}")
