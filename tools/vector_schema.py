"""The JSON Schema of a conformance vector, specs/vectors.schema.json."""

from __future__ import annotations

from typing import Any

from leasehold.case import laid_out
from leasehold.store import OPERATIONS
from leasehold_model.policy import POINTS, SEED
from leasehold_model.requirements import REQUIREMENTS

FORMAT = 1
"""The form of the vectors. A replayer refuses one that it does not know."""

Json = dict[str, Any]
_NAME = {"type": "string", "pattern": r"^\$[a-z_]+[0-9]+$"}


def _closed(description: str, required: dict[str, Any], **optional: Any) -> Json:
    return {
        "type": "object",
        "description": description,
        "required": list(required),
        "properties": {**required, **optional},
        "additionalProperties": False,
    }


def _expect() -> Json:
    nothing = _closed("Any answer, but an answer: the contract leaves open which.", {})
    ok = _closed("The operation is done, with an answer that fits the pattern.", {"ok": {"$ref": "#/$defs/pattern"}})
    code = {"type": "string", "description": "The error's code; absent: any definite error is right."}
    err = _closed("The operation is refused.", {"err": _closed("How.", {}, code=code)})
    return {"anyOf": [nothing, ok, err]}


def _pattern() -> Json:
    here = {"$ref": "#/$defs/pattern"}
    plain = {"type": "object", "propertyNames": {"pattern": r"^[^$]"}, "additionalProperties": here}
    return {
        "description": "What an answer has to fit: see specs/README.md.",
        "anyOf": [
            {"type": ["null", "boolean", "integer"]},
            {"anyOf": [_NAME, {"type": "string", "pattern": r"^([^$]|$)"}]},
            {"type": "array", "items": here},
            {**plain, "description": "Each member fits; members not named are free; null is also met by a member that is absent."},
            _closed("Anything at all.", {"$any": {"const": True}}),
            _closed("An integer from the first to the second.", {"$between": {"type": "array", "items": {"type": "integer"}}}),
            _closed("An array with these elements, in any order.", {"$unordered": {"type": "array", "items": here}}),
        ],
    }


def vector_schema() -> Json:
    """The schema."""
    rules = {"enum": [one.id for one in REQUIREMENTS]}
    at = {"type": "integer", "description": "The store's time in milliseconds since the epoch. It never goes back."}
    rule = {**rules, "description": "The requirement that decides the answer: what a wrong one breaks."}
    call = _closed(
        "A call.",
        {
            "at": at,
            "handle": {"type": "integer", "minimum": 0, "description": "Handles are opened on the store when first used."},
            "op": {"enum": list(OPERATIONS)},
            "args": {"type": "object", "description": "As on the wire; a string that begins with $ is a name, and bound by then."},
            "rule": rule,
            "expect": {"$ref": "#/$defs/expect"},
        },
    )
    reopen = _closed("Every handle is closed; the next call opens one again.", {"at": at, "op": {"const": "reopen"}, "rule": rule})
    needs = _closed(
        "What a store has to offer to be held to the vector.",
        {
            "operations": {"type": "array", "items": {"enum": list(OPERATIONS)}},
            "handles": {"type": "integer", "minimum": 1, "description": "How many at once."},
            "reopen": {"type": "boolean", "description": "The store is closed and opened again."},
            "manifest": {"enum": ["any", "persistent", "noop"], "description": "Whether the attachment manifest keeps rows."},
            "max_integer": {"type": "integer", "description": "The largest integer in it, 2^53-1 at least."},
        },
    )
    chain = {"type": "array", "items": {"anyOf": [_NAME, {"type": "integer"}]}}
    members = {
        "format": {"const": FORMAT, "description": "The form of the file. A replayer refuses one that it does not know."},
        "edition": {"const": SEED.name, "description": "The edition of the contract."},
        "title": {"type": "string", "description": "What it is about."},
        "requirements": {"type": "array", "items": rules, "description": "The requirements that some answer could show broken."},
        "policies": _closed(
            "The options that the answers depend on. A store that takes another one is not held to the vector.",
            {},
            **{point.id: {"const": point.options[0], "description": point.question} for point in POINTS},
        ),
        "needs": needs,
        "session_id": {"type": "string", "description": "The session that the store is made for."},
        "distinct": {
            "type": "array",
            "items": {"type": "array", "items": _NAME},
            "description": "Names of one group stand for different values.",
        },
        "rising": {
            "type": "array",
            "items": chain,
            "description": "The integers that these names stand for rise strictly; a number stands for itself.",
        },
        "steps": {"type": "array", "items": {"anyOf": [call, reopen]}, "minItems": 1, "description": "The run, on a fresh store."},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "leasehold conformance vector",
        **_closed("A run with the answers that the contract allows.", members),
        "$defs": {"expect": _expect(), "pattern": _pattern()},
    }


def page() -> str:
    """The file."""
    return laid_out(vector_schema())
