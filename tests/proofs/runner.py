"""Running proofs, twins and witnesses: by name, so that any process can do any of them."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Literal

from attrs import frozen

from tests.proofs.prover import Status, Verdict, examine, worst
from tests.proofs.registry import Property, Twin

MODULES = ("decisions", "lanes", "queued", "claims", "commits", "graphs", "witnesses")
MODEL = "leasehold_model"
RELOADED = (MODEL, "tests.proofs.registry", "tests.proofs.states", *(f"tests.proofs.{module}" for module in MODULES))

Kind = Literal["property", "twin", "witness"]


@frozen
class Task:
    """A property, one of its twins (by index), or all witnesses of one command."""

    kind: Kind
    name: str
    twin: int = 0


@frozen
class Result:
    """What came of a task. ``label``: what the verdict is on; of witnesses there are several."""

    task: Task
    label: str
    verdict: Verdict


def registry(modules: Sequence[str] = MODULES) -> ModuleType:
    """The registry, filled by these proof modules."""
    for module in modules:
        importlib.import_module(f"tests.proofs.{module}")
    return importlib.import_module("tests.proofs.registry")


def tasks(modules: Sequence[str] = MODULES) -> list[Task]:
    """Everything there is to run."""
    filled = registry(modules)
    properties: dict[str, Property] = filled.PROPERTIES
    return [
        *(Task("property", name) for name in properties),
        *(Task("witness", name) for name in filled.WITNESSES),
        *(Task("twin", name, index) for name, entry in properties.items() for index in range(len(entry.twins))),
    ]


def run(task: Task) -> list[Result]:
    """Run one task, in this process."""
    filled = registry()
    if task.kind == "witness":
        claim = filled.WITNESSES[task.name]
        never = [line.split("!=")[1].strip().strip("'\"") for line in str(claim.__doc__).splitlines() if "post:" in line]
        return [Result(task, outcome, verdict) for outcome, verdict in zip(never, examine(claim), strict=True)]
    entry: Property = filled.PROPERTIES[task.name]
    if task.kind == "property":
        verdict = worst(examine(entry.proof, 6.0 if entry.bound else 60.0, bool(entry.bound)))
        return [Result(task, entry.name, verdict)]
    twin = entry.twins[task.twin]
    try:
        with changed(twin):
            verdict = worst(examine(registry().PROPERTIES[task.name].proof))
    except Misplaced as misplaced:
        verdict = Verdict("broken", str(misplaced), 0, 0.0)
    return [Result(task, f"{twin.module}: {twin.old!r} -> {twin.new!r}", verdict)]


class Misplaced(Exception):
    """The text that a twin would change is not there, or not once: the model has moved on, and the twin has to follow."""


class _Change(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports one model module from changed text."""

    def __init__(self, twin: Twin) -> None:
        self.name = f"{MODEL}.{twin.module}"
        found = importlib.util.find_spec(self.name)
        assert found is not None and isinstance(found.loader, importlib.machinery.SourceFileLoader), self.name
        self.origin = found.origin
        text = found.loader.get_source(self.name)
        if text is None or text.count(twin.old) != 1:
            raise Misplaced(f"{twin.old!r} does not stand exactly once in {self.name}")
        self.text = text.replace(twin.old, twin.new)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(fullname, self, origin=self.origin) if fullname == self.name else None

    def get_source(self, fullname: str) -> str:
        return self.text


@contextmanager
def changed(twin: Twin) -> Iterator[None]:
    """The model and the proofs anew, with the twin's change; afterwards everything is as it was."""
    change = _Change(twin)
    saved = {name: module for name, module in sys.modules.items() if _reloaded(name)}
    parents = [
        (sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2], module) for name, module in saved.items() if "." in name
    ]
    for name in saved:
        del sys.modules[name]
    sys.meta_path.insert(0, change)
    try:
        yield
    finally:
        sys.meta_path.remove(change)
        for name in [name for name in sys.modules if _reloaded(name)]:
            del sys.modules[name]
        sys.modules.update(saved)
        for parent, attribute, module in parents:
            setattr(parent, attribute, module)


def _reloaded(name: str) -> bool:
    return name in RELOADED or name.startswith(f"{MODEL}.")


def slip(result: Result, recorded: Status | None) -> str:
    """How a result falls short of what is recorded or required; empty if it does not. Twins and witnesses must be refuted."""
    status = result.verdict.status
    if result.task.kind != "property":
        return "" if status == "refuted" else f"must be refuted, is {status}"
    if recorded is None:
        return f"{status}, and nothing is recorded"
    better = recorded == "bounded" and status == "confirmed"
    return "" if status == recorded or better else f"was {recorded}, is {status}"
