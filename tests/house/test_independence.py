"""The arrows between modules and the sizes of the model, read from the source files.

A check takes sources, as a mapping of module name to text, and answers with complaints; so a twin hands it an invented source.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

STORE_SIDE = ("leasehold.records", "leasehold.store", "leasehold.stores")
BANNED_FOR_STORES = ("leasehold_model", "leasehold.oracle")

PURE_MODULES = frozenset(
    {
        "__future__",
        "abc",
        "attr",
        "attrs",
        "base64",
        "binascii",
        "bisect",
        "collections",
        "contextlib",
        "copy",
        "dataclasses",
        "enum",
        "functools",
        "graphlib",
        "hashlib",
        "heapq",
        "itertools",
        "json",
        "leasehold_model",
        "math",
        "operator",
        "re",
        "string",
        "struct",
        "types",
        "typing",
        "unicodedata",
    }
)
IMPURE_CALLS = frozenset({"__import__", "breakpoint", "eval", "exec", "globals", "input", "open", "print"})

FILE_LINES = 300
FUNCTION_LINES = 40
TABLES = frozenset({"leasehold_model.machine.step"})  # one case per command, which the formatter writes on two lines
MODEL_LINES = 2500
ALGORITHMS = frozenset({"leasehold_model.history", "leasehold_model.linearize", "leasehold_model.register"})
"""What works over any specification, and says nothing of the contract: counted apart."""
ALGORITHM_LINES = 600


def read(root: Path) -> dict[str, str]:
    """Module name -> text of every Python file below a root; none is an error, so that no check passes by finding nothing."""
    files = {".".join(path.relative_to(root).with_suffix("").parts): path.read_text("utf-8") for path in root.rglob("*.py")}
    assert files, f"no Python files under {root.name}/"
    return files


def within(module: str, *packages: str) -> bool:
    """Is the module one of these packages, or inside one?"""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def imports(module: str, text: str) -> Iterator[str]:
    """Every dotted name that a source imports, wherever the import stands; ``from a import b`` counts as ``a.b``."""
    package = module.removesuffix(".__init__") if module.endswith(".__init__") else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(origin, names, level):
                above = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                yield from (".".join([*above, *filter(None, [origin]), alias.name]) for alias in names)
            case ast.Call(ast.Name("__import__" | "import_module") | ast.Attribute(attr="import_module"), [argument, *_]):
                match argument:
                    case ast.Constant(str(name)):
                        yield name
                    case _:
                        yield "<computed>"
            case _:
                pass


def banned_imports_of_stores(sources: Mapping[str, str]) -> list[str]:
    """The store side reaches the model or the oracle, itself or through modules of ours."""
    reached = [module for module in sources if within(module.removesuffix(".__init__"), *STORE_SIDE)]
    complaints = []
    for module in reached:  # grows as we go
        for name in imports(module, sources[module]):
            if name == "<computed>" or within(name, *BANNED_FOR_STORES):
                complaints.append(f"{module} imports {name}")
            for candidate in (name, f"{name}.__init__", name.rpartition(".")[0], f"{name.rpartition('.')[0]}.__init__"):
                if candidate in sources and candidate != "leasehold.__init__" and candidate not in reached:
                    reached.append(candidate)
    return complaints


def impurities(sources: Mapping[str, str]) -> list[str]:
    """A model module imports something outside the pure list, or calls a builtin that touches the world."""
    complaints = []
    for module, text in sources.items():
        complaints += [f"{module} imports {name}" for name in imports(module, text) if name.split(".")[0] not in PURE_MODULES]
        complaints += [
            f"{module}:{node.lineno} calls {node.func.id}"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS
        ]
    return complaints


def long_files(sources: Mapping[str, str], limit: int = FILE_LINES) -> list[str]:
    """Files of ``limit`` lines or more."""
    lengths = {module: len(text.splitlines()) for module, text in sources.items()}
    return [f"{module}: {lines} lines, under {limit} allowed" for module, lines in lengths.items() if lines >= limit]


def long_functions(sources: Mapping[str, str], limit: int = FUNCTION_LINES) -> list[str]:
    """Functions of ``limit`` lines or more, from the first decorator to the last line."""
    complaints = []
    for module, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                lines = (node.end_lineno or node.lineno) - first + 1
                if lines >= limit and f"{module}.{node.name}" not in TABLES:
                    complaints.append(f"{module}.{node.name}: {lines} lines, under {limit} allowed")
    return complaints


def long_whole(sources: Mapping[str, str], limit: int = MODEL_LINES) -> list[str]:
    """All sources together have ``limit`` lines or more."""
    lines = sum(len(text.splitlines()) for text in sources.values())
    return [f"{lines} lines in all, under {limit} allowed"] if lines >= limit else []


def parted(sources: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The contract's model, and the algorithms over it."""
    rules = {name: text for name, text in sources.items() if name not in ALGORITHMS}
    return rules, {name: text for name, text in sources.items() if name in ALGORITHMS}


@pytest.fixture(scope="module")
def model() -> dict[str, str]:
    return read(ROOT / "model")


@pytest.fixture(scope="module")
def impl() -> dict[str, str]:
    return read(ROOT / "impl")


def test_stores_know_neither_model_nor_oracle(impl: dict[str, str]) -> None:
    for package in STORE_SIDE:
        assert any(within(module, package) for module in impl), f"{package} is gone: this test would check nothing"
    assert banned_imports_of_stores(impl) == []


@pytest.mark.parametrize(
    "text",
    [
        "import leasehold_model",
        "import leasehold_model.state as s",
        "from leasehold_model import machine",
        "from leasehold_model.machine import step",
        "from leasehold import oracle",
        "from leasehold.oracle.binding import bind",
        "from ..oracle import binding",
        "from .. import oracle",
        "def later():\n    import leasehold.oracle",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from leasehold_model.ids import Millis",
        "import importlib\nimportlib.import_module('leasehold_model.machine')",
        "from importlib import import_module\nimport_module('leasehold' + '_model')",
        "__import__('leasehold.oracle')",
        "from leasehold.detour import step",
        "from leasehold import detour",
        "import leasehold.detour.inner",
    ],
)
def test_twin_stores_that_do_are_noticed(text: str) -> None:
    detour = {
        "leasehold.detour.__init__": "from leasehold_model.machine import step",
        "leasehold.detour.inner": "from leasehold.detour import step",
    }
    assert banned_imports_of_stores({"leasehold.stores.invented": text, **detour})
    right = "import sqlite3\nfrom leasehold.store import Store"
    assert banned_imports_of_stores({"leasehold.stores.invented": right, **detour}) == []


@pytest.mark.parametrize("module", ["leasehold.records", "leasehold.store", "leasehold.stores.__init__", "leasehold.stores.memory"])
def test_twin_every_module_of_the_store_side_is_read(module: str) -> None:
    assert banned_imports_of_stores({module: "import leasehold_model"}) == [f"{module} imports leasehold_model"]
    assert banned_imports_of_stores({"leasehold.oracle.binding": "import leasehold_model"}) == []


def test_model_is_pure(model: dict[str, str]) -> None:
    assert impurities(model) == []


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "from random import Random",
        "import sqlite3, attrs",
        "import asyncio.subprocess",
        "def now():\n    from datetime import datetime",
        "import hypothesis",
        "import cattrs",
        "import leasehold",
        "from leasehold.records import Lease",
        "import importlib",
        "text = open('state.json').read()",
        "def step(state):\n    print(state)",
        "time = __import__('time')",
    ],
)
def test_twin_an_impure_model_is_noticed(text: str) -> None:
    assert impurities({"leasehold_model.invented": text})


def test_twin_a_pure_model_is_not_accused() -> None:
    lines = ["from collections.abc import Iterable", "from attrs import frozen", "from .state import State", "x = frozen(open=1)"]
    assert impurities({"leasehold_model.invented": "\n".join(lines)}) == []


def test_model_is_small(model: dict[str, str]) -> None:
    rules, algorithms = parted(model)
    assert [*long_files(model), *long_functions(model), *long_whole(rules), *long_whole(algorithms, ALGORITHM_LINES)] == []
    assert set(algorithms) == ALGORITHMS


@pytest.mark.parametrize(("lines", "complaints"), [(299, 0), (300, 1)])
def test_twin_a_long_file_is_noticed(lines: int, complaints: int) -> None:
    assert len(long_files({"leasehold_model.invented": "x = 1\n" * lines})) == complaints


@pytest.mark.parametrize(("lines", "complaints"), [(39, 0), (40, 1)])
@pytest.mark.parametrize("head", ["def f():\n", "async def f():\n", "@cache\ndef f():\n"])
def test_twin_a_long_function_is_noticed(head: str, lines: int, complaints: int) -> None:
    text = head + "    x = 1\n" * (lines - head.count("\n"))
    assert len(long_functions({"leasehold_model.invented": text})) == complaints
    method = "class C:\n" + "".join(f"    {line}\n" for line in text.splitlines())
    assert len(long_functions({"leasehold_model.invented": method})) == complaints


@pytest.mark.parametrize(("lines", "complaints"), [(2499, 0), (2500, 1)])
def test_twin_a_long_model_is_noticed(lines: int, complaints: int) -> None:
    sources = {f"leasehold_model.part{part}": "x = 1\n" * 100 for part in range(lines // 100)}
    assert len(long_whole({**sources, "leasehold_model.rest": "x = 1\n" * (lines % 100)})) == complaints


def test_twin_an_empty_root_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no Python files"):
        read(tmp_path)
