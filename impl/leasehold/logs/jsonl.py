"""Our own form: one call a line, as specs/history.schema.json has it. docs/verify.md says what each member means."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

from leasehold.logs.lines import Line, Log, LogError, Outcome, hashable
from leasehold.specs import directory

FORM = "jsonl"


@cache
def _schema() -> Any:
    return json.loads((directory() / "history.schema.json").read_text("utf-8"))


@cache
def _validator(definition: str) -> Any:
    known = _schema()
    return jsonschema_rs.validator_for({"$schema": known["$schema"], "$defs": known["$defs"], "$ref": f"#/$defs/{definition}"})


def read_jsonl(path: Path, text: str) -> Log:
    """Read it. Raises `LogError`."""
    header: dict[str, Any] = {}
    lines: list[Line] = []
    for number, one in enumerate(text.split("\n"), start=1):
        if not one.strip():
            continue
        try:
            value = json.loads(one)
        except ValueError as error:
            raise LogError(path, number, f"no JSON ({error}). Each line has to be one JSON object.") from None
        if isinstance(value, dict) and "history" in value:
            if lines or header:
                raise LogError(path, number, '"history" stands in the first line only. Take it out, or split the file here.')
            _check(path, number, "header", value)
            header = value
        else:
            _check(path, number, "call", value)
            lines.append(_line(path, number, value))
    return Log(
        path=path,
        form=FORM,
        lines=lines,
        model=header.get("model"),
        initial=(header["initial"],) if "initial" in header else (),
        gaps=_gaps(path, header),
    )


def _check(path: Path, number: int, definition: str, value: Any) -> None:
    error = next(_validator(definition).iter_errors(value), None)
    if error is None:
        return
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path).lstrip(".")
    said = str(error.message)
    if list(error.schema_path)[-1] == "oneOf":
        said = 'a call has exactly one of "ok" (its answer), "err" (a definite refusal) and "unknown" (its answer was lost)'
    raise LogError(path, number, f"{where}: {said}" if where else f"{said}. See docs/verify.md for what a line holds.")


def _line(path: Path, number: int, value: dict[str, Any]) -> Line:
    outcome: Outcome = "ok" if "ok" in value else "err" if "err" in value else "unknown"
    end = value.get("by") if outcome == "unknown" else value["end"]
    if end is None and outcome != "unknown":
        raise LogError(path, number, 'an answer, but no "end". Write when it came, or "unknown" instead of the answer.')
    if end is not None and end < value["start"]:
        raise LogError(path, number, f"it ends at {end}, before its start at {value['start']}. Times have to be of one clock.")
    return Line(
        number=number,
        client=str(value["client"]),
        start=value["start"],
        end=end,
        op=value["op"],
        outcome=outcome,
        value=value.get(outcome),
        args=value.get("args", ()),
        key=hashable(value.get("key")),
        now=_now(value.get("now_ms")),
    )


def _now(value: int | list[int] | None) -> tuple[int, int] | None:
    return None if value is None else (value, value) if isinstance(value, int) else (value[0], value[1])


def _gaps(path: Path, header: dict[str, Any]) -> list[tuple[int, int]]:
    gaps = sorted((first, last) for first, last in header.get("gaps", ()))
    for first, last in gaps:
        if last < first:
            raise LogError(path, 1, f"a gap from {first} to {last}, which is earlier. Write [from, to].")
    return gaps
