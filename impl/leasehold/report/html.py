"""The report as one HTML page, for people: it needs no network, runs no script, and explains its words."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

from leasehold.case import as_pytest, case_of
from leasehold.oracle.check import RaceFinding, Report
from leasehold.oracle.findings import Finding
from leasehold.oracle.probe import Probed
from leasehold.report.json import Violation
from leasehold.report.plain import GLOSSARY, answered, does, words_for
from leasehold.report.standing import Standing, State, standings
from leasehold.report.story import Line, tell
from leasehold.report.template import render
from leasehold.report.text import Asked, blame, count, in_brief, legend, sentence, weaknesses
from leasehold.report.timeline import SOMEONE, client, mermaid, span, svg, timeline
from leasehold.report.words import SHOWN, Words, first_line, short_op
from leasehold.store import OPERATIONS
from leasehold_model.requirements import STATEMENTS

ALIKE = 0.5
"""Two texts that agree in so much are compared word by word."""

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
    unchecked: dict[str, list[str]] = {}
    for one in report.not_checked:
        unchecked.setdefault(one.why, []).append(one.what)
    whats = [one.what for one in report.not_checked]
    full = len(violations) >= asked.max_findings
    ruled = standings(report) if report.operations else []
    return render(
        "check.html",
        verdict=report.verdict,
        verdict_sign=SIGNS[report.verdict],
        target=report.target,
        sentence=sentence(report, asked),
        trouble="",
        glance=_glance(ruled),
        findings=[_finding(violation, number, report) for number, violation in enumerate(violations, start=1)],
        stopped=f"Stopped at {count(len(violations), 'finding', 'findings')}: --max-findings." if full else "",
        loose=report.loose if asked.recommended else (),
        starved=[_starved(one) for one in report.starved],
        unchecked=unchecked,
        unchecked_brief=in_brief(whats) if whats else "",
        facts=list(_facts(report)),
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


def _facts(report: Report) -> Sequence[tuple[str, str]]:
    able = report.capabilities
    declared = [f"tier {able.tier}", f"manifest {able.manifest}", f"clock {able.clock}", count(able.handles, "handle", "handles")]
    declared += ["reopen"] if able.reopen else []
    declared += ["concurrent calls"] if able.concurrent else []
    exercised = sum(one > 0 for one in report.exercised.values())
    return (
        ("store", report.target),
        ("operations", f"{report.operations:,} in {count(report.runs, 'run', 'runs')}"),
        ("seconds", f"{report.seconds:.1f}"),
        ("seed", str(report.seed)),
        ("rules exercised", f"{exercised} of {len(STATEMENTS)}"),
        ("declares", ", ".join(declared)),
        ("operations offered", f"{len(able.ops)} of {len(OPERATIONS)}"),
    )


def _glance(ruled: Sequence[Standing]) -> str:
    counts = Counter(one.state for one in ruled)
    return f"{counts['kept']} of {len(ruled)} rules were exercised and kept."


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
        "allowed": "",
        "given": "",
        "differ": None,
        "trace": "",
        "confirmed": True,
        "lost": False,
        "svg": "",
        "replay": "",
        "case": "",
        "pytest": "",
        "mermaid": "",
    }
    told |= (
        {"happened": finding.message[:1].upper() + finding.message[1:] + "."}
        if isinstance(finding, RaceFinding)
        else _run(finding, number)
    )
    if violation.case is not None:
        case = case_of(finding, report.target, report.capabilities, report.contract)
        told["case"] = str(violation.case)
        told["replay"] = shlex.join(["leasehold", "replay", str(violation.case), report.target])
        told["pytest"] = "" if report.target.startswith("cmd:") else as_pytest(case, violation.case)
    return told


def cited(rule: str) -> dict[str, str]:
    """The rules that a rule's statement speaks of, with their statements."""
    named = re.findall(r"\b[A-Z]+-\d+\b", STATEMENTS.get(rule, ""))
    return {one: STATEMENTS[one] for one in named if one in STATEMENTS and one != rule}


def _run(finding: Finding, number: int) -> dict[str, Any]:
    story = tell(finding.failure)
    words, drawn = Words(story), timeline(finding)
    last = story.lines[-1]
    who = client(last, story)
    _, allowed, given = words.wrong()
    lines = [
        _line(line, words, client(line, story), span(line.at - story.lines[max(0, index - 1)].at))
        for index, line in enumerate(story.lines)
    ]
    place = "" if story.mismatch.where == last.op else f", at {story.mismatch.where}"
    texts = [cell for line in lines for cell in (line["call"], line["allowed"], line["answer"])]
    return {
        "happened": f"In step {last.number} {who} {does(last.op)} ({short_op(last.op)}), and the store answers{place}:",
        "given": answered(given),
        "allowed": answered(allowed),
        "differ": differing(answered(allowed), answered(given)),
        "also": finding.also,
        "blame": blame(finding, story),
        "trace": "\n".join(story.mismatch.given.splitlines()[1:]),
        "confirmed": finding.confirmed,
        "svg": svg(drawn, f"run-{number}"),
        "someone": SOMEONE if SOMEONE in drawn.lanes else "",
        "handles": any(mark.handle for mark in drawn.marks),
        "lost": finding.failure.lost,
        "timed": drawn.timed,
        "lines": lines,
        "legend": legend(story, words).capitalize(),
        "words": words_for((line.op for line in story.lines), [*texts, STATEMENTS.get(finding.requirement, "")]),
        "mermaid": mermaid(drawn),
    }


def _line(line: Line, words: Words, who: str, later: str) -> dict[str, Any]:
    allowed, answer = words.allowed(line.response), words.answer(line)
    wrong = words.story.mismatch
    if line.broken and wrong.where != line.op and wrong.where not in SHOWN:
        allowed += f"; {wrong.where}: {words.text(wrong.allowed)}"
        answer += f"; {wrong.where}: {words.text(first_line(wrong.given))}"
    return {
        "number": line.number,
        "time": words.time(line.at),
        "later": later,
        "who": f"{who}, handle {line.handle + 1}" if line.handle and not who.startswith("handle") else who,
        "does": does(line.op),
        "call": words.call(line),
        "allowed": allowed,
        "answer": answer,
        "differ": differing(allowed, answer),
        "broken": line.broken,
    }


Parts = Sequence[tuple[str, bool]]
"""Text in pieces, each with whether it differs from the other text."""


def differing(allowed: str, given: str) -> tuple[Parts, Parts]:
    """What is allowed and what was answered, word by word: where they are much alike, one has to see where they are not."""
    left, right = (re.findall(r"\s+|[^\s,;\[\]/]+|[,;\[\]/]", text) for text in (allowed, given))
    match = SequenceMatcher(None, left, right, autojunk=False)
    if match.ratio() < ALIKE:
        return [(allowed, False)], [(given, False)]
    pieces: tuple[list[tuple[str, bool]], list[tuple[str, bool]]] = ([], [])
    for tag, a, b, c, d in match.get_opcodes():
        for side, text in zip(pieces, ("".join(left[a:b]), "".join(right[c:d])), strict=True):
            if text:
                side.append((text, tag != "equal"))
    return pieces


# -- what was checked ------------------------------------------------------------------------------------------------------------


def _counts(ruled: Sequence[Standing]) -> list[dict[str, Any]]:
    counts = Counter(one.state for one in ruled)
    return [
        {"sign": sign, "word": word, "css": css, "count": counts[state]}
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
