"""Why an answer is wrong, in sentences: the earlier step that is to blame, or what lost answers would have allowed."""

from __future__ import annotations

from attrs import evolve

from leasehold.oracle.answers import CANNOT_BE_OPENED, Err, Ok, Unknown
from leasehold.oracle.findings import Finding
from leasehold.oracle.run import BOUND, Reopen
from leasehold.oracle.worlds import READS
from leasehold.records import Claim, Lease
from leasehold.report.plain import does
from leasehold.report.story import Line, Story, client, tell
from leasehold.report.words import Words, answered, short_op
from leasehold_model.outcome import Absent, Refused

CHANGES = {
    "LEASE-6": ("release_session_execution_lease",),
    "COMMIT-4": ("commit_runtime_state",),
    "COMMIT-8": ("commit_runtime_state",),
    "LAW-8": ("commit_runtime_state",),
    "GRAPH-6": ("tombstone_nodes",),
    "GRAPH-7": ("vacuum",),
    "QUEUE-9": ("release_session_execution_lease", "commit_runtime_state"),
    "QUEUE-11": ("renew_queued_work_claim",),
    "QUEUE-12": ("abandon_queued_work_claim",),
    "QUEUE-13": ("cancel_queued_work_batch",),
    "ATTACH-1": ("record_intent",),
    "ATTACH-2": ("commit_refs", "commit_runtime_state"),
    "ATTACH-4": ("forget",),
    "META-1": ("save_session_meta",),
}
"""Rule -> the operations of whose change it speaks: where a later answer is wrong by it, that change is to blame."""

MOST = 3
"""So many answers that lost calls would have allowed are told."""


def cause(finding: Finding, story: Story) -> Line | None:
    """The earlier step that is to blame, if it is known: one that had to change nothing, or the change that a rule speaks of."""
    rule, past, last = finding.requirement, story.lines[:-1], story.lines[-1]
    inert = next((line for line in reversed(past) if _inert(rule, line, story)), None)
    if inert is not None:
        return inert
    if rule == "LAW-9":
        return next((line for line in reversed(past) if getattr(line.action, "session", BOUND) != _session(last)), None)
    changes = CHANGES.get(rule, ())
    return None if last.op in changes else next((line for line in reversed(past) if line.op in changes), None)


def notes(finding: Finding, story: Story) -> dict[int, str]:
    """Number of a step -> what is to be written on it, that it is seen at once."""
    blamed = cause(finding, story)
    told = {line.number: "no answer" for line in lost(story)}
    told |= {blamed.number: "cause"} if blamed is not None else {}
    return told | {line.number: line.failing for line in story.lines if line.kill}


def lost(story: Story) -> list[Line]:
    """The steps to which no answer came, though nothing was made to fail."""
    return [line for line in story.lines if isinstance(line.answer, Unknown) and not line.kill]


def undecided(finding: Finding) -> bool:
    """The last answer is wrong by one thing or another, whether calls without an answer happened or not."""
    return finding.failure.lost or (finding.failure.killed and len(finding.failure.possible) > 1)


def killed(finding: Finding, story: Story) -> Line | None:
    """The step in which the store's process was killed, or what it needs was, if it takes that to see what is wrong."""
    return next((line for line in reversed(story.lines) if line.kill), None) if finding.requirement == "LAW-10" else None


def lead(finding: Finding, story: Story, words: Words) -> str:
    """What happened, in a sentence that begins with the cause."""
    last, blamed, fact = story.lines[-1], cause(finding, story), words.mistake().fact
    here = f"step {last.number} ({short_op(last.op)})"
    ended = killed(finding, story)
    if ended is not None:
        return _lead_of_killed(finding, ended, here, words)
    if blamed is not None:
        if not blamed.op:
            return f"After the reopening in step {blamed.number}, {here} is answered wrongly: {fact}."
        return f"Step {blamed.number} ({short_op(blamed.op)}) {_did(finding.requirement, blamed, story)}, yet in {here} {fact}."
    if finding.failure.lost:
        took = "it may have taken effect or not" if len(lost(story)) == 1 else "each may have taken effect or not"
        return f"{_lost_calls(story)}, so {took}. Then {here} was answered with {words.wrong_whole()[1]}."
    did = f"{client(last, story)} {does(last.op)} ({short_op(last.op)})"
    return f"In step {last.number} {did}, and is answered wrongly: {fact}.{_given_before(story)}"


def _lead_of_killed(finding: Finding, ended: Line, here: str, words: Words) -> str:
    """What was lost or is half done."""
    did = f"In step {ended.number} ({short_op(ended.op) or 'the store is opened again'}) {ended.fault}."
    answer = finding.failure.answers[-1]
    if isinstance(answer, Err) and answer.message.startswith(CANNOT_BE_OPENED):
        return f"{did} {answer.message[0].upper()}{answer.message[1:]}"
    if isinstance(ended.action, Reopen):
        return f"{did} That has to change nothing, yet in {here} {words.mistake().fact}."
    if not isinstance(ended.answer, Unknown):
        return f"{did} What was answered before is lost: in {here} {words.mistake().fact}."
    if isinstance(ended.action, READS):
        return f"{did} That step changes nothing, yet in {here} {words.mistake().fact}."
    if undecided(finding):
        return f"{did} What {here} was answered with, {words.wrong_whole()[1]}, shows neither all of that step nor none of it."
    return f"{did} Whether that step happened or not, in {here} {words.mistake().fact}."


def should(finding: Finding, story: Story, words: Words) -> str:
    """What should have happened."""
    ended = killed(finding, story)
    if ended is not None and isinstance(ended.answer, Unknown) and undecided(finding):
        sides = _sides(finding)
        took, not_taken = (_either(one) for one in (sides[True], sides[False]))
        last = f"step {story.lines[-1].number}"
        if took and not_taken and set(sides[True]) != set(sides[False]):
            return f"If step {ended.number} happened, the answer to {last} had to be {took}; if it did not, {not_taken}."
        return f"Whether step {ended.number} happened or not, the answer to {last} had to be {took or not_taken}."
    if not finding.failure.lost:
        mistake = words.mistake()
        return f"{words.allowed(story.lines[-1].response)}, {mistake.allowed}" if mistake.members else answered(mistake.should())
    sides = _sides(finding)
    took, not_taken = (_either(one) for one in (sides[True], sides[False]))
    calls, last = lost(story), f"step {story.lines[-1].number}"
    if len(calls) == 1 and took and not_taken and set(sides[True]) != set(sides[False]):
        first = f"If step {calls[0].number} took effect, the answer to {last} had to be {took}; if it did not, {not_taken}."
        return f"{first} The answer fits neither."
    if len(calls) == 1 and took and not not_taken:
        return f"As the answers since show, step {calls[0].number} took effect; so the answer to {last} had to be {took}."
    either = _either({text: sides[True].get(text, sides[False].get(text, [])) for text in (*sides[True], *sides[False])})
    which = f"Whether step {calls[0].number} took effect or not" if len(calls) == 1 else "Whichever of these calls took effect"
    return f"{which}, the answer to {last} had to be {either or words.wrong_whole()[0]}."


def both(finding: Finding, words: Words, line: Line) -> tuple[tuple[str, str], tuple[str, str]]:
    """What the contract allows and what was answered, plain and emphasised; in the last step, all that lost calls may allow."""
    allowed, answer = words.both(line)
    sides = _sides(finding)
    texts = [*dict.fromkeys((*sides[True], *sides[False]))]
    if not line.broken or len(texts) < 2:
        return allowed, answer
    return ("", ", or ".join(texts[:MOST])), ("", " ".join(filter(None, answer)))


def _sides(finding: Finding) -> dict[bool, dict[str, list[str]]]:
    """Whether a lost call took effect -> what the last answer could then be -> the rules that the given one breaks."""
    sides: dict[bool, dict[str, list[str]]] = {True: {}, False: {}}
    for one in finding.failure.possible if undecided(finding) else ():
        other = Words(tell(evolve(finding.failure, mismatch=one.mismatch, moment=one.moment, took=one.took)))
        rules = sides[bool(one.took)].setdefault(other.wrong_whole()[0], [])
        rules += [one.mismatch.rule] if one.mismatch.rule not in rules else []
    return sides


def blame(finding: Finding, story: Story) -> str:
    """Why it is that rule and not the one of the wrong answer."""
    own, rule = story.mismatch.rule, finding.requirement
    blamed = cause(finding, story)
    ended = killed(finding, story)
    if ended is not None:
        itself = "" if undecided(finding) else f"By itself the wrong answer breaks {own}. "
        steps = " and ".join(f"step {line.number}" for line in story.lines if line.kill)
        return f"{itself}Without what was made to fail in {steps}, every answer is right: so it is LAW-10 that is broken."
    if rule != own and blamed is not None and _inert(rule, blamed, story):
        without = f"Without step {blamed.number}, which has to change nothing, the answer is right"
        return f"By itself the wrong answer breaks {own}. {without}: so it is {rule} that is broken."
    if rule != own and not finding.failure.lost:
        return f"By itself the wrong answer breaks {own}; the change that it is the first to show is the one of {rule}."
    return ""


def _given_before(story: Story) -> str:
    """Where a fencing token had to be more than an earlier one: which step was granted that."""
    allowed = story.mismatch.allowed.removeprefix("more than ")
    if allowed == story.mismatch.allowed or story.mismatch.where != "fencing_token":
        return ""
    last = _granted(story.lines[-1])
    given = [line.number for line in story.lines[:-1] if _granted(line) & last and _number(line) == allowed]
    return f" Step {given[-1]} was granted {allowed} already." if given else ""


def _granted(line: Line) -> set[str]:
    """What a lease or claim was granted on: a session's lane, or batches."""
    match line.answer:
        case Ok(Lease(session_id=session)):
            return {f"lane {session}"}
        case Ok(Claim(batches=batches)):
            return {f"batch {one.batch_id}" for one in batches}
        case _:
            return set()


def _number(line: Line) -> str:
    return str(line.answer.value.fencing_token) if isinstance(line.answer, Ok) else ""


def _lost_calls(story: Story) -> str:
    told = [f"step {line.number} ({short_op(line.op)})" for line in lost(story)]
    return f"The answer to {told[0]} was lost" if len(told) == 1 else f"The answers to {', '.join(told)} were lost"


def _either(answers: dict[str, list[str]]) -> str:
    told = [f"{text} ({', '.join(rules)})" for text, rules in answers.items()]
    more = [f"one of {len(told) - MOST} others"] if len(told) > MOST else []
    return " or ".join([*told[:MOST], *more])


def _did(rule: str, line: Line, story: Story) -> str:
    if isinstance(line.response, Refused):
        return "was refused"
    if isinstance(line.response, Absent):
        return "was answered with null"
    if rule == "LAW-7":
        return "only repeats an earlier commit"
    if rule == "LAW-9":
        return "is about another session"
    if _inert(rule, line, story):
        return "has to change nothing"
    return "was accepted" if line.op == "commit_runtime_state" else "was done"


def _inert(rule: str, line: Line, story: Story) -> bool:
    """The rule says that this step changes nothing."""
    if rule == "LAW-10":
        return isinstance(line.action, Reopen) or line.kill != 0
    if isinstance(line.action, (*READS, Reopen)) or story.states[line.number - 1] != story.states[line.number]:
        return False
    by = getattr(line.response, "rule", "")
    if rule == "LAW-1":
        return isinstance(line.response, Refused | Absent)
    return bool(by) and rule == ("LAW-7" if by == "COMMIT-4" else by) and not isinstance(line.response, Refused | Absent)


def _session(line: Line) -> int:
    return int(getattr(line.action, "session", BOUND))
