"""The requirements, laws and policies, with where each is decided in the model and which tests exercise it.

Read from the sources: a line of the model decides what it cites as a value, or a function whose first words cite it, or, where
there is neither, any line that mentions it. The tests are read if they are there, as they are in a checkout.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path

from attrs import frozen
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

import leasehold
from leasehold import __version__
from leasehold.records import Json
from leasehold.report.template import render
from leasehold_model.policy import POINTS, Point
from leasehold_model.requirements import REQUIREMENTS, STATEMENTS

FORMAT = 1
"""The form of the JSON."""

_IDENTIFIER = re.compile(r"\b(?:P-[A-Z]+(?:-[A-Z]+)*|[A-Z]+-\d+)\b")
_LISTS = ("requirements.py", "policy.py")


@frozen
class Source:
    """Where identifiers stand: identifier -> places. ``tests`` is None where there are no tests."""

    decided: Mapping[str, tuple[str, ...]]
    tests: Mapping[str, tuple[str, ...]] | None


def read_source() -> Source:
    """Read the model's sources, and the tests' if they are there."""
    texts = {
        file.name: file.read_text("utf-8")
        for file in sorted(resources.files("leasehold_model").iterdir(), key=lambda file: file.name)
        if file.name.endswith(".py") and file.name not in _LISTS
    }
    root = Path(leasehold.__file__).parents[2] / "tests"
    return Source(_decided(texts), _tests(root) if root.is_dir() else None)


def _decided(texts: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    by_value: dict[str, list[str]] = {}
    by_words: dict[str, list[str]] = {}
    fields = {point.field: point.id for point in POINTS}
    for name, text in texts.items():
        tree = ast.parse(text)
        keys = {key for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys}
        for node in ast.walk(tree):
            match node:
                case ast.Constant(value=str(value)) if _IDENTIFIER.fullmatch(value) and node not in keys:
                    by_value.setdefault(value, []).append(f"{name}:{node.lineno}")
                case ast.Attribute(value=ast.Name(id="policies") | ast.Attribute(attr="policies"), attr=field) if field in fields:
                    by_value.setdefault(fields[field], []).append(f"{name}:{node.lineno}")
                case ast.FunctionDef():
                    first = _IDENTIFIER.match(ast.get_docstring(node) or "")
                    if first:
                        by_value.setdefault(first[0], []).append(f"{name}:{node.lineno}")
                case _:
                    pass
        for number, line in enumerate(text.splitlines(), start=1):
            for identifier in _IDENTIFIER.findall(line):
                by_words.setdefault(identifier, []).append(f"{name}:{number}")
    return {one: tuple(sorted(set(places), key=_place)) for one, places in {**by_words, **by_value}.items()}


def _place(place: str) -> tuple[str, int]:
    name, _, line = place.partition(":")
    return name, int(line)


def _tests(root: Path) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for path in sorted(root.rglob("test_*.py")):
        for name, identifiers in _marked(ast.parse(path.read_text("utf-8"))):
            for identifier in identifiers:
                found.setdefault(identifier, []).append(f"{path.relative_to(root.parent).as_posix()}::{name}")
    return {one: tuple(places) for one, places in found.items()}


def _marked(tree: ast.AST) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Functions and classes with the identifiers of their ``pytest.mark.requirement``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for mark in node.decorator_list:
                match mark:
                    case ast.Call(func=ast.Attribute(attr="requirement"), args=arguments):
                        yield node.name, tuple(str(one.value) for one in arguments if isinstance(one, ast.Constant))
                    case _:
                        pass


# -- the three forms ---------------------------------------------------------------------------------------------------------


def spec_json(source: Source) -> dict[str, Json]:
    """The whole as JSON."""
    return {
        "format": FORMAT,
        "leasehold": __version__,
        "requirements": [
            {"id": one.id, "level": one.level, "statement": one.statement, **_where(source, one.id)} for one in REQUIREMENTS
        ],
        "policies": [
            {
                "id": point.id,
                "question": point.question,
                "options": list(point.options),
                "recommended": point.options[0],
                "refines": point.refines,
                "in_contract": not point.ours,
                **_where(source, point.id),
            }
            for point in POINTS
        ],
    }


def _where(source: Source, identifier: str) -> dict[str, Json]:
    where: dict[str, Json] = {"decided": list(source.decided.get(identifier, ()))}
    if source.tests is not None:
        where["tests"] = list(source.tests.get(identifier, ()))
    return where


def spec_markdown(source: Source) -> str:
    """The whole as a page."""
    tests = source.tests is not None
    lines = ["# Requirements, laws and policies", "", "Generated by `leasehold spec --format markdown`: do not edit.", ""]
    for title, level in (("Laws", "law"), ("Requirements", "requirement")):
        lines += [f"## {title}", "", *_head(["id", "statement"], tests)]
        lines += [_row([one.id, one.statement], source, one.id) for one in REQUIREMENTS if one.level == level]
        lines.append("")
    lines += ["## Policies", "", "The first option is the recommended one.", ""]
    lines += _head(["id", "refines", "question", "options"], tests)
    lines += [_row([point.id, point.refines, point.question, _options(point)], source, point.id) for point in POINTS]
    return "\n".join(lines) + "\n"


def spec_html(source: Source) -> str:
    """The whole as one page."""
    whole = spec_json(source)
    groups: dict[str, list[Json]] = {}
    for one in whole["requirements"]:
        files = {name: [_files([place]) for place in one.get(name, ())] for name in ("decided", "tests")}
        shown = {**one, **{name: list(dict.fromkeys(places)) for name, places in files.items()}}
        groups.setdefault(one["id"].partition("-")[0], []).append(shown)
    titled = [{"id": name.lower(), "title": _TITLES.get(name, name), "rules": rules} for name, rules in groups.items()]
    return render("spec.html", groups=titled, points=POINTS, tests=source.tests is not None)


_TITLES = {
    "LAW": "Laws",
    "LEASE": "Session execution lease",
    "COMMIT": "Commit",
    "GRAPH": "Graph and loads",
    "QUEUE": "Queued work",
    "ATTACH": "Attachments",
    "META": "Metadata",
    "TIER": "Durability tier",
}


def show_entries(console: Console, source: Source, identifiers: Sequence[str]) -> None:
    """Everything about these requirements, laws and policies."""
    points = {point.id: point for point in POINTS}
    for identifier in identifiers:
        point = points.get(identifier)
        console.print(Text(identifier, "bold"))
        console.print(f"  {point.question if point else STATEMENTS[identifier]}")
        if point:
            console.print(f"  options: {_options(point)} (the first is the recommended one); refines {point.refines}")
        console.print(Text(f"  decided in: {_files(source.decided.get(identifier, ())) or 'nowhere'}", "dim"))
        if source.tests is not None:
            console.print(Text(f"  tested in: {_files(source.tests.get(identifier, ())) or 'nowhere'}", "dim"))


def _head(names: list[str], tests: bool) -> list[str]:
    names = [*names, "decided in", *(["tests"] if tests else [])]
    return [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]


def _row(cells: list[str], source: Source, identifier: str) -> str:
    cells = [*cells, _files(source.decided.get(identifier, ()))]
    if source.tests is not None:
        cells.append(_files(source.tests.get(identifier, ())))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _files(places: Iterable[str]) -> str:
    """The files alone: a page that is kept should not change with every line that moves."""
    return ", ".join(dict.fromkeys(place.partition(":")[0].removeprefix("tests/") for place in places))


def _options(point: Point) -> str:
    return ", ".join(point.options) + (" (ours)" if point.ours else "")


def short(places: Iterable[str]) -> str:
    """Places with each file named once: ``lease.py:55,68``."""
    files: dict[str, list[str]] = {}
    for place in places:
        name, _, line = place.partition(":")
        files.setdefault(name, []).append(line)
    return "; ".join(f"{name}:{','.join(numbers)}" for name, numbers in files.items())


def show_spec(console: Console, source: Source) -> None:
    """Print the whole."""
    for title, level in (("Laws", "law"), ("Requirements", "requirement")):
        table = _table(title, source)
        table.add_column("statement", ratio=3)
        table.add_column("decided in", ratio=2, overflow="fold")
        for one in REQUIREMENTS:
            if one.level == level:
                table.add_row(*_first(source, one.id), one.statement, short(source.decided.get(one.id, ())))
        console.print(table)
    table = _table("Policies: the first option is the recommended one", source)
    table.add_column("options, question", ratio=3)
    table.add_column("decided in", ratio=2, overflow="fold")
    for point in POINTS:
        about = Text.assemble((_options(point), "bold"), f"\n{point.question} ({point.refines})")
        table.add_row(*_first(source, point.id), about, short(source.decided.get(point.id, ())))
    console.print(table)


def _table(title: str, source: Source) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, expand=True
    )
    table.add_column("id", no_wrap=True)
    if source.tests is not None:
        table.add_column("tests", justify="right", no_wrap=True)
    return table


def _first(source: Source, identifier: str) -> list[str]:
    return [identifier] if source.tests is None else [identifier, str(len(source.tests.get(identifier, ())))]
