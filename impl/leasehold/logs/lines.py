"""What every form of log is read into."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen

Outcome = Literal["ok", "err", "unknown"]


class LogError(Exception):
    """A log that cannot be read. The message says where, what, and what to do."""

    def __init__(self, path: Path, line: int, what: str) -> None:
        super().__init__(f"{path}:{line}: {what}")


@frozen(kw_only=True)
class Line:
    """A call as it was recorded. ``number``: of the line of the file. ``end`` None: it did not return, or nobody knows when.

    ``paired``: if there are several objects, its value is a pair of key and value. ``now``: between which times of the
    store's clock, in milliseconds, it took effect.

    Outcome "ok": answered with ``value``. "err": refused for certain. "unknown": took effect once (by ``end``, if known) or never.
    """

    number: int
    client: str
    start: int
    end: int | None
    op: str
    outcome: Outcome
    value: Any = None
    args: Any = ()
    key: Hashable = None
    paired: bool = False
    now: tuple[int, int] | None = None


@frozen(kw_only=True)
class Log:
    """A log as read. ``model`` and ``initial`` as it declares them; None and nothing if it does not. ``gaps`` in order."""

    path: Path
    form: str
    lines: list[Line]
    model: str | None = None
    initial: tuple[Any, ...] = ()
    gaps: list[tuple[int, int]] = field(factory=list)
    skipped: int = 0


@frozen
class Tag:
    """A value that equals no number and no text: true, false, a keyword."""

    text: str


def hashable(value: Any) -> Hashable:
    """A value as it stands in a state, such that different values differ: in Python 1 equals true."""
    match value:
        case bool():
            return Tag("true" if value else "false")
        case None | str() | int() | float() | Tag():
            return value
        case list() | tuple():
            return tuple(hashable(one) for one in value)
        case Mapping():
            return frozenset((hashable(key), hashable(one)) for key, one in value.items())
        case AbstractSet():
            return frozenset(hashable(one) for one in value)
        case _:
            known: Hashable = value
            return known


def shown(value: Any) -> str:
    """A value for people, in a short line."""
    match value:
        case None:
            return "nothing"
        case Tag(text):
            return text
        case str():
            text = json.dumps(value, ensure_ascii=False)
        case tuple() | list():
            text = f"[{', '.join(map(shown, value))}]"
        case _:
            text = str(value)
    return text if len(text) <= 60 else f"{text[:25]} ... {text[-25:]}"
