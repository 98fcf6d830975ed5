"""``make prove``: every property, its false twins, and a witness for every answer; a table; exit 1 if anything slipped.

``python -m tests.proofs [--record] [word ...]``: only properties, twins and witnesses whose name holds one of the words.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.proofs.prover import Verdict
from tests.proofs.registry import PROPERTIES
from tests.proofs.runner import Result, run, slip, tasks

RECORDED = Path(__file__).with_name("recorded.json")
COLOURS = {"confirmed": "green", "bounded": "yellow", "refuted": "magenta"}


def main(arguments: list[str], recorded_file: Path = RECORDED, console: Console | None = None) -> int:
    """Run what is asked for, say what came of it. 0: as recorded. 1: something slipped, is missing, or was never recorded."""
    parser = argparse.ArgumentParser(prog="python -m tests.proofs", description="CrossHair proofs about the model")
    parser.add_argument("--record", action="store_true", help="record the statuses found")
    parser.add_argument("word", nargs="*", help="only what has one of these words in its name")
    asked = parser.parse_args(arguments)
    if asked.record and asked.word:
        parser.error("--record wants everything to be run")
    console = console or Console(width=None if sys.stdout.isatty() else 160)
    recorded: dict[str, Any] = json.loads(recorded_file.read_text("utf-8")) if recorded_file.exists() else {}
    started = time.monotonic()
    results = everything(recorded, asked.word, console)
    if not results:
        console.print("nothing of that name")
        return 1
    console.print(table(results))
    if asked.record:
        recorded_file.write_text(json.dumps(record(results), indent=1, ensure_ascii=False) + "\n", "utf-8")
        recorded = record(results)
    complaints = slips(results, recorded, everything_ran=not asked.word)
    for complaint in complaints:
        console.print(complaint, style="red", markup=False)
    witnesses = [result for result in results if result.task.kind == "witness"]
    reached = sum(result.verdict.status == "refuted" for result in witnesses)
    console.print(f"answers reached: {reached} of {len(witnesses)}. {time.monotonic() - started:.0f} s. ", end="")
    console.print(f"{len(complaints)} complaints" if complaints else "as recorded", style="red" if complaints else "green")
    return 1 if complaints else 0


def everything(recorded: dict[str, Any], words: list[str], console: Console) -> list[Result]:
    """All tasks, in two processes, the longest first."""
    wanted = [task for task in tasks() if not words or any(word in task.name.replace("_", " ") for word in words)]
    wanted.sort(key=lambda task: -recorded.get(task.name, {}).get("paths", 0) if task.kind == "property" else -50)
    results: list[Result] = []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool, Progress(console=console, transient=True) as progress:
        bar = progress.add_task("proving", total=len(wanted)) if console.is_terminal else None
        running = {pool.submit(run, task): task for task in wanted}
        for done in as_completed(running):
            crash, task = done.exception(), running[done]
            results += [Result(task, task.name, Verdict("broken", repr(crash), 0, 0.0))] if crash else done.result()
            if bar is not None:
                progress.advance(bar)
    return results


def table(results: list[Result]) -> Table:
    """A row per property: what it is about, over what, and its status."""
    shown = Table("property", "rule", "over", "status", "s", "false twins", title="CrossHair, over all paths")
    verdicts = {result.task.name: result.verdict for result in results if result.task.kind == "property"}
    for name, entry in PROPERTIES.items():
        if name in verdicts:
            verdict = verdicts[name]
            twins = [r.verdict.status for r in results if r.task.kind == "twin" and r.task.name == name]
            status = f"[{COLOURS.get(verdict.status, 'red')}]{verdict.status}[/]" + (f" ({entry.bound})" if entry.bound else "")
            refuted = f"{twins.count('refuted')} of {len(twins)} refuted" if twins else ""
            shown.add_row(name, " ".join(entry.ids), entry.over, status, f"{verdict.seconds:.1f}", refuted)
    return shown


def record(results: list[Result]) -> dict[str, Any]:
    """What is kept of a run: per property its status, arity and number of paths, and the counterexample of what is refuted."""
    kept: dict[str, Any] = {}
    for result in sorted((r for r in results if r.task.kind == "property"), key=lambda r: r.label):
        entry: dict[str, Any] = {"status": result.verdict.status, "over": PROPERTIES[result.label].over}
        if result.verdict.status == "confirmed":
            entry["paths"] = result.verdict.paths
        if result.verdict.status == "refuted":
            entry["counterexample"] = result.verdict.message
        kept[result.label] = entry
    return kept


def slips(results: list[Result], recorded: dict[str, Any], everything_ran: bool = True) -> list[str]:
    """One line for everything that is not as recorded: slipped, unrecorded, no longer there, or a twin that is not refuted."""
    complaints = []
    for result in results:
        entry = recorded.get(result.task.name, {})
        short = slip(result, entry.get("status"))
        over = PROPERTIES[result.task.name].over if result.task.kind == "property" else ""
        if not short and over and entry["over"] != over:
            short = f"was about {entry['over']!r}, is about {over!r}"
        if short:
            label = "" if result.label == result.task.name else f" ({result.label})"
            complaints.append(f"{result.task.kind} {result.task.name}{label}: {short}. {result.verdict.message}")
    met = {result.task.name for result in results}
    if everything_ran:
        complaints += [f"property {name}: recorded, but gone" for name in recorded if name not in met]
    return complaints


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
