"""The JSON Schema of a case file, specs/case.schema.json, made from the model's commands."""

from __future__ import annotations

from typing import Any, get_args, get_origin, get_type_hints

import attrs

from leasehold.case import COMMANDS, FORMAT, Kind, laid_out
from leasehold.store import OPERATIONS
from leasehold_model.policy import POINTS, SEED
from leasehold_model.requirements import REQUIREMENTS

Json = dict[str, Any]

_COMMAND: Json = {"$ref": "#/$defs/command"}


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


def _race(told: Json, rules: list[str]) -> Json:
    """What clients did at once."""
    number = {"type": "integer", "minimum": 0}
    turns = {
        "order": {"type": "array", "items": number, "description": "The clients, in the order in which they have their turns."},
        "changes": {
            "type": "array",
            "items": {"type": "integer"},
            "description": "The points at which the next has its turn.",
        },
        "fine": {"type": "boolean", "description": "A point is an opcode of the store's code. false: a line of it."},
    }
    refused = {
        "rule": {"enum": rules},
        "allowed": _text("What the model allows after the calls that are explained."),
        "given": _text("What the store gave."),
    }
    call = {
        "call": _text("Its letter."),
        "client": number,
        "start": {**number, "description": "Its start and its return, counted among all starts and returns."},
        "end": {"type": ["integer", "null"], "description": "null: it had not returned."},
        **told,
        "explained": {"type": ["integer", "null"], "description": "Its place in the order that the model can explain; null: none."},
        "refused": {"oneOf": [{"type": "null"}, _object("Why it cannot come next.", list(refused), refused)]},
    }
    members: Json = {
        "name": _text("What is raced for."),
        "clients": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "array", "minItems": 1, "items": _COMMAND},
            "description": "The commands of each client, in the model's numbers; these run again. A handle each.",
        },
        "schedule": {"oneOf": [{"type": "null"}, _object("Who went on when; null: free threads.", list(turns), turns)]},
        "kill": {
            "type": "integer",
            "minimum": 1,
            "description": "The adapter is killed about so many microseconds after the first calls were sent, and started again.",
        },
        "stopped": {"type": "array", "items": {"type": "string"}, "description": "For people: where the changes were."},
        "calls": {"type": "array", "items": _object("For people: a call.", list(call), call), "description": "Those that show it."},
    }
    return _object("What clients did at once after the steps.", ["name", "clients"], members)


def case_schema() -> Json:
    """The schema."""
    rules = [one.id for one in REQUIREMENTS]
    command = {
        "description": "What happens, in the model's numbers. This alone runs again. 0: not given; negative ids: forged.",
        "oneOf": [_record(kind, type={"const": tag}) for tag, kind in sorted(COMMANDS.items())],
    }
    step = {
        "at": {"type": "integer", "description": "The store's time, in milliseconds since the epoch. It never goes back."},
        "handle": {
            "type": "integer",
            "minimum": 0,
            "description": "Which handle is used: 0 made the store, others were opened on it.",
        },
        "command": _COMMAND,
        "kill": {
            "type": "integer",
            "description": "Where the process that holds the store was killed and started again on its data. n: at the call's n-th "
            "point; -1: right after the answer. -1000000 and less: its database server was, so many microseconds after the call "
            "was sent; -2000000 and less: the connections to it were ended. Left out: nowhere.",
        },
        "fault": {"type": "string", "description": "For people: the same in words."},
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
            "description": "run: the steps show it. race: clients at once, after the steps; where race is left out: those that "
            "claim a lane which was never claimed. tier: another tier is reported. power: after a power loss, looked for anew.",
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
        "race": _race({name: step[name] for name in ("op", "args", "answer")}, rules),
    }
    required = ["format", "requirement", "kind", "policies", "manifest", "steps"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "leasehold case",
        **_object("A broken rule and the shortest run that shows it.", required, members),
        "$defs": {"command": command},
    }


def page() -> str:
    """The file."""
    return laid_out(case_schema())
