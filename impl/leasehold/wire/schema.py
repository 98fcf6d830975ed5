"""The protocol's JSON Schema, specs/protocol.schema.json: does an exchange have the shape that the protocol gives it?"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema_rs

from leasehold.specs import directory


@cache
def schema() -> dict[str, Any]:
    """The schema."""
    loaded: dict[str, Any] = json.loads((directory() / "protocol.schema.json").read_text("utf-8"))
    return loaded


@cache
def _validator(definition: str) -> Any:
    known = schema()
    return jsonschema_rs.validator_for({"$schema": known["$schema"], "$defs": known["$defs"], "$ref": f"#/$defs/{definition}"})


def problem(definition: str, value: Any) -> str:
    """What is wrong with a value that should be ``#/$defs/DEFINITION``, and where; empty if nothing is."""
    validator = _validator(definition)
    try:
        if validator.is_valid(value):
            return ""
        error = next(iter(validator.iter_errors(value)))
    except ValueError as impossible:  # what JSON cannot hold
        return str(impossible)
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path).lstrip(".")
    said = str(error.message)
    return f"{where}: {_short(said)}" if where else _short(said)


def _short(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:150]} ... {text[-140:]}"
