"""What CrossHair says about one function, read so that nothing but a finished search counts as a proof.

The program's exit code is 0 for confirmed, for unknown and for nothing checked alike; so its API is asked, message by message.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from attrs import frozen
from crosshair.core_and_libs import AnalysisKind, MessageType, analyze_function
from crosshair.options import AnalysisOptionSet

Status = Literal["confirmed", "bounded", "refuted", "impossible", "unknown", "nothing checked", "broken"]
"""confirmed: every path was followed to its end. bounded: no counterexample within the bound. refuted: a counterexample.
impossible: no input meets the precondition. unknown: time ran out. broken: an error other than a failed assertion."""

FAILURES = (MessageType.POST_FAIL, MessageType.POST_ERR, MessageType.EXEC_ERR)


@frozen
class Verdict:
    """The verdict on one function, or on one of its postconditions. ``seconds``: of this process."""

    status: Status
    message: str
    paths: int
    seconds: float


def examine(function: Callable[..., Any], seconds: float = 60.0, bounded: bool = False) -> list[Verdict]:
    """One verdict per postcondition; one that says 'nothing checked' if there is none.

    Args:
        function: a function whose docstring holds ``pre:`` and ``post:`` lines, and whose body asserts.
        seconds: processor seconds allowed for each postcondition.
        bounded: a search that runs out of time is what is expected of this function.
    """
    paths: Counter[str] = Counter()
    options = AnalysisOptionSet(
        analysis_kind=[AnalysisKind.PEP316],
        per_condition_timeout=seconds,
        per_path_timeout=max(seconds / 4, 5.0),
        stats=paths,
    )
    verdicts = []
    for checkable in analyze_function(function, options):
        before, started = paths["num_paths"], time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # to make up a value CrossHair looks at every module there is, deprecated ones too
            messages = [(message.state, message.message) for message in checkable.analyze()]
        status = _status(messages, bounded)
        text = "; ".join(text for _, text in messages)
        verdicts.append(Verdict(status, text, paths["num_paths"] - before, time.process_time() - started))
    return verdicts or [Verdict("nothing checked", f"{function.__name__} has no contract", 0, 0.0)]


def worst(verdicts: list[Verdict]) -> Verdict:
    """Several postconditions as one: confirmed only if all are."""
    order: tuple[Status, ...] = ("broken", "nothing checked", "impossible", "refuted", "unknown", "bounded", "confirmed")
    found = min(verdicts, key=lambda verdict: order.index(verdict.status))
    return Verdict(found.status, found.message, sum(v.paths for v in verdicts), sum(v.seconds for v in verdicts))


def _status(messages: list[tuple[MessageType, str]], bounded: bool) -> Status:
    states = {state for state, _ in messages}
    if not messages:
        return "nothing checked"
    if states == {MessageType.CONFIRMED}:
        return "confirmed"
    if states & {MessageType.SYNTAX_ERR, MessageType.IMPORT_ERR}:
        return "broken"
    failures = [(state, text) for state, text in messages if state in FAILURES]
    if failures:
        said_so = all(state is MessageType.POST_FAIL or text.startswith("AssertionError") for state, text in failures)
        return "refuted" if said_so else "broken"
    if MessageType.PRE_UNSAT in states:
        return "impossible"
    return "bounded" if bounded else "unknown"
