"""Power loss for SQLite files: record what SQLite asks of the disk, then make the files that a disk may hold after a cut.

The recorder is a VFS in the very library that Python's ``sqlite3`` is linked with (apsw carries a SQLite of its own: it would test
another one). It is a copy of the default VFS whose write, truncate, sync, open and delete also note what they did. It sees one
process: what others write to the same files is not recorded.

After a cut the disk holds all that was synced. Of the rest, any 512-byte sector is as it was at the last sync, or as it was after
any write since; a size likewise, with zeros where no data came; and a file made or deleted since the directory was last synced is
there or not. No sector is torn in itself: SQLite asks that of a disk (powersafe overwrite). A file counts as made once it was
synced itself, as on ext4 and XFS.
"""

from __future__ import annotations

import ctypes
import os
import random
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from ctypes import CFUNCTYPE, c_char_p, c_int, c_int64, c_void_p
from functools import cache, wraps
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from attrs import Factory, define, frozen

SECTOR: Final = 512


# -- what was asked of the disk ------------------------------------------------------------------------------------------------


@frozen
class Made:
    """A file was made (content None), or found with this content, which counts as synced."""

    file: int
    name: str
    content: bytes | None


@frozen
class Write:
    """Bytes of a file."""

    file: int
    offset: int
    data: bytes


@frozen
class Truncate:
    """A file's new size."""

    file: int
    size: int


@frozen
class Sync:
    """A file's bytes and size; with ``directory``, also what was made and deleted in its directory."""

    file: int
    directory: bool


@frozen
class Delete:
    """A file's name was taken away; with ``directory`` that was synced."""

    name: str
    directory: bool


Event: TypeAlias = Made | Write | Truncate | Sync | Delete

Choice: TypeAlias = Callable[[int, int, int], int]
"""Which version of a thing the disk holds, given its place among ``count`` undecided things, ``count``, and how many versions there
are: 0 is what was last synced, the last one what was last written. Things are in the order in which they were first touched."""


def none(_place: int, _count: int, _versions: int) -> int:
    """Nothing but what was synced."""
    return 0


def all_of_it(_place: int, _count: int, versions: int) -> int:
    """As if everything had been synced: what is left when only the process is killed."""
    return versions - 1


def every_other(place: int, _count: int, versions: int) -> int:
    """Torn everywhere."""
    return (versions - 1) * (place % 2)


def early(place: int, count: int, versions: int) -> int:
    """The first half."""
    return versions - 1 if 2 * place < count else 0


def late(place: int, count: int, versions: int) -> int:
    """The second half, without what it builds upon."""
    return 0 if 2 * place < count else versions - 1


EXTREMES: Final[tuple[Choice, ...]] = (none, all_of_it, every_other, early, late)


def seeded(seed: int | str) -> Choice:
    """By chance: everything up to some place, or from some place on, with more or less torn out of it."""
    source = random.Random(seed)
    since, until = sorted((source.choice((0.0, source.random())), source.choice((1.0, source.random()))))
    kept = source.choice((0.5, 0.9, 1.0))

    def choose(place: int, count: int, versions: int) -> int:
        inside = since * count <= place <= until * count and source.random() < kept
        return source.choice((versions - 1, source.randrange(versions))) if inside else 0

    return choose


# -- what a disk may hold ------------------------------------------------------------------------------------------------------


@define
class _Content:
    """A file's bytes as last synced, and the versions since of each sector and of the size, the synced one first."""

    synced: bytearray
    sectors: dict[int, list[bytes]] = Factory(dict)
    sizes: list[int] = Factory(list)

    @property
    def size(self) -> int:
        return self.sizes[-1] if self.sizes else len(self.synced)

    def _sector(self, number: int) -> bytes:
        if number in self.sectors:
            return self.sectors[number][-1]
        return bytes(self.synced[number * SECTOR : (number + 1) * SECTOR]).ljust(SECTOR, b"\0")

    def _change(self, number: int, at: int, data: bytes) -> None:
        before = self._sector(number)
        self.sectors.setdefault(number, [before]).append(before[:at] + data + before[at + len(data) :])

    def _resize(self, size: int) -> None:
        self.sizes = [*(self.sizes or [len(self.synced)]), size]

    def write(self, offset: int, data: bytes) -> None:
        """Sector by sector."""
        done = 0
        while done < len(data):
            number, at = divmod(offset + done, SECTOR)
            part = data[done : done + SECTOR - at]
            self._change(number, at, part)
            done += len(part)
        if offset + len(data) > self.size:
            self._resize(offset + len(data))

    def truncate(self, size: int) -> None:
        """What lies behind the new end is zero, should the file grow again."""
        number, at = divmod(size, SECTOR)
        for one in range(number, -(-self.size // SECTOR)):
            begin = at if one == number else 0
            self._change(one, begin, bytes(SECTOR - begin))
        if size != self.size:
            self._resize(size)

    def sync(self) -> None:
        """The last versions are the synced ones."""
        size = self.size
        self._fill(self.synced, {number: versions[-1] for number, versions in self.sectors.items()}, size)
        self.sectors, self.sizes = {}, []

    @staticmethod
    def _fill(content: bytearray, sectors: dict[int, bytes], size: int) -> None:
        content.extend(bytes(max(0, size - len(content))))
        for number, sector in sectors.items():
            if number * SECTOR < size:
                content[number * SECTOR : (number + 1) * SECTOR] = sector
        del content[size:]

    def undecided(self) -> int:
        """How many things may be so or so."""
        return len(self.sectors) + bool(self.sizes)

    def chosen(self, decide: Callable[[int], int]) -> bytearray:
        """The file as the disk holds it."""
        content = bytearray(self.synced)
        sectors = {number: versions[decide(len(versions))] for number, versions in self.sectors.items()}
        self._fill(content, sectors, self.sizes[decide(len(self.sizes))] if self.sizes else len(content))
        return content


class Disk:
    """A directory of files on a disk, event by event."""

    def __init__(self) -> None:
        self._files: dict[int, _Content] = {}
        self._names: dict[str, list[int | None]] = {}

    def apply(self, event: Event) -> None:
        """The next event."""
        if isinstance(event, Made):
            self._files[event.file] = _Content(bytearray(event.content or b""))
            if event.content is None:
                self._names.setdefault(event.name, [None]).append(event.file)
            else:
                self._names[event.name] = [event.file]
        elif isinstance(event, Delete):
            self._names.setdefault(event.name, [None]).append(None)
            if event.directory:
                self._sync_names()
        elif isinstance(event, Sync):
            self._files[event.file].sync()
            if event.directory:
                self._sync_names()
            for versions in self._names.values():
                if event.file in versions:
                    del versions[: versions.index(event.file)]
        elif isinstance(event, Write):
            self._files[event.file].write(event.offset, event.data)
        else:
            self._files[event.file].truncate(event.size)

    def _sync_names(self) -> None:
        for versions in self._names.values():
            del versions[:-1]

    def write(self, directory: Path, choice: Choice) -> None:
        """Make the files that the disk holds after a power loss now. The directory has to be empty."""
        open_names = sum(len(versions) > 1 for versions in self._names.values())
        count = open_names + sum(content.undecided() for content in self._files.values())
        place = 0

        def decide(versions: int) -> int:
            nonlocal place
            place += 1
            return choice(place - 1, count, versions)

        contents = {file: content.chosen(decide) for file, content in self._files.items()}
        for name, versions in self._names.items():
            file = versions[decide(len(versions)) if len(versions) > 1 else 0]
            if file is not None:
                (directory / name).write_bytes(contents[file])


def _is_found(event: Event) -> bool:
    return isinstance(event, Made) and event.content is not None


def image(journal: Sequence[Event], cut: int, choice: Choice, directory: Path) -> None:
    """Make the files that a disk may hold after a power loss when ``cut`` events had happened, in this empty directory."""
    for _ in images(journal, [(cut, choice)], lambda: directory):
        pass


def images(journal: Sequence[Event], losses: Iterable[tuple[int, Choice]], place: Callable[[], Path]) -> Iterator[tuple[int, Path]]:
    """Image after image, by ascending cuts, each in the empty directory that ``place`` gives: the cut, and that directory."""
    disk, done = Disk(), 0
    for event in journal:
        if _is_found(event):  # noted when it was first opened, there from the beginning
            disk.apply(event)
    for cut, choice in losses:
        if cut < done:
            raise ValueError(f"cuts have to ascend: {cut} after {done}")
        for event in journal[done:cut]:
            if not _is_found(event):
                disk.apply(event)
        done = cut
        directory = place()
        disk.write(directory, choice)
        yield cut, directory


def cuts(journal: Sequence[Event], most: int | None = None, since: int = 0) -> list[int]:
    """After which events to cut: after each from ``since`` on, or ``most`` of these, evenly spread, first and last included."""
    every = range(since, len(journal) + 1)
    if most is None or len(every) <= most:
        return list(every)
    return [every[number * (len(every) - 1) // max(1, most - 1)] for number in range(most)]


# -- the recorder --------------------------------------------------------------------------------------------------------------


class Recorder:
    """Records, while it is open as a context, what is done to SQLite files in a directory that are opened meanwhile.

    One at a time in a process. If it fails itself, that call of SQLite fails, and the error is raised when the context ends.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = os.path.realpath(directory)
        self.journal: list[Event] = []
        self.errors: list[BaseException] = []
        reached = _shim()
        if isinstance(reached, str):
            raise RuntimeError(f"power losses cannot be recorded: {reached}")
        self._shim = reached

    @property
    def length(self) -> int:
        """How many events there were so far: the cut that lies here."""
        return len(self.journal)

    def __enter__(self) -> Self:
        self._shim.start(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._shim.stop()
        if self.errors:
            raise self.errors[0] from error


def unavailable() -> str | None:
    """Why power losses cannot be recorded here, or None if they can."""
    shim = _shim()
    return shim if isinstance(shim, str) else None


_IOERR: Final = 10
_OPEN_CREATE: Final = 0x4
_SYNCS_DIRECTORY: Final = 0x800 | 0x4000 | 0x80000  # main journal, super journal, WAL

_OPEN: Final = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_DELETE: Final = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
_CLOSE: Final = CFUNCTYPE(c_int, c_void_p)
_MOVE: Final = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)  # read and write
_TRUNCATE: Final = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC: Final = CFUNCTYPE(c_int, c_void_p, c_int)
_SIZE: Final = CFUNCTYPE(c_int, c_void_p, c_void_p)


def _pointers(*names: str) -> list[tuple[str, type[Any]]]:
    return [(name, c_void_p) for name in names]


class _Vfs(ctypes.Structure):
    """``sqlite3_vfs``, version 3."""

    _fields_ = (
        ("version", c_int),
        ("file_size", c_int),
        ("longest_path", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        *_pointers("data", "open", "delete", "access", "full_path"),
        *_pointers("dl_open", "dl_error", "dl_sym", "dl_close"),
        *_pointers("randomness", "sleep", "current_time", "last_error", "current_time_64"),
        *_pointers("set_system_call", "get_system_call", "next_system_call"),
    )


class _Methods(ctypes.Structure):
    """``sqlite3_io_methods``, version 3."""

    _fields_ = (
        ("version", c_int),
        *_pointers("close", "read", "write", "truncate", "sync", "size"),
        *_pointers("lock", "unlock", "reserved", "control", "sector", "characteristics"),
        *_pointers("shm_map", "shm_lock", "shm_barrier", "shm_unmap", "fetch", "unfetch"),
    )


class _Table:
    """The methods of a kind of file: SQLite's own, and a copy of their table in which ours stand for some."""

    def __init__(self, methods: _Methods, ours: dict[str, Any]) -> None:
        self.close = _CLOSE(methods.close)
        self.read = _MOVE(methods.read)
        self.write = _MOVE(methods.write)
        self.truncate = _TRUNCATE(methods.truncate)
        self.sync = _SYNC(methods.sync)
        self.size = _SIZE(methods.size)
        self.copy = _Methods.from_buffer_copy(methods)
        for name, function in ours.items():
            setattr(self.copy, name, ctypes.cast(function, c_void_p).value)


@define
class _Open:
    """A file that SQLite has open."""

    table: _Table
    file: int
    recorder: Recorder
    syncs_directory: bool


class _Shim:
    """The VFS. Once registered it stays, since connections point to it; it is the default one only while a recorder is open.

    What SQLite has opened is SQLite's own file, whose table of methods we exchange: so every method that we don't copy, those on
    locks and shared memory above all, runs as ever.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        library.sqlite3_vfs_register.argtypes = (c_void_p, c_int)
        self._library = library
        self._default = library.sqlite3_vfs_find(None)
        self._vfs = _Vfs.from_buffer_copy(self._default.contents)
        self._real_open = _OPEN(self._vfs.open)
        self._real_delete = _DELETE(self._vfs.delete)
        self._callbacks = {
            "open": _OPEN(self._guarded(self._open)),
            "delete": _DELETE(self._guarded(self._delete)),
        }
        self._ours = {
            "close": _CLOSE(self._guarded(self._close)),
            "write": _MOVE(self._guarded(self._write)),
            "truncate": _TRUNCATE(self._guarded(self._truncate)),
            "sync": _SYNC(self._guarded(self._sync)),
        }
        for name, function in self._callbacks.items():
            setattr(self._vfs, name, ctypes.cast(function, c_void_p).value)
        self._vfs.version = min(self._vfs.version, 3)
        self._vfs.name = b"leasehold-power"
        self._vfs.next = None
        self._tables: dict[int, _Table] = {}
        self._opened: dict[int, _Open] = {}
        self._numbers: dict[str, int] = {}
        self._recorder: Recorder | None = None
        self._lock = Lock()  # what is done and what is noted are in one order
        self._register(default=False)

    def _register(self, default: bool) -> None:
        self._library.sqlite3_vfs_register(ctypes.addressof(self._vfs), default)

    def start(self, recorder: Recorder) -> None:
        """Record here from now on."""
        with self._lock:
            if self._recorder is not None:
                raise RuntimeError("a recorder is open already: one at a time in a process")
            self._recorder = recorder
            self._numbers = {}
        self._register(default=True)

    def stop(self) -> None:
        """No longer: what is still open is no longer recorded."""
        self._library.sqlite3_vfs_register(ctypes.addressof(self._default.contents), True)
        with self._lock:
            self._recorder = None

    def _guarded(self, callback: Callable[..., int]) -> Callable[..., int]:
        """An exception must not get lost in ctypes, which only prints it."""

        @wraps(callback)
        def call(*arguments: Any) -> int:
            try:
                return callback(*arguments)
            except BaseException as error:  # noqa: BLE001 - raised when the recorder ends
                if self._recorder is not None:
                    self._recorder.errors.append(error)
                return _IOERR

        return call

    def _note(self, opened: _Open, event: Event) -> None:
        if opened.recorder is self._recorder:
            opened.recorder.journal.append(event)

    def _name(self, path: int | None) -> str | None:
        """The name of a file that is to be recorded."""
        if self._recorder is None or path is None:
            return None
        directory, name = os.path.split(os.fsdecode(ctypes.string_at(path)))
        return name if os.path.realpath(directory) == self._recorder.directory else None

    def _open(self, _vfs: int, path: int | None, file: int, flags: int, out: int | None) -> int:
        with self._lock:
            name, recorder = self._name(path), self._recorder
            new = recorder is not None and name is not None and not Path(recorder.directory, name).exists()
            code: int = self._real_open(ctypes.addressof(self._default.contents), path, file, flags, out)
            methods = c_void_p.from_address(file)
            if code or name is None or recorder is None or methods.value is None:
                return code
            table = self._table(methods.value)
            if new or name not in self._numbers:
                number = self._numbers[name] = recorder.length
                recorder.journal.append(Made(number, name, None if new else _content(table, file)))
            syncs_directory = bool(flags & _OPEN_CREATE and flags & _SYNCS_DIRECTORY)
            self._opened[file] = _Open(table, self._numbers[name], recorder, syncs_directory)
            methods.value = ctypes.addressof(table.copy)
            return code

    def _table(self, address: int) -> _Table:
        if address not in self._tables:
            self._tables[address] = _Table(_Methods.from_address(address), self._ours)
        return self._tables[address]

    def _delete(self, _vfs: int, path: int, directory: int) -> int:
        with self._lock:
            code: int = self._real_delete(ctypes.addressof(self._default.contents), path, directory)
            name = self._name(path)
            if code == 0 and name is not None and self._recorder is not None:
                self._numbers.pop(name, None)
                self._recorder.journal.append(Delete(name, bool(directory)))
            return code

    def _close(self, file: int) -> int:
        with self._lock:
            code: int = self._opened.pop(file).table.close(file)
            return code

    def _write(self, file: int, data: int, amount: int, offset: int) -> int:
        with self._lock:
            opened = self._opened[file]
            code: int = opened.table.write(file, data, amount, offset)
            if code == 0:
                self._note(opened, Write(opened.file, offset, ctypes.string_at(data, amount)))
            return code

    def _truncate(self, file: int, size: int) -> int:
        with self._lock:
            opened = self._opened[file]
            code: int = opened.table.truncate(file, size)
            if code == 0:
                self._note(opened, Truncate(opened.file, size))
            return code

    def _sync(self, file: int, flags: int) -> int:
        with self._lock:
            opened = self._opened[file]
            code: int = opened.table.sync(file, flags)
            if code == 0:
                self._note(opened, Sync(opened.file, opened.syncs_directory))
                opened.syncs_directory = False
            return code


def _content(table: _Table, file: int) -> bytes:
    """Of an open file, through SQLite: to open and close it once more would drop this process's locks on it."""
    size = c_int64()
    if table.size(file, ctypes.addressof(size)):
        raise OSError("the size of a file that is to be recorded cannot be read")
    content = ctypes.create_string_buffer(max(1, size.value))
    if size.value and table.read(file, ctypes.addressof(content), size.value, 0):
        raise OSError("a file that is to be recorded cannot be read")
    return content.raw[: size.value]


@cache
def _shim() -> _Shim | str:
    """The VFS, registered; or why there is none."""
    try:  # in the file of Python's module, in a library that it is linked with, or, if it has no file, in the program itself
        library = ctypes.CDLL(getattr(sys.modules.get("_sqlite3"), "__file__", None))
        library.sqlite3_libversion.restype = c_char_p
        version = library.sqlite3_libversion().decode()
        shim = _Shim(library)
    except (OSError, AttributeError) as error:
        return f"the SQLite library that Python's sqlite3 is linked with cannot be reached through ctypes ({error})"
    try:
        sqlite3.connect("file::memory:?vfs=leasehold-power", uri=True).close()
    except sqlite3.Error:
        return f"Python's sqlite3 uses SQLite {sqlite3.sqlite_version}, but ctypes reaches another copy of it, {version}"
    return shim
