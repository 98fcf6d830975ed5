"""The report as one HTML page, for people: it needs no network, runs no script, and explains its words."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any

from leasehold.case import as_pytest, case_of
from leasehold.oracle.check import Report
from leasehold.oracle.concurrent import RaceFinding
from leasehold.oracle.findings import Finding
from leasehold.oracle.probe import Probed
from leasehold.report import race
from leasehold.report.cause import blame, both, lead, lost, notes, should
from leasehold.report.json import Violation
from leasehold.report.lanes import mermaid as race_mermaid
from leasehold.report.lanes import svg as race_svg
from leasehold.report.plain import GLOSSARY, does, words_for
from leasehold.report.race import RaceStory, Told, tell_race
from leasehold.report.standing import Standing, State, standings
from leasehold.report.story import SOMEONE, Line, client, tell
from leasehold.report.template import render
from leasehold.report.text import Asked, count, in_brief, legend, named, names, sentence, survived, tally, weaknesses
from leasehold.report.timeline import mermaid, span, svg, timeline
from leasehold.report.words import Words, short_op
from leasehold.store import OPERATIONS
from leasehold_model.requirements import STATEMENTS

SIGNS = {"conforms": "\u2713", "violates": "\u2717", "inconclusive": "?", "broken": "!"}
"""Verdict -> sign."""

STATES: dict[State, tuple[str, str, str]] = {
    "broken": ("\u2717", "broken", "broken"),
    "known": ("~", "known deviation", "starved"),
    "in doubt": ("?", "in doubt", "starved"),
    "starved": ("!", "never tested", "starved"),
    "not checked": ("\u2013", "not checked", "unchecked"),
    "kept": ("\u2713", "kept", "kept"),
}
"""State of a rule -> sign, word and class."""

MEANS: dict[State, str] = {
    "broken": "an answer was wrong, and this rule is to blame.",
    "known": "broken as recorded in the register of known deviations.",
    "in doubt": "an answer was wrong by it, for which another rule is to blame.",
    "starved": "within reach, but in this check no answer could have shown it broken.",
    "not checked": "out of reach: not offered, not declared, or not yet possible.",
    "kept": "exercised and compared, and no answer was wrong by it.",
}
"""State of a rule -> what that means."""

GROUPS = {
    "LEASE": "Leases",
    "COMMIT": "Commits",
    "GRAPH": "Graph and loads",
    "QUEUE": "Queued work and claims",
    "ATTACH": "Attachments",
    "META": "Metadata",
    "TIER": "Durability tier",
    "LAW": "Laws, which hold across operations",
}
"""Groups of rules and their titles."""


def check_html(report: Report, violations: Sequence[Violation], asked: Asked) -> str:
    """The report of a check."""
    full = len(violations) >= asked.max_findings
    ruled = standings(report) if report.operations else []
    doubted = {one.id for one in ruled if one.state in {"broken", "in doubt"}}
    left = [one for one in report.not_checked if one.what not in doubted]
    unchecked: dict[str, list[str]] = {}
    for one in left:
        unchecked.setdefault(one.why, []).append(one.what)
    whats = [one.what for one in left]
    return render(
        "check.html",
        verdict=report.verdict,
        verdict_sign=SIGNS[report.verdict],
        target=report.target,
        sentence=sentence(report, asked),
        trouble="",
        glance=tally(ruled) + ".",
        standing=Counter(one.state for one in ruled),
        findings=[_finding(violation, number, report) for number, violation in enumerate(violations, start=1)],
        stopped=f"Stopped at {count(len(violations), 'finding', 'findings')}: --max-findings." if full else "",
        loose=report.loose if asked.recommended else (),
        starved=[_starved(one) for one in report.starved],
        unchecked=unchecked,
        unchecked_brief=in_brief(whats) if whats else "",
        facts=list(_facts(report, ruled)),
        command=asked.command,
        operations=report.operations,
        counts=_counts(ruled),
        groups=_groups(ruled),
        policies=[_policy(one) for one in report.policies],
        weaknesses=weaknesses(report.policies),
        glossary=GLOSSARY,
    )


def broken_html(target: str, why: str, seconds: float, seed: int | None, command: str) -> str:
    """A check of which nothing came, for the set-up is broken."""
    return render(
        "check.html",
        verdict="broken",
        verdict_sign=SIGNS["broken"],
        target=target,
        sentence=f"{target} could not be checked",
        trouble=why,
        findings=[],
        loose=(),
        starved=[],
        unchecked={},
        facts=[("seconds", f"{seconds:.1f}"), ("seed", "none" if seed is None else str(seed))],
        command=command,
        operations=0,
        policies=[],
        glossary={},
    )


# -- the first screen ------------------------------------------------------------------------------------------------------------


def _facts(report: Report, ruled: Sequence[Standing]) -> Sequence[tuple[str, str]]:
    able = report.capabilities
    declared = [f"tier {able.tier}", f"manifest {able.manifest}", f"clock {able.clock}", count(able.handles, "handle", "handles")]
    declared += ["reopen"] if able.reopen else []
    declared += ["concurrent calls"] if able.concurrent else []
    return (
        ("store", report.target),
        ("operations", f"{report.operations:,} in {count(report.runs, 'run', 'runs')}"),
        *([("put through", survived(report.tally))] if survived(report.tally) else []),
        ("seconds", f"{report.seconds:.1f}"),
        ("seed", str(report.seed)),
        ("rules", tally(ruled) if ruled else "none was tested"),
        ("declares", ", ".join(declared)),
        ("operations offered", f"{len(able.ops)} of {len(OPERATIONS)}"),
    )


def _starved(what: str) -> dict[str, str]:
    if what in STATEMENTS:
        return {"what": what, "statement": STATEMENTS[what]}
    return {"what": what.removeprefix("sometimes: "), "statement": ""}


# -- findings --------------------------------------------------------------------------------------------------------------------


def _finding(violation: Violation, number: int, report: Report) -> dict[str, Any]:
    finding = violation.finding
    told: dict[str, Any] = {
        "number": number,
        "rule": finding.requirement,
        "statement": STATEMENTS.get(finding.requirement, ""),
        "cited": cited(finding.requirement),
        "also": (),
        "blame": "",
        "should": "",
        "trace": "",
        "confirmed": True,
        "svg": "",
        "replay": "",
        "case": "",
        "pytest": "",
        "mermaid": "",
        "race": None,
    }
    told |= _run(finding, number) if isinstance(finding, Finding) else _race(finding, number)
    if violation.case is not None:
        case = case_of(finding, report.target, report.capabilities, report.contract)
        told["case"] = str(violation.case)
        told["replay"] = shlex.join(["leasehold", "replay", str(violation.case), report.target])
        told["pytest"] = "" if report.target.startswith("cmd:") else as_pytest(case, violation.case)
    return told


def _race(finding: RaceFinding, number: int) -> dict[str, Any]:
    story = tell_race(finding)
    also = {rule: STATEMENTS.get(rule, "") for rule in finding.also}
    if story is None:
        return {"happened": finding.message[:1].upper() + finding.message[1:] + ".", "also": also}
    before = story.before.lines if story.before else ()
    ops = [line.op for line in before] + [one.line.op for one in story.calls]
    return {
        "happened": race.lead(story),
        "should": race.should(story),
        "also": also,
        "svg": race_svg(story, finding.requirement, f"race-{number}"),
        "trace": "\n".join(race.traces(finding)),
        "race": {
            "explained": race.explained(story),
            "refused": [race.refusal(one) for one in story.refused],
            "again": race.seen_again(finding),
            "before": [{"does": does(one.op), "call": story.words.call(one), "answer": story.words.answer(one)} for one in before],
            "calls": [_call(one, story) for one in story.calls],
        },
        "full": ", ".join(f"{short_op(op)} = {op}" for op in dict.fromkeys(ops) if op and short_op(op) != op),
        "names": "; ".join(named(story.words, story.texts())),
        "words": words_for(ops, [*story.texts(), "at once", STATEMENTS.get(finding.requirement, "")]),
        "mermaid": race_mermaid(story, finding.requirement),
    }


def _call(one: Told, story: RaceStory) -> dict[str, Any]:
    others = sorted(other.letter for other in story.calls if other is not one and _overlap(one, other))
    return {
        "letter": one.letter,
        "who": story.clients[one.client],
        "does": does(one.line.op),
        "op": one.line.op,
        "call": one.call,
        "during": ", ".join(others) or "none",
        "answer": one.answer,
        "place": str(one.place) if one.place else "",
        "refused": f"{one.refused.rule}: {one.refused.fact}" if one.refused else "",
    }


def _overlap(one: Told, other: Told) -> bool:
    return (one.end is None or other.start < one.end) and (other.end is None or one.start < other.end)


def cited(rule: str) -> dict[str, str]:
    """The rules that a rule's statement speaks of, with their statements."""
    named = re.findall(r"\b[A-Z]+-\d+\b", STATEMENTS.get(rule, ""))
    return {one: STATEMENTS[one] for one in named if one in STATEMENTS and one != rule}


def _run(finding: Finding, number: int) -> dict[str, Any]:
    story = tell(finding.failure)
    words, drawn = Words(story), timeline(finding)
    marked = notes(finding, story)
    lines = [
        _line(
            finding,
            line,
            words,
            client(line, story),
            span(line.at - story.lines[max(0, index - 1)].at),
            marked.get(line.number, ""),
        )
        for index, line in enumerate(story.lines)
    ]
    texts = [cell for line in lines for cell in (line["call"], *line["allowed"], *line["answer"])]
    texts += ["lost answer"] if lost(story) else []
    texts += ["kill"] if finding.failure.killed else []
    full = {short_op(line.op): line.op for line in story.lines if short_op(line.op) != line.op}
    return {
        "happened": lead(finding, story, words),
        "should": should(finding, story, words),
        "also": {rule: STATEMENTS.get(rule, "") for rule in finding.also},
        "blame": blame(finding, story),
        "trace": "\n".join(story.mismatch.given.splitlines()[1:]),
        "confirmed": finding.confirmed,
        "svg": svg(drawn, f"run-{number}"),
        "someone": SOMEONE if SOMEONE in drawn.lanes else "",
        "handles": any(mark.handle for mark in drawn.marks),
        "caused": "cause" in marked.values(),
        "lost": "no answer" in marked.values(),
        "fault": next((line.fault for line in story.lines if line.kill), ""),
        "full": ", ".join(f"{short} = {op}" for short, op in full.items()),
        "timed": drawn.timed,
        "lines": lines,
        "names": "; ".join(names(story, words)),
        "times": legend(story, words).startswith("times"),
        "words": words_for((line.op for line in story.lines), [*texts, STATEMENTS.get(finding.requirement, "")]),
        "mermaid": mermaid(drawn),
    }


def _line(finding: Finding, line: Line, words: Words, who: str, later: str, mark: str) -> dict[str, Any]:
    allowed, answer = both(finding, words, line)
    return {
        "number": line.number,
        "time": words.time(line.at),
        "later": later,
        "who": f"{who}, handle {line.handle + 1}" if line.handle and not who.startswith("handle") else who,
        "does": does(line.op),
        "op": line.op,
        "call": words.call(line),
        "allowed": allowed,
        "answer": answer,
        "mark": mark,
        "broken": line.broken,
    }


# -- what was checked ------------------------------------------------------------------------------------------------------------


def _counts(ruled: Sequence[Standing]) -> list[dict[str, Any]]:
    counts = Counter(one.state for one in ruled)
    return [
        {"sign": sign, "word": word, "css": css, "count": counts[state], "means": MEANS[state]}
        for state, (sign, word, css) in STATES.items()
        if counts[state]
    ]


def _groups(ruled: Sequence[Standing]) -> list[dict[str, Any]]:
    groups = []
    for prefix, title in GROUPS.items():
        rules = [one for one in ruled if one.id.rpartition("-")[0] == prefix]
        counts = Counter(STATES[one.state][1] for one in rules)
        told = ", ".join(f"{number} {word}" for word, number in counts.items())
        if rules:
            groups.append({"title": title, "caption": f"{title.partition(',')[0]}: {told}", "rules": [_rule(one) for one in rules]})
    return groups


def _rule(one: Standing) -> dict[str, Any]:
    sign, word, css = STATES[one.state]
    return {
        "id": one.id,
        "statement": one.statement,
        "exercised": f"{one.exercised:,}",
        "asserted": f"{one.asserted:,}",
        "why": one.why,
        "finding": one.findings[0] if one.findings else 0,
        "sign": sign,
        "word": word,
        "css": css,
    }


def _policy(probed: Probed) -> dict[str, Any]:
    point, taken = probed.point, probed.option
    told = {"id": point.id, "question": point.question, "options": point.options, "refines": point.refines}
    if taken is None and probed.failure is None:
        return told | {"sign": "\u2013", "taken": "not asked", "css": "unchecked", "note": probed.why}
    if taken is None:
        return told | {"sign": "?", "taken": "none fits", "css": "broken", "note": "most likely because of what is broken"}
    if taken == point.options[0]:
        return told | {"sign": "\u2713", "taken": taken, "css": "kept", "note": "recommended"}
    return told | {"sign": "*", "taken": taken, "css": "starved", "note": f"{point.options[0]} is recommended"}
