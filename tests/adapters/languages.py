"""The example adapters: their files, how each is built, and a wrong twin of each."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from attrs import frozen

from tools import toolchains
from tools.toolchains import CACHE, Toolchain, Unavailable, turn

ROOT = Path(__file__).resolve().parents[2]
ADAPTERS = ROOT / "docs" / "examples" / "adapters"

BUILT = ("target", "Cargo.lock", "__pycache__")
"""What may lie beside the sources and is none of them."""


@frozen
class Language:
    """An example: its files, how its sources become a command, the line that is changed for its twin and what that breaks."""

    name: str
    adapter: str
    store: tuple[str, ...]
    comment: str
    budget: float
    reopen: bool
    build: Callable[[Path], list[str]]
    twin: tuple[str, str, str]
    breaks: str

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return ADAPTERS / self.name

    def command(self, tmp_path: Path, *, twin: bool = False) -> list[str]:
        """Build a copy of it, the wrong one if asked for. Skips, and says so, if there is no toolchain to be had."""
        source = tmp_path / "source"
        shutil.copytree(self.folder, source, ignore=shutil.ignore_patterns(*BUILT))
        if twin:
            file, right, wrong = self.twin
            replace(source / file, right, wrong)
        try:
            return self.build(source)
        except Unavailable as reason:
            pytest.skip(f"THE {self.name.upper()} ADAPTER WAS NOT CHECKED: {reason}")


def replace(file: Path, right: str, wrong: str) -> None:
    """Replace what has to be there exactly once."""
    text = file.read_text("utf-8")
    assert text.count(right) == 1, f"{right!r} is {text.count(right)} times in {file.name}"
    file.write_text(text.replace(right, wrong), "utf-8")


def lines(file: Path, comment: str) -> int:
    """Lines that are neither empty nor only a comment."""
    return sum(1 for line in file.read_text("utf-8").splitlines() if line.strip() and not line.strip().startswith(comment))


def build_go(source: Path) -> list[str]:
    """One program."""
    tool = toolchains.go()
    return built("go", source, tool, lambda program: tool.run("build", "-o", str(program), ".", cwd=source))


def built(name: str, source: Path, tool: Toolchain, build: Callable[[Path], None]) -> list[str]:
    """The program that these sources become. It is kept under a digest of them, so that the same is not built twice."""
    digest = sha256(f"{tool.program} {toolchains.version(tool.program, '--version' if name == 'rust' else 'version')}".encode())
    for file in sorted(file for file in source.rglob("*") if file.is_file()):
        digest.update(f"\0{file.relative_to(source)}\0".encode() + file.read_bytes())
    program = CACHE / "built" / f"{name}-{digest.hexdigest()[:16]}"
    with turn(f"built-{name}"):
        if not program.exists():
            program.parent.mkdir(exist_ok=True)
            for old in sorted(program.parent.glob(f"{name}-*"), key=lambda file: file.stat().st_mtime)[:-3]:
                old.unlink()
            build(program.with_suffix(".part"))
            program.with_suffix(".part").rename(program)
    return [str(program)]


def build_node(source: Path) -> list[str]:
    """Nothing to build."""
    return [toolchains.node().program, str(source / "adapter.mjs")]


def build_rust(source: Path) -> list[str]:
    """Built where the last one was, so that serde is compiled once, and only the first build asks the registry."""
    cargo = toolchains.cargo()
    work = CACHE / "rust-work"

    def build(program: Path) -> None:
        shutil.rmtree(work / "src", ignore_errors=True)
        shutil.copytree(source, work, dirs_exist_ok=True, copy_function=shutil.copyfile)  # with new times: Cargo goes by them
        _forget_other_lock(work, cargo)
        cargo.run("build", "--quiet", cwd=work)
        shutil.copy(CACHE / "rust-target" / "debug" / "leasehold-example", program)

    return built("rust", source, cargo, build)


def _forget_other_lock(work: Path, cargo: Toolchain) -> None:
    """A lock file is good for the Cargo that wrote it, and for the same dependencies."""
    made_by = f"{cargo.program} {toolchains.version(cargo.program, '--version')}\n{(work / 'Cargo.toml').read_text('utf-8')}"
    note = work / "lock-made-by"
    if not note.exists() or note.read_text("utf-8") != made_by:
        (work / "Cargo.lock").unlink(missing_ok=True)
        note.write_text(made_by, "utf-8")


def build_python(source: Path) -> list[str]:
    """Nothing to build. -B leaves no bytecode behind."""
    return [sys.executable, "-B", str(source / "adapter.py")]


LANGUAGES = (
    Language(
        name="go",
        adapter="main.go",
        store=("records.go", "store.go", "journal.go"),
        comment="//",
        budget=6.0,
        reopen=True,
        build=build_go,
        twin=("journal.go", 'journaled("save_meta", (*state).saveMeta)', "reading((*state).saveMeta)"),
        breaks="LAW-10",
    ),
    Language(
        name="node",
        adapter="adapter.mjs",
        store=("store.mjs",),
        comment="//",
        budget=5.0,
        reopen=False,
        build=build_node,
        twin=("store.mjs", " && sameKey(batch.merge_key, head.merge_key)", ""),
        breaks="QUEUE-7",
    ),
    Language(
        name="rust",
        adapter="src/main.rs",
        store=("src/records.rs", "src/store.rs"),
        comment="//",
        budget=5.0,
        reopen=False,
        build=build_rust,
        twin=("src/store.rs", "lane.fencing += 1;", "lane.fencing = 1;"),
        breaks="LAW-3",
    ),
    Language(
        name="python",
        adapter="adapter.py",
        store=("store.py",),
        comment="#",
        budget=8.0,
        reopen=True,
        build=build_python,
        twin=("store.py", "SELECT record FROM node WHERE NOT hidden ORDER BY seq", "SELECT record FROM node ORDER BY seq"),
        breaks="GRAPH-6",
    ),
)
