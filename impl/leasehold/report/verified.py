"""The reports of `verify`: for people and as JSON."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from leasehold import __version__
from leasehold.logs.lines import Line
from leasehold.logs.models import MODELS
from leasehold.logs.objects import AnyCall
from leasehold.report.text import count
from leasehold.verify import Verified, Wrong

TAIL = 12
"""So many of the last calls of an order are shown."""

NEXT = 8
"""So many of the calls that could come next are shown."""

_COLOURS = {"linearizable": "green", "not linearizable": "red", "unknown": "yellow"}

_ENDED = {
    "time": "The time ended before there was a verdict. Go on with --budget 10m, or as long as you like.",
    "nodes": "So many configurations gave no verdict. Go on with --nodes {more}; each takes about half a kilobyte of memory.",
    "interrupted": "It was interrupted before there was a verdict.",
}


def show_verified(console: Console, verified: Verified) -> None:
    """Print what came out."""
    console.print(Text.assemble((verified.verdict.upper(), f"bold {_COLOURS[verified.verdict]}"), f"  {verified.log.path}"))
    for fact in _facts(verified):
        console.print(Text(f"  {fact}"))
    if verified.wrong is not None:
        _show_wrong(console, verified.model, verified.wrong)
    if verified.verdict == "unknown":
        console.print(Text(f"  {_ended(verified)}", "yellow"))
        console.print(Text(f"  {verified.judged} of {verified.parts} parts were judged, and are linearizable.", "yellow"))


def _ended(verified: Verified) -> str:
    return _ENDED[verified.ended].format(more=10 * verified.nodes)


def _facts(verified: Verified) -> list[str]:
    calls = f"{count(verified.calls, 'call', 'calls')} of {count(verified.clients, 'client', 'clients')}"
    answers = count(verified.lost, "answer was lost", "answers were lost")
    facts = [
        f"{verified.model} ({MODELS[verified.model].about}), read as {verified.log.form}",
        f"{calls}; {answers}; {verified.without_effect:,} say nothing: refused, lost reads, or within a gap",
        f"{count(verified.parts, 'part', 'parts')} to judge; {verified.nodes:,} configurations visited in {verified.seconds:.2f} s",
    ]
    if verified.log.gaps:
        facts.append(f"{count(len(verified.log.gaps), 'gap', 'gaps')}: each side was judged on its own, and nothing across them")
    if verified.log.skipped:
        facts.append(f"{count(verified.log.skipped, 'line', 'lines')} of the log are none of the history, and were passed over")
    return facts


def _show_wrong(console: Console, model: str, wrong: Wrong) -> None:
    part = wrong.part
    where = [f"key {part.key}"] if part.key else []
    where += [f"after the gap {list(part.after_gap)}, from an unknown state"] if part.after_gap else []
    console.print()
    console.print(Text(f"No order explains these {wrong.kept} calls{''.join(f', {one}' for one in where)}.", "bold red"))
    left_out = wrong.calls - wrong.kept
    if left_out:
        console.print(Text(f"  {left_out:,} others of this part are later, or have no effect and are not needed to see it.", "dim"))
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, title="The longest order that was found", title_justify="left")
    for heading in ("line", "client", "from", "to", "call", "then" if model != "mutex" else "then it is"):
        table.add_column(heading, justify="right" if heading in {"line", "from", "to"} else "left", overflow="fold")
    if len(wrong.order) > TAIL:
        table.add_row("..", "", "", "", f"{len(wrong.order) - TAIL:,} calls before", "", style="dim")
    for line, call, state in wrong.order[-TAIL:]:
        table.add_row(*_cells(model, line, call), Text(state or "one of several", "green"))
    console.print(table)
    console.print(Text("What could come next, and why it cannot:", "bold"))
    for line, call, why, possible in wrong.next[:NEXT]:
        number, client, first, last, told = _cells(model, line, call)
        head = f"  line {number}, client {client}, {first} to {last}: "
        console.print(Text.assemble(head, (told, "bold"), ": ", (why, "yellow" if possible else "red")))
    if len(wrong.next) > NEXT:
        console.print(Text(f"  and {len(wrong.next) - NEXT:,} more", "dim"))


def _cells(model: str, line: Line, call: AnyCall) -> list[str]:
    last = "never" if line.end is None else str(line.end)
    return [str(line.number), line.client, str(line.start), last, MODELS[model].told(call)]


def verified_json(verified: Verified) -> dict[str, Any]:
    """The same, for programs."""
    log = verified.log
    value: dict[str, Any] = {
        "format": 1,
        "leasehold": __version__,
        "log": str(log.path),
        "form": log.form,
        "model": verified.model,
        "verdict": verified.verdict,
        "calls": verified.calls,
        "clients": verified.clients,
        "lost": verified.lost,
        "without_effect": verified.without_effect,
        "gaps": [list(gap) for gap in log.gaps],
        "parts": verified.parts,
        "judged": verified.judged,
        "nodes": verified.nodes,
        "seconds": round(verified.seconds, 3),
    }
    if verified.verdict == "unknown":
        value["ended"] = verified.ended
        value["advice"] = _ended(verified)
    if verified.wrong is not None:
        value["wrong"] = _wrong_json(verified.model, verified.wrong)
    return value


def _wrong_json(model: str, wrong: Wrong) -> dict[str, Any]:
    return {
        "calls": wrong.calls,
        "kept": wrong.kept,
        "key": wrong.part.key,
        "after_gap": list(wrong.part.after_gap) if wrong.part.after_gap else None,
        "order": [{**_call_json(model, line, call), "state": state} for line, call, state in wrong.order],
        "state": wrong.state,
        "next": [{**_call_json(model, line, call), "why": why, "possible": possible} for line, call, why, possible in wrong.next],
    }


def _call_json(model: str, line: Line, call: AnyCall) -> dict[str, Any]:
    return {"line": line.number, "client": line.client, "start": line.start, "end": line.end, "call": MODELS[model].told(call)}
