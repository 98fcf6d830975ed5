"""Targets: what stands on the command line for the store under test, and the door that it opens.

A target that is written wrongly, or names something that is not there, is a `TargetError`: the user's to mend. A factory that
raises, or a store that cannot be opened, is a `BrokenTarget`. Either message says what, where, and what to do.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import itertools
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from leasehold.oracle.answers import BrokenTarget, Door
from leasehold.oracle.kill import KillDoor, ProcessesDoor
from leasehold.oracle.python_door import Factory, PythonDoor, brief, declared
from leasehold.store import Capabilities, Clock, VirtualClock
from leasehold.stores._turns import SUFFIXES
from leasehold.stores.memory import MemoryStore
from leasehold.stores.sqlite import SqliteStore
from leasehold.wire.client import WireDoor

DATA = "LEASEHOLD_DATA"
"""The environment variable with the directory for the data of a store that outlives its process."""

DEADLINE = 3.0
"""Seconds that one call of a store in this process may take, unless the user says otherwise."""

REPLY_DEADLINE = 30.0
"""Seconds that an adapter program may take for one reply, unless the user says otherwise."""

FORMS = """\
  memory                        our store in memory
  sqlite, sqlite:PATH           our SQLite store, in temporary files of its own, or in such files beside PATH
  postgres, postgres:DSN        our PostgreSQL store, on a private server, or in a schema of its own in that database
  python:pkg.module:factory     yours: factory(clock) opens a fresh store
  cmd:"CMD ARG...", -- CMD ARG  an adapter program that speaks the protocol on stdin and stdout"""


class TargetError(Exception):
    """The target is written wrongly, or names what does not exist."""


@contextlib.contextmanager
def open_target(text: str, deadline: float | None = None) -> Iterator[Door]:
    """The door to the target. While it is open, calls of more than ``deadline`` seconds are interrupted. All it made goes with it.

    Raises `TargetError` or `BrokenTarget`.
    """
    with contextlib.ExitStack() as stack:
        if text.startswith("cmd:"):
            adapter = WireDoor(_words(text), text, deadline or REPLY_DEADLINE)
            stack.callback(adapter.shut)
            yield adapter
            return
        factory = _factory(text, stack)
        door = PythonDoor(factory, text, deadline or DEADLINE)
        stack.callback(door.close)
        stack.enter_context(door.alarm())
        door.not_killed = why_not_killed(text, door.capabilities)
        if not door.not_killed:
            elsewhere, faults = getattr(factory, "elsewhere", (text, {}))
            door.killable = lambda: KillDoor(text, door.capabilities, door.deadline, elsewhere, faults)
            if text.partition(":")[0] in {"sqlite", "postgres"}:
                door.processes = lambda: ProcessesDoor(text, door.capabilities, door.deadline, elsewhere)
        if text.partition(":")[0] == "sqlite":
            door.at_place = lambda place, clock: SqliteStore(place / "store.db", clock=clock)
        yield door


@contextlib.contextmanager
def open_factory(text: str) -> Iterator[Factory]:
    """The factory of a target that is a Python object in this process. Raises `TargetError` or `BrokenTarget`."""
    with contextlib.ExitStack() as stack:
        yield _factory(text, stack)


def at_place(text: str, place: Path) -> Factory:
    """A factory that opens the store whose data is at a place, a directory, and makes it if there is none.

    For targets that `why_not_killed` has nothing against. A store of the user's finds the place in LEASEHOLD_DATA.
    """
    kind, _, rest = text.partition(":")
    if kind == "sqlite":
        return lambda clock: _at(place, clock)
    if kind == "postgres":
        from leasehold.postgres_target import at_label  # noqa: PLC0415 - psycopg is only needed for this

        return at_label(rest, f"{place.parent.name}/{place.name}")
    os.environ[DATA] = str(place)
    return _imported(text, rest)


def place_of(text: str, factory: Factory) -> Callable[[str], Factory] | None:
    """How an adapter program that is started anew finds the store of a label: below LEASEHOLD_DATA. None: it cannot."""
    root = os.environ.get(DATA)
    store = factory(VirtualClock(0))
    capabilities = declared(store)
    for end in ("close", "drop"):
        getattr(store, end, lambda: None)()
    if not root or why_not_killed(text, capabilities) or text.startswith("postgres"):  # whose schema goes with its process
        return None

    def opened(label: str) -> Factory:
        place = Path(root) / label
        place.mkdir(exist_ok=True)
        return at_place(text, place)

    return opened


def _at(place: Path, clock: Clock) -> SqliteStore:
    """The file in a directory; a new one is a copy of an empty store beside it."""
    path, empty = place / "store.db", place.parent / "empty.db"
    if not path.exists():
        if not empty.exists():
            SqliteStore(empty, clock=clock).close()
        shutil.copyfile(empty, path)
    return _Temporary(str(path), clock=clock)


def import_early(text: str) -> None:
    """Import what opening the target's stores will need. What goes wrong shows when they are opened."""
    kind, _, rest = text.partition(":")
    with contextlib.suppress(Exception):
        if kind == "postgres":
            importlib.import_module("leasehold.postgres_target")
        elif kind == "python":
            _imported(text, rest)


def why_not_killed(text: str, capabilities: Capabilities) -> str:
    """Why a target's store cannot be opened again by another process once this one was killed; empty: it can."""
    kind, _, _ = text.partition(":")
    if kind in {"sqlite", "postgres"} or (kind == "python" and capabilities.kill):
        return ""
    if capabilities.tier != "durable":
        return "the store does not outlive its process"
    return (
        "the store does not declare kill"
        if kind in {"python", "cmd"}
        else "only a target that is named can be opened by another process"
    )


def _words(text: str) -> list[str]:
    """The command line of an adapter program."""
    try:
        words = shlex.split(text.removeprefix("cmd:"))
    except ValueError as error:
        raise TargetError(f"target {text!r}: the command cannot be split into words: {error}") from error
    if not words:
        raise TargetError(f'target {text!r}: it names no command, as in cmd:"./adapter --data DIR"')
    return words


def _factory(text: str, stack: contextlib.ExitStack) -> Factory:
    kind, colon, rest = text.partition(":")
    if text == "memory":
        return MemoryStore
    if kind == "sqlite" and (rest or not colon):
        return _sqlite(text, rest, stack)
    if kind == "postgres" and (rest or not colon):
        return _postgres(text, rest, stack)
    if kind == "python":
        return _placed(_imported(text, rest), stack)
    near = difflib.get_close_matches(kind, ("memory", "sqlite", "postgres", "python", "cmd"), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise TargetError(f"unknown target {text!r}.{hint} A target is one of\n{FORMS}")


# -- our SQLite store ----------------------------------------------------------------------------------------------------------


class _Temporary(SqliteStore):
    """A store whose file goes when the oracle is done with it."""

    def drop(self) -> None:
        """Remove the file, and what SQLite and the store keep beside it."""
        for suffix in ("", "-wal", "-shm", "-journal", *SUFFIXES):
            Path(self._path + suffix).unlink(missing_ok=True)


def _sqlite(text: str, path: str, stack: contextlib.ExitStack) -> Factory:
    """A factory of stores, each in a new file of a new directory, which goes when the stack unwinds."""
    place = _beside(text, Path(path)) if path else {"prefix": "leasehold-"}
    try:
        directory = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True, **place))
    except OSError as error:
        raise TargetError(
            f"target {text!r}: no temporary directory can be made: {error}. Choose another PATH, or set TMPDIR."
        ) from error
    numbers = itertools.count(1)
    empty = os.path.join(directory, "empty.db")  # noqa: PTH118 - as below

    def fresh(clock: Clock) -> SqliteStore:
        """A copy of one empty store: to make each anew would take most of a check, for a dozen syncs of the disk."""
        if not os.path.exists(empty):  # noqa: PTH110 - this is called thousands of times
            SqliteStore(empty, clock=clock).close()
        path = os.path.join(directory, f"store-{next(numbers)}.db")  # noqa: PTH118 - as above
        shutil.copyfile(empty, path)
        return _Temporary(path, clock=clock)

    return fresh


def _beside(text: str, path: Path) -> dict[str, Any]:
    if path.is_dir():
        return {"dir": path, "prefix": "leasehold-"}
    if path.exists():
        raise TargetError(
            f"target {text!r}: {path} exists. A check fills stores of its own and removes them; it never touches a file of yours. "
            "Give a path that does not exist yet: the stores are made beside it."
        )
    if not path.parent.is_dir():
        raise TargetError(f"target {text!r}: there is no directory {path.parent}. Make it, or give another path.")
    return {"dir": path.parent, "prefix": path.name + "-"}


# -- our PostgreSQL store ------------------------------------------------------------------------------------------------------


def _postgres(text: str, dsn: str, stack: contextlib.ExitStack) -> Factory:
    """A factory of stores in a schema of their own, which goes when the stack unwinds."""
    try:
        from leasehold import postgres_target  # noqa: PLC0415 - psycopg is only needed for this
    except ImportError as error:
        raise TargetError(f"target {text!r}: the PostgreSQL store needs psycopg: pip install 'leasehold[postgres]'") from error
    try:
        return postgres_target.stores(dsn, stack)
    except postgres_target.BadName as error:
        raise TargetError(f"target {text!r}: {error}") from error


# -- the user's store ----------------------------------------------------------------------------------------------------------


def _imported(text: str, rest: str) -> Factory:
    module_name, _, attribute = rest.partition(":")
    if not (module_name and attribute) or ":" in attribute:
        raise TargetError(f"target {text!r}: it has to be python:pkg.module:factory, as in python:myapp.stores:open_store")
    module = _import(text, module_name)
    factory: Any = module
    for name in attribute.split("."):
        if not hasattr(factory, name):
            near = difflib.get_close_matches(name, [one for one in dir(factory) if not one.startswith("_")], n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise TargetError(f"target {text!r}: {module_name} ({_file(module)}) has no {attribute!r}.{hint}")
        factory = getattr(factory, name)
    if not callable(factory):
        raise TargetError(
            f"target {text!r}: {attribute} is {factory!r}, which cannot be called. It has to be a function that opens a store."
        )
    opener: Callable[..., Any] = factory
    return opener


def _placed(factory: Factory, stack: contextlib.ExitStack) -> Factory:
    """The user's factory, called with a new directory in LEASEHOLD_DATA as long as its stores declare kill.

    Stores are made by the thousand, so for others no directories are.
    """
    root = stack.enter_context(tempfile.TemporaryDirectory(prefix="leasehold-", ignore_cleanup_errors=True))
    numbers = itertools.count(1)
    before = os.environ.get(DATA)
    stack.callback(lambda: os.environ.pop(DATA, None) if before is None else os.environ.update({DATA: before}))
    wanted = True

    @functools.wraps(factory)
    def fresh(*args: Any, **more: Any) -> Any:
        nonlocal wanted
        if wanted:
            os.environ[DATA] = place = os.path.join(root, f"store-{next(numbers)}")  # noqa: PTH118 - as above
            os.mkdir(place)  # noqa: PTH102 - as above
        store = factory(*args, **more)
        declared = getattr(store, "capabilities", None)
        wanted = isinstance(declared, Capabilities) and declared.kill
        return store

    return fresh


def _import(text: str, name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(missing + "."):
            raise TargetError(
                f"target {text!r}: there is no module {missing!r}, neither installed nor below {here}. "
                "Run from the directory that holds it, or set PYTHONPATH."
            ) from error
        raise BrokenTarget(f"importing {name} failed: it needs the module {missing!r}, which is not installed") from error
    except Exception as error:
        raise BrokenTarget(f"importing {name} failed: {brief(error)}") from error


def _file(module: Any) -> str:
    return str(getattr(module, "__file__", None) or "built in")
