"""The statements by name: the code and the file name the same ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from leasehold.stores import sqlite
from leasehold.stores._statements import load_statements, parse_statements


def difference(code: str, names: set[str]) -> set[str]:
    """Names that only one of the two has."""
    return names ^ set(re.findall(r'_SQL\["(\w+)"\]', code))


def test_every_statement_is_used_and_every_used_one_is_there() -> None:
    assert difference(Path(sqlite.__file__).read_text("utf-8"), set(load_statements("sqlite.sql"))) == set()


def test_twin_a_name_too_many_on_either_side_is_noticed() -> None:
    assert difference('_SQL["a"] _SQL["b"]', {"a"}) == {"b"}
    assert difference('_SQL["a"]', {"a", "b"}) == {"b"}


def test_blocks_are_told_apart_by_their_name_lines() -> None:
    assert parse_statements("prose\n-- name: a\nSELECT 1 -- name: not here\n\n-- name: b\nSELECT 2;\n") == {
        "a": "SELECT 1 -- name: not here",
        "b": "SELECT 2;",
    }


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="named twice"):
        parse_statements("-- name: a\nSELECT 1\n-- name: a\nSELECT 2\n")
