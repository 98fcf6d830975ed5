"""Every liar and oddity as a factory with a name, for ``python:tests.liars.served:NAME`` (dashes are underscores)."""

from __future__ import annotations

from tests.liars.catching import EVERY, EVERY_ODDITY
from tests.liars.patching import Factory


def __getattr__(name: str) -> Factory:
    for one in EVERY:
        if one.name.replace("-", "_") == name:
            return one.factory()
    for other in EVERY_ODDITY:
        if other.name.replace("-", "_") == name:
            return other.factory
    raise AttributeError(name)
