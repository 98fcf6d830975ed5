"""The report as Markdown, for the summary page of a CI job. What a store answered is shown, never obeyed."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence

from leasehold.oracle.check import Report
from leasehold.oracle.concurrent import RaceFinding
from leasehold.oracle.findings import Finding
from leasehold.report import race
from leasehold.report.cause import blame, both, lead, notes, should
from leasehold.report.html import GROUPS, SIGNS, STATES
from leasehold.report.json import Violation
from leasehold.report.lanes import mermaid as race_mermaid
from leasehold.report.race import tell_race
from leasehold.report.standing import Standing, printable, standings
from leasehold.report.story import client, tell
from leasehold.report.text import Asked, count, legend, named, sentence, survived, tally, weaknesses
from leasehold.report.timeline import mermaid, timeline
from leasehold.report.words import Words
from leasehold_model.requirements import STATEMENTS

MOST_STEPS = 40
"""Steps of a run that are shown; of a longer one the middle is left out."""

_ACTIVE = re.compile(r"[&<>|\\`*_\[\]~#@$]|:(?=\S)|www\.")


def check_markdown(report: Report, violations: Sequence[Violation], asked: Asked) -> str:
    """The report of a check."""
    lines = [f"## {SIGNS[report.verdict]} {report.verdict.upper()}: {text(sentence(report, asked))}", ""]
    runs = f"{count(report.operations, 'operation', 'operations')} in {count(report.runs, 'run', 'runs')}"
    more = f" {text(survived(report.tally))}." if survived(report.tally) else ""
    lines += [f"{runs}, {report.seconds:.1f} s, seed {report.seed}.{more}", "", "Run it again:", "", *_pre(asked.command, "sh"), ""]
    for number, violation in enumerate(violations, start=1):
        lines += [f"### Finding {number} of {len(violations)}: {violation.finding.requirement}", ""]
        lines += [f"> {text(STATEMENTS.get(violation.finding.requirement, ''))}", ""]
        lines += _finding(violation.finding)
        if violation.case is not None:
            lines += ["Run it again:", "", *_pre(shlex.join(["leasehold", "replay", str(violation.case), report.target]), "sh"), ""]
    if asked.recommended and report.loose:
        lines += [f"Not the recommended option, which was required: {', '.join(report.loose)}.", ""]
    if report.operations:
        lines += _rules(standings(report))
    lines += [f"**Weakness:** {text(one)}\n" for one in weaknesses(report.policies)]
    lines += _not_checked(report)
    return printable("\n".join(lines)) + "\n"


def broken_markdown(target: str, why: str, command: str) -> str:
    """A check of which nothing came, for the set-up is broken."""
    lines = [f"## {SIGNS['broken']} BROKEN: {text(target)} could not be checked", "", *_pre(why), ""]
    lines += [
        "Nothing was found out about the rules: mend this first, then run the same command again.",
        "",
        *_pre(command, "sh"),
        "",
    ]
    return printable("\n".join(lines)) + "\n"


def text(given: str) -> str:
    """Text in which nothing means anything to Markdown, on one line, also inside a table."""
    return _ACTIVE.sub(lambda match: "".join(f"&#{ord(one)};" for one in match[0]), " ".join(given.split()))


def _bold(given: str) -> str:
    return f"**{text(given)}**" if given.strip() else ""


def _pre(given: str, kind: str = "") -> list[str]:
    """Text in a fence that is longer than any in it."""
    longest = max((len(run) for run in re.findall("`+", given)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence + kind, *given.splitlines(), fence]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}", *(f"| {' | '.join(row)} |" for row in rows), ""]


def _finding(finding: Finding | RaceFinding) -> list[str]:
    if isinstance(finding, RaceFinding):
        return _race(finding)
    story = tell(finding.failure)
    words, drawn = Words(story), timeline(finding)
    marked = notes(finding, story)
    lines = [_bold(lead(finding, story, words)), "", f"What should have happened: {text(should(finding, story, words))}", ""]
    why = blame(finding, story)
    lines += [text(why), ""] if why else []
    for rule in finding.also:
        lines += [f"Also {rule}: {text(STATEMENTS.get(rule, ''))}", ""]
    if not finding.confirmed:
        lines += ["This did not happen again when the same run was repeated: the store does not always do the same.", ""]
    rows = []
    for line in story.lines:
        cells = [text(client(line, story)), text(words.call(line))]
        cells += [" ".join(filter(None, (text(plain), _bold(bad)))) for plain, bad in both(finding, words, line)]
        when = [words.time(line.at)] if drawn.timed else []
        mark = "wrong" if line.broken else marked.get(line.number, "")
        number = f"**{line.number}, {mark}**" if mark else str(line.number)
        rows.append([number, *when, *cells])
    if len(rows) > MOST_STEPS:
        half = MOST_STEPS // 2
        rows = [*rows[:half], ["..."] * len(rows[0]), *rows[-half:]]
    heads = ["step", *(["ms"] if drawn.timed else []), "who", "call", "the contract allows", "the store answered"]
    lines += _table(heads, rows)
    names = legend(story, words)
    lines += [text(names) + ".", ""] if names else []
    return [*lines, "```mermaid", *mermaid(drawn).splitlines(), "```", ""]


def _race(finding: RaceFinding) -> list[str]:
    story = tell_race(finding)
    also = [line for rule in finding.also for line in (f"Also {rule}: {text(STATEMENTS.get(rule, ''))}", "")]
    if story is None:
        return [text(finding.message), "", *also]
    lines = [_bold(race.lead(story)), "", *also]
    if story.before is not None:
        rows = [[str(one.number), text(story.words.call(one)), text(story.words.answer(one))] for one in story.before.lines]
        lines += ["Before, one after the other:", "", *_table(["step", "call", "the store answered"], rows)]
    rows = []
    for at, one in story.events:
        cells = [""] * len(story.used)
        answer = _bold(one.answer) if one.refused else text(one.answer)
        cells[story.used.index(one.client)] = text(one.call) if at == one.start else answer
        what = "starts" if at == one.start else "returns"
        rows.append([f"**{one.letter} {what}, wrong**" if one.refused and at == one.end else f"{one.letter} {what}", *cells])
    lines += _table(["call", *(text(story.clients[client]) for client in story.used)], rows)
    lines += [text(race.explained(story)), ""]
    for one in story.refused:
        lines += [_bold(race.refusal(one)), ""]
    for told in (race.seen_again(finding), "; ".join(named(story.words, story.texts()))):
        lines += [text(told), ""] if told else []
    return [*lines, "```mermaid", *race_mermaid(story, finding.requirement).splitlines(), "```", ""]


def _rules(ruled: Sequence[Standing]) -> list[str]:
    rows = []
    for prefix, title in GROUPS.items():
        counts = Counter(one.state for one in ruled if one.id.rpartition("-")[0] == prefix)
        rows.append([title, *(str(counts[state] or "") for state in STATES)])
    heads = ["rules", *(f"{sign} {word}" for sign, word, _ in STATES.values())]
    return ["### Rules", "", tally(ruled) + ".", "", *_table(heads, rows)]


def _not_checked(report: Report) -> list[str]:
    by_why: dict[str, list[str]] = {}
    for one in report.not_checked:
        by_why.setdefault(one.why, []).append(one.what)
    never = [one.removeprefix("sometimes: ") for one in report.starved]
    rows = [[text(", ".join(whats)), text(why)] for why, whats in by_why.items()]
    rows += [[text(", ".join(never)), "never reached in this check"]] if never else []
    return ["### Not checked", "", *_table(["what", "why"], rows)] if rows else []
