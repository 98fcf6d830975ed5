"""The JSON Schema of a case file, specs/case.schema.json, made from the model's commands."""

from __future__ import annotations

from typing import Any, get_args, get_origin, get_type_hints

import attrs

from leasehold.case import COMMANDS, FORMAT, Kind, laid_out
from leasehold.store import OPERATIONS
from leasehold_model.policy import POINTS, SEED
from leasehold_model.requirements import REQUIREMENTS

Json = dict[str, Any]


def _text(description: str, **more: Any) -> Json:
    return {"type": "string", "description": description, **more}


def _object(description: str, required: list[str], properties: Json, *, closed: bool = True) -> Json:
    return {
        "type": "object",
        "description": description,
        "required": required,
        "properties": properties,
        **({"additionalProperties": False} if closed else {}),
    }


def _of(kind: Any) -> Json:
    """The schema of a member of a command: a number, a flag, a record or an array."""
    if hasattr(kind, "__supertype__"):
        return {"type": "integer", "title": kind.__name__}
    if get_origin(kind) is tuple:
        return {"type": "array", "items": _of(get_args(kind)[0])}
    if attrs.has(kind):
        return _record(kind)
    return {"type": "boolean" if kind is bool else "integer"}


def _record(kind: Any, **tag: Json) -> Json:
    hints = get_type_hints(kind)
    members = tag | {one.name: _of(hints[one.name]) for one in attrs.fields(kind)}
    return _object(str(kind.__doc__), list(members), members)


def case_schema() -> Json:
    """The schema."""
    rules = [one.id for one in REQUIREMENTS]
    step = {
        "at": {"type": "integer", "description": "The store's time, in milliseconds since the epoch. It never goes back."},
        "handle": {
            "type": "integer",
            "minimum": 0,
            "description": "Which handle is used: 0 made the store, others were opened on it.",
        },
        "command": {
            "description": "What happens, in the model's numbers. This alone runs again. 0: not given; negative ids: forged.",
            "oneOf": [_record(kind, type={"const": tag}) for tag, kind in sorted(COMMANDS.items())],
        },
        "op": {"description": "For people: the operation, or reopen.", "enum": [*OPERATIONS, "reopen", *sorted(COMMANDS)]},
        "args": {"description": "For people: its arguments as on the wire, null members left out; null: they cannot be told."},
        "answer": {"description": "For people: the store's answer: ok, err, raised, hung, skip, unknown or misshapen; null: none."},
    }
    mismatch = {
        "step": {"type": "integer", "minimum": 1, "description": "The step, counted from 1, that was answered wrongly: the last."},
        "rule": _text("The rule of the answer itself; the case's requirement is what was at fault.", enum=rules),
        "where": _text("The place in the answer."),
        "allowed": _text("What the model allows there."),
        "given": _text("What the store gave."),
    }
    capabilities = _object(
        "What the store declared, as in the protocol's hello, but with the operations that it did not offer.",
        [],
        {
            "tier": {"enum": ["inline", "durable"]},
            "manifest": {"enum": ["persistent", "noop"]},
            "clock": {"enum": ["virtual", "real"]},
            "handles": {"type": "integer", "minimum": 1},
            "max_integer": {"type": "integer"},
            "not_offered": {"type": "array", "items": {"enum": list(OPERATIONS)}},
        },
        closed=False,
    )
    members: Json = {
        "format": {"const": FORMAT, "description": "The form of the file. Readers refuse one that they do not know."},
        "leasehold": _text("The version that wrote the file."),
        "edition": {"const": SEED.name, "description": "The edition of the contract."},
        "requirement": _text("The rule that was broken.", enum=rules),
        "statement": _text("That rule in words."),
        "also": {"type": "array", "items": {"enum": rules}, "description": "Other rules that were broken with it."},
        "message": _text("The finding in a sentence."),
        "kind": {
            "enum": list(get_args(Kind)),
            "description": "run: the steps show it. race: two handles at once, looked for anew. tier: another tier is reported.",
        },
        "target": _text("The store it was found in, as on the command line; liar:NAME is one of tests/liars."),
        "capabilities": capabilities,
        "policies": _object(
            "The options that the store took, where they are not those that the edition recommends.",
            [],
            {point.id: {"enum": list(point.options), "description": point.question} for point in POINTS},
        ),
        "manifest": {"enum": ["persistent", "noop"], "description": "noop: the store declared a no-op manifest (ATTACH-5)."},
        "steps": {"type": "array", "items": _object("One step.", ["at", "handle", "command"], step), "description": "The run."},
        "mismatch": {"oneOf": [{"type": "null"}, _object("What was wrong.", list(mismatch), mismatch)]},
    }
    required = ["format", "requirement", "kind", "policies", "manifest", "steps"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "leasehold case",
        **_object("A broken rule and the shortest run that shows it.", required, members),
    }


def page() -> str:
    """The file."""
    return laid_out(case_schema())
