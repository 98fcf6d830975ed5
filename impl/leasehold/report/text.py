"""The reports for people: the verdict, then what broke and the shortest run that shows it, then what was and was not checked."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import IO, TextIO

from attrs import frozen
from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from leasehold.case import Replayed, as_pytest, case_of
from leasehold.deviations import EXPLAINED, Problem
from leasehold.oracle.check import Report
from leasehold.oracle.concurrent import RaceFinding
from leasehold.oracle.coverage import NotChecked
from leasehold.oracle.findings import Finding
from leasehold.oracle.probe import Probed
from leasehold.oracle.provoke import Tally
from leasehold.report import race
from leasehold.report.cause import blame, both, lead, notes, should, undecided
from leasehold.report.json import Violation
from leasehold.report.race import RaceStory, tell_race
from leasehold.report.standing import Standing, standings
from leasehold.report.story import Story, tell
from leasehold.report.words import Words
from leasehold.store import OPERATIONS
from leasehold_model.requirements import REQUIREMENTS, STATEMENTS

WIDEST = 130
"""Columns beyond which lines get no longer: nobody reads them."""

FOLDED, HEAD, TAIL = 60, 10, 20
"""A run of more steps than the first is told by so many of its first and of its last."""

GAP = 2
"""Columns between two cells of a list."""

_COLOURS = {"conforms": "green", "violates": "red", "inconclusive": "yellow", "broken": "magenta"}
_BROKEN = "bold red"
_MARKS = {"x": "x broken", "!": "! never answered rightly in this check"}


@frozen(kw_only=True)
class Asked:
    """What the user asked for, so that the report can say how to ask again."""

    command: str
    recommended: bool = False
    max_findings: int = 5


def show(console: Console, report: Report, violations: Sequence[Violation], asked: Asked) -> None:
    """Print the report of a check."""
    console.print(_headline(report.verdict, sentence(report, asked)), soft_wrap=False)
    for line in _facts(report):
        console.print(line)
    if len(violations) >= asked.max_findings:
        console.print(Text(f"stopped at {count(len(violations), 'finding', 'findings')}: --max-findings", "dim"))
    for number, violation in enumerate(violations, start=1):
        console.print()
        _show_finding(console, violation, f"{number} of {len(violations)}", report)
    if report.verdict == "inconclusive" and report.starved:
        console.print(_starved(report))
    if report.policies:
        console.print(_policies(console, report.policies))
    if report.operations:
        console.print(_coverage(console, report))
    known = [one for one in report.not_checked if one.why.startswith(EXPLAINED)]
    for title, items in (("Known deviations", known), ("Not checked", [one for one in report.not_checked if one not in known])):
        if items:
            console.print(_not_checked(title, items))
    console.print(_title("Again"))
    console.print(Text(f"  {asked.command}", "bold"), soft_wrap=True)
    console.print()


class _Console(Console):
    """A console that goes on in silence when its reader has gone, as `head` does: the exit code is still the verdict's."""

    def on_broken_pipe(self) -> None:
        """Write nowhere from now on."""
        self.quiet = True
        close_output(self.file)


def close_output(stream: IO[str]) -> None:
    """Let a stream whose reader has gone write nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def printer(stream: TextIO, width: int | None = None) -> Console:
    """A console for reports."""
    console = _Console(file=stream, highlight=False, markup=False, emoji=False, width=width)
    console.width = min(console.width, WIDEST)
    return console


# -- the first screen --------------------------------------------------------------------------------------------------------------


def _headline(verdict: str, sentence: str) -> Text:
    return Text.assemble((f" {verdict.upper()} ", f"bold white on {_COLOURS[verdict]}"), "  ", (sentence, "bold"))


def sentence(report: Report, asked: Asked) -> str:
    """The verdict in words."""
    rules = [*(race.requirement for race in report.races if not isinstance(race, Problem))]
    rules += [finding.requirement for finding in report.findings]
    cut = "; the check was interrupted" if report.interrupted else ""
    if rules:
        return f"{report.target} breaks {', '.join(rules)}{cut}"
    if any(isinstance(race, Problem) for race in report.races):
        return f"{report.target} breaks no rule otherwise than recorded, but the register of known deviations is not right{cut}"
    if report.verdict == "violates" and asked.recommended:
        options = count(len(report.loose), "option is", "options are")
        return f"{report.target} breaks no rule, but {options} not the recommended one{cut}"
    if report.verdict == "conforms":
        return f"{report.target} kept every rule that was checked{cut}"
    if report.interrupted:
        return f"{report.target}: interrupted; no rule was broken until then"
    return f"{report.target} broke no rule, but too little was checked to say that it conforms"


def _facts(report: Report) -> Iterable[Text]:
    operations, runs = count(report.operations, "operation", "operations"), count(report.runs, "run", "runs")
    lost = f", {count(report.lost, 'answer', 'answers')} lost" if report.lost else ""
    yield Text(f"{operations} in {runs}{lost}, {report.seconds:.1f} s, seed {report.seed}", "dim")
    if survived(report.tally):
        yield Text(survived(report.tally), "dim")
    line = tally(standings(report))
    if report.not_checked:
        line += f"; not checked: {in_brief([one.what for one in report.not_checked])} (why: below)"
    yield Text(line, "dim")


def survived(done: Tally) -> str:
    """What the store was put through beside runs of one client; empty: nothing."""
    told = []
    if done.histories:
        left = [f"{done.undecided:,} undecided" if done.undecided else "none undecided"]
        left += [f"{done.silent:,} on which the contract is silent"] if done.silent else []
        told.append(f"{count(done.histories, 'history', 'histories')} of clients at once, {', '.join(left)}")
    told += [count(done.kills, "kill", "kills")] if done.kills else []
    told += [count(done.servers, "kill", "kills") + " of the database server"] if done.servers else []
    told += [count(done.connections, "lost connection", "lost connections")] if done.connections else []
    told += [count(done.power_losses, "power loss", "power losses")] if done.power_losses else []
    return "; ".join(told)


def tally(ruled: Sequence[Standing]) -> str:
    """How many rules an answer was compared with, and how they came out."""
    counts = Counter(one.state for one in ruled)
    told = [f"{counts[state]} {state}" for state in ("broken", "known", "in doubt", "kept") if counts[state]]
    never = f"; {counts['starved']} never tested" if counts["starved"] else ""
    total = sum(counts[state] for state in ("broken", "known", "in doubt", "kept"))
    return f"{total} of {len(ruled)} rules tested ({', '.join(told) or 'none'}){never}"


def in_brief(whats: Sequence[str]) -> str:
    """What was not checked, by name if it is little, else by number."""
    if len(whats) <= 8:
        return ", ".join(whats)
    rules, operations = sum(one in STATEMENTS for one in whats), sum(one in OPERATIONS for one in whats)
    points = sum(one.startswith("P-") for one in whats)
    others = [one for one in whats if one not in STATEMENTS and one not in OPERATIONS and not one.startswith("P-")]
    counts = [count(rules, "rule", "rules")] if rules else []
    counts += [count(operations, "operation", "operations")] if operations else []
    counts += [count(points, "policy", "policies")] if points else []
    return ", ".join([*counts, *others])


# -- findings ----------------------------------------------------------------------------------------------------------------------


def _show_finding(console: Console, violation: Violation, title: str, report: Report) -> None:
    """One finding: the rule, the run, the wrong answer in a sentence, and what to do with it."""
    finding = violation.finding
    console.print(_rule(finding, title))
    console.print(Text(STATEMENTS.get(finding.requirement, ""), "bold"))
    stated = {one.mismatch.rule for one in finding.refused} if isinstance(finding, RaceFinding) else set()
    for one in (rule for rule in finding.also if rule not in stated):
        console.print(Text(f"also {one}: {STATEMENTS.get(one, '')}", "dim"))
    console.print(Group(*block(finding)))
    if violation.case is None:
        return
    case = case_of(finding, report.target, report.capabilities, report.contract)
    replay = shlex.join(["leasehold", "replay", str(violation.case), report.target])
    pasted = [] if report.target.startswith("cmd:") else ["", *as_pytest(case, violation.case).splitlines()]
    console.print(Text("\nRun it again, or paste it as a test:" if pasted else "\nRun it again:", "dim"))
    for line in (replay, *pasted):
        console.print(Text(line), soft_wrap=True)  # to be copied, so it is never broken


def _rule(finding: Finding | RaceFinding, title: str) -> Rule:
    steps = f", shown in {count(finding.commands, 'operation', 'operations')}" if finding.commands else ""
    how = "not as recorded" if isinstance(finding, Problem) else "broken"
    return Rule(Text.assemble((finding.requirement, _BROKEN), (f" {how} ({title}){steps}", "red")), style="red", align="left")


def block(finding: Finding | RaceFinding) -> list[RenderableType]:
    """What was found: a run, a race, or what has neither."""
    if isinstance(finding, Finding):
        return run_block(finding)
    story = tell_race(finding)
    return [Text(finding.message)] if story is None else _race_block(finding, story)


def _race_block(finding: RaceFinding, story: RaceStory) -> list[RenderableType]:
    """The calls of each client side by side, how far they can be explained, and why no further."""
    parts: list[RenderableType] = [Text(race.lead(story), _BROKEN)]
    if story.before is not None:
        parts.append(Text("Before, one after the other:", "dim"))
        parts += [Text(f"  {story.words.call(line)}: {story.words.answer(line)}", "dim") for line in story.before.lines]
    parts += [_race_table(story), Text(race.explained(story), "green")]
    parts += [Text(race.refusal(one), _BROKEN) for one in story.refused]
    parts += [Text(trace, "dim") for trace in race.traces(finding)]
    again, meant = race.seen_again(finding), named(story.words, story.texts())
    parts += [Text(again)] if again else []
    return [*parts, *([Text("; ".join(meant), "dim")] if meant else [])]


def _race_table(story: RaceStory) -> Table:
    """Time goes down. A call is at its start, its answer at its return, and in between is what the others did meanwhile."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, expand=True)
    table.add_column("  #", no_wrap=True)
    columns = {client: column for column, client in enumerate(story.used)}
    for client in story.used:
        table.add_column(story.clients[client], overflow="fold", ratio=1)
    moments, at = story.events, 0
    while at < len(moments):
        _, one = moments[at]
        whole = one.end is not None and at + 1 < len(moments) and moments[at + 1][1] is one  # nobody did anything meanwhile
        returns = one.end == moments[at][0] or whole
        cells = [Text("\u2502" if _open(story, client, moments[at][0]) else "", "dim") for client in story.used]
        bad = one.refused is not None and returns
        cells[columns[one.client]] = Text("\n").join(
            [
                *([Text(one.call)] if one.start == moments[at][0] else []),
                *([Text(f"= {one.answer}", _BROKEN if bad else "")] if returns else []),
                *([Text(f"= {one.answer}", "dim")] if one.end is None else []),
            ]
        )
        table.add_row(f"{'>>' if bad else '  '}{one.letter}", *cells, style="bold" if bad else "")
        at += 2 if whole else 1
    return table


def _open(story: RaceStory, client: int, at: int) -> bool:
    """A call of this client is under way."""
    return any(one.client == client and one.start < at and (one.end is None or at < one.end) for one in story.calls)


def run_block(finding: Finding) -> list[RenderableType]:
    """The run as a table, what is wrong with it in a sentence, and the legend of short names."""
    story = tell(finding.failure)
    words = Words(story)
    parts: list[RenderableType] = [Text(lead(finding, story, words), _BROKEN), _run_table(finding, story, words)]
    wrong = story.mismatch
    where, allowed, given = words.wrong()
    if undecided(finding):
        parts.append(Text(should(finding, story, words), "green"))
    else:
        parts.append(
            Text.assemble(
                (where, _BROKEN), ": the contract allows ", (allowed, "green"), "; the store answered ", (given, "red"), "."
            )
        )
    why = blame(finding, story)
    if why:
        parts.append(Text(why))
    if "\n" in wrong.given:
        parts.append(Text("\n".join(wrong.given.splitlines()[1:]), "dim"))
    meant = legend(story, words)
    parts += [Text(meant, "dim")] if meant else []
    if not finding.confirmed:
        parts.append(
            Text("This did not happen again when the same run was repeated: the store does not always do the same.", "yellow")
        )
    return parts


def _run_table(finding: Finding, story: Story, words: Words) -> Table:
    marked = notes(finding, story)
    times = len({line.at for line in story.lines} | {story.start}) > 1
    handles = any(line.handle != 0 for line in story.lines)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, expand=True)
    table.add_column("  #", no_wrap=True)
    if times:
        table.add_column("ms", justify="right", no_wrap=True)
    if handles:
        table.add_column("handle", no_wrap=True)
    table.add_column("operation", overflow="fold", ratio=5)
    table.add_column("the model allows", overflow="fold", ratio=4)
    table.add_column("the store answered", overflow="fold", ratio=4)
    for line in story.lines:
        if len(story.lines) > FOLDED and HEAD < line.number <= len(story.lines) - TAIL:
            if line.number == HEAD + 1:
                left_out = f"{len(story.lines) - HEAD - TAIL} more steps, all in the case file"
                table.add_row("  ..", *[""] * (times + handles), left_out, "", "", style="dim")
            continue
        cells = [f"{'>>' if line.broken else '> ' if line.number in marked else '  '}{line.number}"]
        cells += [f"+{line.at - story.start}"] if times else []
        cells += [str(line.handle + 1)] if handles else []
        (allowed, should_be), (answered, is_wrong) = both(finding, words, line)
        call = words.call(line) + (f"\n({marked[line.number]})" if line.number in marked else "")
        sides = [
            Text.assemble(plain, "\n" if plain and bad else "", (bad, f"bold {colour}"))
            for plain, bad, colour in ((allowed, should_be, "green"), (answered, is_wrong, "red"))
        ]
        table.add_row(*cells, Text(call), *sides, style="bold" if line.broken else "yellow" if line.number in marked else "")
    return table


def legend(story: Story, words: Words) -> str:
    """What the short names, numbers and times of a run mean."""
    parts = []
    if len({line.at for line in story.lines} | {story.start}) > 1 or any("+" in words.answer(line) for line in story.lines):
        parts.append("times and expiries in ms since the run began")
    if any(line.handle != 0 for line in story.lines):
        parts.append("handle 1 opened the store, the others are open_handle()'s")
    return "; ".join([*parts, *names(story, words)])


def names(story: Story, words: Words) -> list[str]:
    """The short names that are used."""
    return named(words, (side for line in story.lines for one in words.both(line) for side in (*one, words.call(line))))


def named(words: Words, texts: Iterable[str]) -> list[str]:
    """The short names in these texts."""
    told = " ".join(texts)
    return [f"{name} = {text}" for name, text in words.legend.items() if re.search(rf"\b{re.escape(name)}\b", told)]


# -- what was checked --------------------------------------------------------------------------------------------------------------


def _title(text: str) -> RenderableType:
    return Group(Text(), Rule(Text(text, "bold"), style="dim", align="left"))


def _columns(console: Console, cells: Sequence[Text]) -> Table:
    """Cells in as many columns as fit, read downwards."""
    least = max((cell.cell_len for cell in cells), default=1)
    count = max(1, min(len(cells), (console.width + GAP) // (least + GAP)))
    height = -(-len(cells) // count)
    table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    for _ in range(count):
        table.add_column(min_width=least, no_wrap=True)
    for row in range(height):
        table.add_row(*(cells[column * height + row] if column * height + row < len(cells) else "" for column in range(count)))
    return table


def _policies(console: Console, policies: Sequence[Probed]) -> RenderableType:
    asked = [one for one in policies if one.option is not None or one.failure is not None]
    width = max((len(one.point.id) for one in asked), default=0)
    cells = [_policy(one, width) for one in asked]
    parts: list[RenderableType] = [_title("Policies: where stores may differ, what this one does")]
    parts.append(_columns(console, cells))
    loose = [one for one in asked if one.option not in (None, one.point.options[0])]
    parts += [
        Text(f"* {one.point.id}: {one.option}; recommended {one.point.options[0]}. {one.point.question}", "yellow") for one in loose
    ]
    unclear = [one.point.id for one in asked if one.option is None]
    if unclear:
        because = "No option explains the answers, most likely because of what is broken above"
        parts.append(Text(f"? {because}: {', '.join(unclear)}", "red"))
    elif not loose:
        parts.append(Text(f"All {len(asked)} are the recommended ones.", "dim"))
    parts += [Text(f"Weakness: {one}", "bold yellow") for one in weaknesses(asked)]
    return Group(*parts)


def _policy(probed: Probed, width: int) -> Text:
    name = f"{probed.point.id:<{width}} "
    if probed.option is None:
        return Text.assemble("? ", name, ("none fits", "red"))
    if probed.option == probed.point.options[0]:
        return Text.assemble("  ", name, (probed.option, "green"))
    return Text.assemble(("* ", "yellow"), name, (probed.option, "bold yellow"))


def weaknesses(policies: Sequence[Probed]) -> list[str]:
    """What the options taken let happen, although no rule forbids it."""
    taken = {one.point.id: one.option for one in policies}
    found = []
    if taken.get("P-CLAIM-FENCE") == "head":
        found.append(
            "P-CLAIM-FENCE head: a claim's fencing token may be no greater than an older claim's on the same batch, so the "
            "older worker passes for the newer one (LAW-4)."
        )
    if taken.get("P-MANIFEST-KEY") == "id" and taken.get("P-INTENT-REPEAT") == "last-wins":
        found.append(
            "P-MANIFEST-KEY id with P-INTENT-REPEAT last-wins: a session that records another's attachment id takes over its row."
        )
    return found


def _coverage(console: Console, report: Report) -> RenderableType:
    names = [one.id for one in REQUIREMENTS if one.id in report.exercised]
    width = max(len(name) for name in names)
    cells = []
    broken = {*(race.requirement for race in report.races), *(finding.requirement for finding in report.findings)}
    for name in names:
        exercised, asserted = report.exercised[name], report.asserted[name]
        colour = "red" if exercised == 0 or name in broken else "yellow" if exercised < 5 else "green"
        mark = "x" if name in broken else "!" if exercised == 0 else " "
        cells.append(
            Text.assemble(f"{mark} {name:<{width}} ", (f"{_short(exercised):>5}", colour), (f" {_short(asserted):>5}", "dim"))
        )
    return Group(
        _title("Rules exercised, and answers that were compared because of them"),
        _columns(console, cells),
        Text("  ".join(note for mark, note in _MARKS.items() if any(cell.plain.startswith(mark) for cell in cells)), "dim"),
    )


def _short(count: int) -> str:
    if count < 10_000:
        return str(count)
    return f"{count / 1000:.0f}k" if count < 1_000_000 else f"{count / 1_000_000:.1f}M"


def _not_checked(title: str, items: Sequence[NotChecked]) -> RenderableType:
    by_why: dict[str, list[str]] = {}
    for one in items:
        by_why.setdefault(one.why, []).append(one.what)
    lines = [Text.assemble("  ", (", ".join(whats), "yellow"), f": {why.removeprefix(EXPLAINED)}") for why, whats in by_why.items()]
    return Group(_title(title), *lines)


def _starved(report: Report) -> RenderableType:
    lines = [Text.assemble("  ! ", (_never(one), "yellow")) for one in report.starved]
    advice = "Give it more time: --budget 5m. If it stays so, the store refuses or lacks what leads there; see `leasehold spec`."
    return Group(_title("Never reached"), *lines, Text(f"  {advice}"))


def _never(what: str) -> str:
    return f"{what}  {STATEMENTS[what]}" if what in STATEMENTS else what.removeprefix("sometimes: ")


# -- other commands ----------------------------------------------------------------------------------------------------------------


def show_broken(console: Console, target: str, why: str, again: str = "") -> None:
    """Print that nothing can be said about the store. ``again``: the command that comes to the same place."""
    what, _, details = why.partition("\n")
    body = Text(what.removeprefix(f"{target}: "))
    if details:
        body.append("\n" + details, "dim")
    advice = "Nothing was found out about the rules: mend this first, then run the same command again."
    console.print(_headline("broken", target))
    console.print(Panel(Group(body, Text(), Text(advice, "bold")), box=ROUNDED, border_style="magenta", expand=False))
    if again:
        console.print(Text(f"  {again}", "bold"), soft_wrap=True)


def show_probe(console: Console, target: str, policies: Sequence[Probed]) -> None:
    """Print what probing found."""
    console.print(Text.assemble((target, "bold"), f": {len(policies)} policy points"))
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("point", no_wrap=True)
    table.add_column("option")
    table.add_column("recommended")
    table.add_column("what it is about")
    for one in policies:
        option = Text(one.option or ("none fits" if one.failure else "not asked"))
        option.stylize("green" if one.option == one.point.options[0] else "bold yellow" if one.option else "red")
        mark = "yes" if one.option == one.point.options[0] else one.point.options[0]
        table.add_row(one.point.id, option, mark, one.why or one.point.question)
    console.print(table)
    for weakness in weaknesses(policies):
        console.print(Text(f"Weakness: {weakness}", "bold yellow"))


def show_replayed(console: Console, name: str, again: Replayed, target: str) -> None:
    """Print what became of one case."""
    console.print(_headline(again.verdict, f"{name}: {_outcome(again, target)}"))
    console.print(Text(f"  {again.change}.", "yellow" if again.changed and again.verdict != "conforms" else ""))
    if not again.because:
        for one in again.notes:
            console.print(Text(f"  {one}", "yellow"))
        if again.differing:
            console.print(Text(f"  This store is judged by its own policies: {'; '.join(again.differing)}", "yellow"))
    finding = again.finding
    if finding is None:
        return
    console.print(Text(f"{finding.requirement}  {STATEMENTS.get(finding.requirement, '')}", "bold"))
    console.print(Group(*block(finding)))


def _outcome(again: Replayed, target: str) -> str:
    if again.verdict == "conforms":
        return f"{target} keeps {again.case.requirement} in this run"
    if again.finding is None:
        return f"the run cannot be made on {target} as it was, so it says nothing"
    if again.finding.requirement == again.case.requirement:
        return f"{target} breaks {again.case.requirement}, as in the case"
    return f"{target} breaks {again.finding.requirement}; in the case it was {again.case.requirement}"


def replayed_text(again: Replayed, target: str, width: int = 100) -> str:
    """The same, as text."""
    stream = io.StringIO()
    show_replayed(
        Console(file=stream, width=width, highlight=False, markup=False, emoji=False, color_system=None), "case", again, target
    )
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def count(number: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{number:,} {one if number == 1 else many}"
