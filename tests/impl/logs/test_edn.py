"""Reading EDN, as far as histories go."""

from __future__ import annotations

import re
from typing import Any

import pytest

from leasehold.logs.edn import EdnError, forms, value_of
from leasehold.logs.lines import Tag


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("nil", None),
        ("true", True),
        ("-12", -12),
        ("12N", 12),
        ("1.5e3", 1500.0),
        (":ok", Tag(":ok")),
        (":a/b.c-d?", Tag(":a/b.c-d?")),
        ("word", Tag("word")),
        ("\\a", Tag("\\a")),
        ('"a\\n\\"\\u00e4\\\\"', 'a\n"ä\\'),
        ('":no keyword; no comment"', ":no keyword; no comment"),
        ("[1, [2 (3)] nil]", [1, [2, [3]], None]),
        ("{:a 1, :b {:c [2]}}", {Tag(":a"): 1, Tag(":b"): {Tag(":c"): [2]}}),
        ("#{1 2}", frozenset({1, 2})),
        ("#{[1] {:a 2}}", frozenset({(1,), frozenset({(Tag(":a"), 2)})})),
        ('#inst "2020-01-01"', "2020-01-01"),
        ("#jepsen.history.Op{:index 0}", {Tag(":index"): 0}),
        ("[1 #_ [2 3] 4 ; five\n 6]", [1, 4, 6]),
        ("[#_ #_ 1 2 3]", [3]),
    ],
)
def test_values(text: str, value: Any) -> None:
    assert value_of(text) == value


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("; nothing\n", []),
        ("1\n2", [(1, 1), (2, 2)]),
        ("{:a 1}\n\n{:a\n 2}", [(1, {Tag(":a"): 1}), (3, {Tag(":a"): 2})]),
        ("[{:a 1}\n {:a 2}\n]\n", [(1, {Tag(":a"): 1}), (2, {Tag(":a"): 2})]),
        ("({:a 1})", [(1, {Tag(":a"): 1})]),
        ("[1 [2]]", [(1, 1), (1, [2])]),
    ],
)
def test_the_values_of_a_text_with_their_lines(text: str, found: list[Any]) -> None:
    assert list(forms(text)) == found


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("[1\n2", 1, "is not closed"),
        ("1\n{:a [}", 2, "} where [ is open"),
        ("1\n]", 2, "closes nothing"),
        ("\n{:a}", 2, "no value"),
        ('"never ends', 1, "is no EDN"),
    ],
)
def test_what_is_no_edn(text: str, line: int, says: str) -> None:
    with pytest.raises(EdnError, match=re.escape(says)) as caught:
        list(forms(text))
    assert caught.value.line == line


def test_more_or_less_than_one_value() -> None:
    for text in ("", "1 2"):
        with pytest.raises(EdnError, match="not one"):
            value_of(text)


def test_a_deep_value_needs_no_recursion() -> None:
    deep = value_of("[" * 5000 + "]" * 5000)
    for _ in range(4999):
        (deep,) = deep
    assert deep == []
