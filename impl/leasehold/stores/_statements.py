"""Statements by name: each file has blocks that start with a line ``-- name: xyz``."""

from __future__ import annotations

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def parse_statements(text: str) -> dict[str, str]:
    """The blocks of a text by name. What stands before the first name is prose."""
    _, *blocks = _NAME.split(text)
    names, bodies = blocks[0::2], blocks[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"a statement is named twice: {sorted(names)}")
    return {name: body.strip() for name, body in zip(names, bodies, strict=True)}


def load_statements(file_name: str) -> dict[str, str]:
    """The statements of a file beside this one."""
    return parse_statements(files("leasehold.stores").joinpath(file_name).read_text("utf-8"))
