"""A right store's source with one fragment replaced, executed as a module of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from attrs import frozen

from leasehold.store import Clock
from leasehold.stores._statements import parse_statements

File = Literal["memory.py", "sqlite.py", "sqlite.sql", "_common.py"]
Factory = Callable[[Clock], Any]


@frozen
class Patch:
    """In this file ``old``, which has to occur exactly once, becomes ``new``."""

    file: File
    old: str
    new: str


def source(file: File, patches: tuple[Patch, ...] = ()) -> str:
    """A file of the stores, patched. A fragment that does not occur exactly once is an error: no liar is right unnoticed."""
    text = files("leasehold.stores").joinpath(file).read_text("utf-8")
    for patch in patches:
        if patch.file != file:
            continue
        if text.count(patch.old) != 1:
            raise LookupError(f"{file}: the fragment occurs {text.count(patch.old)} times, and not once: {patch.old!r}")
        text = text.replace(patch.old, patch.new)
    return text


def patched_module(name: str, store: Literal["memory", "sqlite"], patches: tuple[Patch, ...]) -> ModuleType:
    """The store's module with these patches. Nothing that is imported elsewhere changes."""
    file: File = "memory.py" if store == "memory" else "sqlite.py"
    own = {file, "_common.py"} | ({"sqlite.sql"} if store == "sqlite" else set())
    stray = [patch.file for patch in patches if patch.file not in own]
    if stray:
        raise LookupError(f"{name}: {stray} is not part of the {store} store")
    module = _executed(f"{__name__}.{name}", source(file, patches))
    if any(patch.file == "_common.py" for patch in patches):
        common = _executed(f"{__name__}.{name}_common", source("_common.py", patches))
        vars(module).update({key: value for key, value in vars(common).items() if key in vars(module) and key[:2] != "__"})
    if any(patch.file == "sqlite.sql" for patch in patches):
        vars(module)["_SQL"] = parse_statements(source("sqlite.sql", patches))
    return module


def _executed(name: str, text: str) -> ModuleType:
    module = ModuleType(name)
    exec(compile(text, name, "exec"), vars(module))
    return module


def patched(name: str, store: Literal["memory", "sqlite"], patches: tuple[Patch, ...]) -> Factory:
    """A factory of patched stores."""
    module = patched_module(name, store, patches)
    return module.MemoryStore if store == "memory" else in_a_folder(module.SqliteStore)


def in_a_folder(store_class: Any) -> Factory:
    """A factory of SQLite stores: each has a folder of its own, which goes when the store is dropped.

    They are quick: a new file is a copy of an empty one, and nothing waits for the disk, since no run pulls the plug.
    """

    def __init__(store: Any, *args: Any, **named: Any) -> None:  # noqa: N807 - it becomes a method
        store_class.__init__(store, *args, **named)
        store._file.cursor.execute("PRAGMA synchronous = OFF")

    quick = type(store_class.__name__, (store_class,), {"__init__": __init__})
    empty: list[bytes] = []

    def factory(clock: Clock) -> Any:
        folder = tempfile.mkdtemp(prefix="leasehold-liar-")
        path = Path(folder) / "store.db"
        if not empty:
            quick(path, clock=clock).close()
            empty.append(path.read_bytes())
        path.write_bytes(empty[0])
        store = quick(path, clock=clock)
        store.drop = lambda: shutil.rmtree(folder, ignore_errors=True)
        return store

    return factory
