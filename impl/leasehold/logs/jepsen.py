"""Jepsen's histories: EDN maps, one after the other or in one vector, and the lines that its logs have for the same.

``:invoke`` begins a call; ``:ok`` ends it; after ``:fail`` it did not happen; after ``:info``, or nothing, it may yet, at any time.
The order of the lines is the only time there is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import define, field

from leasehold.logs.edn import EdnError, forms, value_of
from leasehold.logs.lines import Line, Log, LogError, Outcome, Tag, hashable

FORM = "jepsen"

_LOGGED = re.compile(r".*?\s(\S+)\s+:(invoke|ok|fail|info)\s+:(\S+)\s+(\S.*?)\s*$")
_NAMES = {"get": "read", "put": "write", "lock": "acquire", "unlock": "release"}
_OUTCOMES: dict[str, Outcome] = {"ok": "ok", "fail": "err", "info": "unknown"}
_TEXTS = frozenset({"get", "put", "append"})
"""Operations of a key-value store of texts, where what was never written is empty."""


def read_jepsen(path: Path, text: str) -> Log:
    """Read it. Raises `LogError`."""
    first = text.lstrip(" \t\r\n,")[:1]
    history = _History(path)
    if first in "[({#;":
        try:
            for number, value in forms(text):
                history.add_map(number, value)
        except EdnError as error:
            raise LogError(path, error.line, f"{error}. A history is EDN maps, one after the other or in one vector.") from None
    else:
        for number, line in enumerate(text.split("\n"), start=1):
            history.add_logged(number, line)
    return history.log()


@define
class _Invoked:
    number: int
    at: int
    op: str
    value: Any
    key: Any


@define
class _History:
    """Pairs what was invoked with what came of it."""

    path: Path
    lines: list[Line] = field(factory=list)
    open_now: dict[str, _Invoked] = field(factory=dict)
    names: Counter[str] = field(factory=Counter)
    at: int = 0
    skipped: int = 0

    def add_map(self, number: int, value: Any) -> None:
        """One map of an EDN history."""
        if not isinstance(value, dict):
            raise LogError(self.path, number, f"{value!r} stands where a map {{:process ..., :type ..., :f ...}} should.")
        members = {key.text[1:]: one for key, one in value.items() if isinstance(key, Tag)}
        missing = [f":{name}" for name in ("process", "type", "f") if name not in members]
        if missing:
            raise LogError(self.path, number, f"an operation without {' and '.join(missing)}.")
        process, kind, op = members["process"], _name(members["type"]), _name(members["f"])
        self._add(number, process, kind, op, members.get("value"), hashable(members.get("key")))

    def add_logged(self, number: int, line: str) -> None:
        """One line of a log; most logs have others too."""
        match = _LOGGED.match(line)
        if match is None:
            self.skipped += bool(line.strip())
            return
        try:
            process, value = value_of(match[1]), value_of(match[4].split("\t")[0])
        except EdnError as error:
            raise LogError(self.path, number, f"{error}. A line is PROCESS :TYPE :OPERATION VALUE.") from None
        self._add(number, process, match[2], match[3], value, None)

    def _add(self, number: int, process: Any, kind: str, op: str, value: Any, key: Any) -> None:
        if isinstance(process, bool) or not isinstance(process, int):
            return  # the nemesis, who is no client
        client, self.at = str(process), self.at + 1
        begun = self.open_now.get(client)
        if kind == "invoke":
            if begun is not None:
                what = f"process {client} invokes :{op}, but its :{begun.op} of line {begun.number} has not come back"
                raise LogError(self.path, number, f"{what}. A process makes one call at a time; name two clients differently.")
            self.names[op] += 1
            self.open_now[client] = _Invoked(number, self.at, op, value, key)
            return
        if kind not in _OUTCOMES:
            raise LogError(self.path, number, f":{kind} is no type. There are :invoke, :ok, :fail and :info.")
        if begun is None or begun.op != op:
            known = "nothing" if begun is None else f":{begun.op}, in line {begun.number}"
            raise LogError(self.path, number, f":{kind} of :{op}, but process {client} has invoked {known}. Is the log whole?")
        del self.open_now[client]
        self._end(client, begun, _OUTCOMES[kind], value)

    def _end(self, client: str, begun: _Invoked, outcome: Outcome, value: Any) -> None:
        op = _NAMES.get(begun.op, begun.op)
        answer = (value if op == "read" else True) if outcome == "ok" else None
        args = () if op in {"read", "acquire", "release"} else begun.value if op == "cas" else (begun.value,)
        self.lines.append(
            Line(
                number=begun.number,
                client=client,
                start=begun.at,
                end=None if outcome == "unknown" else self.at,
                op=op,
                outcome=outcome,
                value=answer,
                args=args,
                key=begun.key,
                paired=begun.key is None,
            )
        )

    def log(self) -> Log:
        """The whole, when all has been added."""
        for client, begun in self.open_now.items():
            self._end(client, begun, "unknown", None)
        self.lines.sort(key=lambda line: line.start)
        initial = ("",) if self.names and set(self.names) <= _TEXTS else ()
        return Log(path=self.path, form=FORM, lines=self.lines, initial=initial, skipped=self.skipped)


def _name(value: Any) -> str:
    return value.text.lstrip(":") if isinstance(value, Tag) else str(value)


def looks_like(lines: Iterator[str]) -> bool:
    """Could these be lines of such a history?"""
    return any(_LOGGED.match(line) or re.match(r"\s*[\[(]*\s*(#[\w.]+\s*)?\{\s*:", line) for line in lines)
