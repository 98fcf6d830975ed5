"""Times as they are written in options."""

from __future__ import annotations

import re

_FORM = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)?")
_UNITS = {None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """The seconds of 20s, 5m, 1h, or a number of seconds. Raises `ValueError`."""
    match = _FORM.fullmatch(text)
    number = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if number <= 0:
        raise ValueError(f"{text!r} is no time above 0. Write 20s, 5m, or a number of seconds.")
    return number
