"""The regression corpus: the cases that come with leasehold, one for each known way to be wrong.

Every check replays them before anything else. A case is only a run here: the store's own policies say what is right in it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from leasehold.case import load
from leasehold.oracle.run import Run
from leasehold.specs import directory


def files() -> tuple[Path, ...]:
    """The case files, by name."""
    return tuple(sorted((directory() / "cases").glob("*.json")))


@cache
def runs() -> tuple[Run, ...]:
    """The runs of the corpus, each once, the shortest first."""
    return tuple(sorted(dict.fromkeys(run for run in (load(path).steps for path in files()) if run), key=len))
