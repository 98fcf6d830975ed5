"""As much of EDN (edn-format.org) as histories use: values to Python's, keywords to tags; tags before values are passed over."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from typing import Any

from attrs import define, field

from leasehold.logs.lines import Tag, hashable

_TOKEN = re.compile(
    r"""(?P<space>(?:[\s,]+|;[^\n]*)+)
    |(?P<open>\#\{|[\[({])
    |(?P<close>[\])}])
    |(?P<text>"(?:[^"\\]|\\.)*")
    |(?P<discard>\#_)
    |(?P<tag>\#[A-Za-z][\w.$*+!?<>=/-]*)
    |(?P<number>[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?[NM]?(?=[\s,;\])}"]|$))
    |(?P<keyword>:[^\s,;()\[\]{}"]+)
    |(?P<word>\\?[^\s,;()\[\]{}"\#]+)""",
    re.VERBOSE | re.DOTALL,
)
_CLOSING = {"[": "]", "(": ")", "{": "}", "#{": "}"}
_WORDS: dict[str, Any] = {"nil": None, "true": True, "false": False}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


class EdnError(Exception):
    """It is no EDN. ``line`` counts from 1."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


@define
class _Open:
    """A collection that is still being read. ``discards``: how many of the values to come are none."""

    bracket: str
    line: int
    values: list[Any] = field(factory=list)
    discards: int = 0

    def add(self, value: Any) -> None:
        """One more value, unless it is discarded."""
        if self.discards:
            self.discards -= 1
        else:
            self.values.append(value)


def forms(text: str, *, inside: bool = True) -> Iterator[tuple[int, Any]]:
    """Each value of a text with its line; ``inside``: for a vector or list, each of the values in it."""
    stack = [_Open("", 1)]
    line, at = 1, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise EdnError(line, f"{text[at : at + 20].splitlines()[0]!r} is no EDN")
        token, kind, at = match[0], match.lastgroup, match.end()
        begun = line
        line += token.count("\n")
        if kind == "open":
            stack.append(_Open(token, begun))
        elif kind == "discard":
            stack[-1].discards += 1
        elif kind == "close":
            top = stack.pop()
            if _CLOSING.get(top.bracket) != token:
                raise EdnError(line, f"{token} closes nothing" if not stack else f"{token} where {top.bracket} is open")
            if not (inside and len(stack) == 1 and top.bracket in "[("):
                stack[-1].add(_collected(top))
            begun = top.line
        elif kind not in {"space", "tag"}:
            stack[-1].add(_scalar(kind, token))
        outer = stack[1] if inside and len(stack) == 2 and stack[1].bracket in "[(" else stack[0]
        if outer.values:
            yield begun, outer.values.pop()
    if len(stack) > 1:
        raise EdnError(stack[-1].line, f"{stack[-1].bracket} is not closed")


def value_of(text: str) -> Any:
    """The one value of a text, vectors as lists. Raises `EdnError`."""
    values = [value for _, value in forms(text, inside=False)]
    if len(values) != 1:
        raise EdnError(1, f"{text!r} is {len(values)} values, not one")
    return values[0]


def _collected(top: _Open) -> Any:
    if top.bracket in "[(":
        return top.values
    if top.bracket == "#{":
        return frozenset(map(hashable, top.values))
    if len(top.values) % 2:
        raise EdnError(top.line, "a map with a key that has no value")
    keys: list[Hashable] = [hashable(key) for key in top.values[::2]]
    return dict(zip(keys, top.values[1::2], strict=True))


def _scalar(kind: str | None, token: str) -> Any:
    match kind:
        case "text":
            return re.sub(r"\\(u[0-9a-fA-F]{4}|.)", _unescaped, token[1:-1], flags=re.DOTALL)
        case "number":
            plain = token.rstrip("NM")
            return int(plain) if re.fullmatch(r"[+-]?\d+", plain) else float(plain)
        case "word" if token in _WORDS:
            return _WORDS[token]
        case _:
            return Tag(token)


def _unescaped(match: re.Match[str]) -> str:
    one = match[1]
    return chr(int(one[1:], 16)) if len(one) == 5 else _ESCAPES.get(one, one)
