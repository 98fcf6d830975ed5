"""What it costs to judge a history: the model's search against a plain one, and against porcupine, on the same random histories."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

from rich.console import Console

from leasehold_model.history import Call
from leasehold_model.linearize import linearize
from leasehold_model.register import CompareAndSet, Read, Register, Write
from tests.bench.measure import Aim, interleaved, show_rates

CLIENTS, CALLS = 4, 10
SHARES = (0, 10, 20)
"""Of the calls, per cent whose answers are lost."""

LIMIT = 200_000
"""A plain search of one history ends after so many steps: with lost answers it may need any number."""

OURS, PLAIN, PORCUPINE = "linearize", "plain Wing-Gong-Lowe", "porcupine (Go)"

History: TypeAlias = list[Call[Any, Any]]
Operation: TypeAlias = tuple[int, int | None, int, int, int, int]
"""Start, end, kind (0 read, 1 write, 2 cas), two arguments, answer (-1: lost)."""


def drawn(random: Random, lost: int) -> list[Operation]:
    """A history of a register, right because it happened: each call takes effect at one moment of its time."""
    moments = []
    for client in range(CLIENTS):
        now = random.randrange(20)
        for number in range(CALLS):
            start, at = now, now + random.randrange(1, 20)
            end = at + random.randrange(1, 20)
            kind = random.choice((0, 1, 2))
            moments.append((at, client, number, start, end, kind, random.randrange(5), random.randrange(5), random.randrange(100)))
            now = end + random.randrange(1, 4)
    register, found = 0, list[Operation]()
    for _, _, _, start, end, kind, one, two, chance in sorted(moments):
        answered = chance >= lost
        answer = register if kind == 0 else int(register == one) if kind == 2 else 1
        if answered or chance % 2:
            register = one if kind == 1 else two if kind == 2 and register == one else register
        found.append((start, end, kind, one, two, answer) if answered else (start, None, kind, one, two, -1))
    return found


def spoiled(random: Random, operations: list[Operation]) -> list[Operation]:
    """The same with another answer to one of its reads, so that about half of them are wrong."""
    reads = [at for at, one in enumerate(operations) if one[2] == 0 and one[1] is not None]
    if not reads:
        return operations
    at = random.choice(reads)
    return [*operations[:at], (*operations[at][:5], random.randrange(5)), *operations[at + 1 :]]


def as_history(operations: Sequence[Operation]) -> History:
    """For `linearize`."""
    calls: History = []
    for start, end, kind, one, two, answer in operations:
        action = Read() if kind == 0 else Write(one) if kind == 1 else CompareAndSet(one, two)
        calls.append(Call(0, start, end, action, bool(answer) if kind == 2 else answer, end is not None))
    return calls


def action_of(call: Call[Any, Any]) -> object:
    """What makes lost calls interchangeable."""
    return call.action


def effectless(call: Call[Any, Any]) -> bool:
    """Reads, and what was refused."""
    return isinstance(call.action, Read) or (isinstance(call.action, CompareAndSet) and call.definite and not call.answer)


def plain(operations: Sequence[Operation], limit: int) -> bool | None:
    """Wing & Gong's search as Lowe has it, with nothing more. None: it took more than ``limit`` steps."""
    events = sorted(
        [(one[0], 0, at) for at, one in enumerate(operations)]
        + [(one[1], 1, at) for at, one in enumerate(operations) if one[1] is not None]
    )
    events += [(0, 1, at) for at, one in enumerate(operations) if one[1] is None]
    count = len(events)
    after, before = [*range(1, count + 1), 0], [count, *range(count)]
    returns = {at: event for event, (_, ends, at) in enumerate(events) if ends}
    must = sum(one[1] is not None for one in operations)
    state, taken, steps = 0, 0, 0
    seen, stack = {(0, 0)}, list[tuple[int, int]]()
    event = after[count]
    while must:
        steps += 1
        if steps > limit:
            return None
        if event != count and not events[event][1]:
            at = events[event][2]
            _, end, kind, one, two, answer = operations[at]
            if kind == 1:
                right, then = True, one
            elif kind == 0:
                right, then = answer in (-1, state), state
            else:
                right, then = answer in (-1, state == one), two if state == one else state
            if right and (taken | 1 << at, then) not in seen:
                seen.add((taken | 1 << at, then))
                stack.append((event, state))
                state, taken, must = then, taken | 1 << at, must - (end is not None)
                for gone in (event, returns[at]):
                    after[before[gone]], before[after[gone]] = after[gone], before[gone]
                event = after[count]
            else:
                event = after[event]
        elif not stack:
            return False
        else:
            event, state = stack.pop()
            at = events[event][2]
            taken, must = taken ^ 1 << at, must + (operations[at][1] is not None)
            for back in (returns[at], event):
                after[before[back]] = before[after[back]] = back
            event = after[event]
    return True


class Porcupine:
    """A program that judges the same histories, or the reason why there is none."""

    def __init__(self, batches: Sequence[Sequence[Sequence[Operation]]], directory: Path) -> None:
        self.why = ""
        self._process: subprocess.Popen[str] | None = None
        go = shutil.which("go")
        if go is None:
            self.why = "no go on the PATH"
            return
        shutil.copy(Path(__file__).parent / "porcupine" / "main.go", directory)
        (directory / "histories.json").write_text(json.dumps(batches))
        for words in (["mod", "init", "bench"], ["get", "github.com/anishathalye/porcupine@v1.3.1"], ["build", "-o", "judge", "."]):
            done = subprocess.run(
                [go, *words], cwd=directory, env={**os.environ, "GOFLAGS": "-mod=mod"}, capture_output=True, text=True, check=False
            )
            if done.returncode:
                self.why = f"go {words[0]}: {(done.stderr.strip() or 'failed').splitlines()[-1]}"
                return
        self._process = subprocess.Popen(
            [directory / "judge", directory / "histories.json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def judge(self, number: int) -> int:
        """How many histories of a batch are right."""
        assert self._process is not None and self._process.stdin is not None and self._process.stdout is not None
        print(number, file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        if self._process is not None and self._process.stdin is not None and self._process.stdout is not None:
            self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()


def report(console: Console, *, rounds: int = 7, size: int = 200) -> None:
    """Measure and print."""
    for lost in SHARES:
        random = Random(lost)
        batches = [[spoiled(random, drawn(random, lost)) for _ in range(size)] for _ in range(rounds)]
        if lost:
            batches = [batch[: max(1, size // 4)] for batch in batches]
        with tempfile.TemporaryDirectory(prefix="leasehold-bench-") as name:
            peer = Porcupine(batches if lost == 0 else [], Path(name))
            try:
                _report(console, lost, batches, None if peer.why or lost else peer)
            finally:
                peer.close()
        if lost == 0 and peer.why:
            console.print(f"  PORCUPINE NOT MEASURED: {peer.why}\n")


def _report(console: Console, lost: int, batches: Sequence[Sequence[list[Operation]]], peer: Porcupine | None) -> None:
    histories = [[as_history(one) for one in batch] for batch in batches]
    verdicts: dict[str, dict[int, list[bool | None]]] = {OURS: {}, PLAIN: {}}

    def ours(number: int) -> int:
        found = [linearize(one, Register(0), LIMIT, action_of, effectless).verdict for one in histories[number]]
        verdicts[OURS][number] = [None if one == "undecided" else one == "linearizable" for one in found]
        return len(found)

    def other(number: int) -> int:
        verdicts[PLAIN][number] = [plain(one, LIMIT) for one in batches[number]]
        return len(batches[number])

    contenders = {OURS: ours, PLAIN: other}
    if peer is not None:
        right: dict[int, int] = {}

        def theirs(number: int) -> int:
            right[number] = peer.judge(number)
            return len(batches[number])

        contenders[PORCUPINE] = theirs
    rates = interleaved(contenders, len(batches))
    pairs = [pair for number in verdicts[OURS] for pair in zip(verdicts[OURS][number], verdicts[PLAIN][number], strict=True)]
    assert all(None in pair or pair[0] == pair[1] for pair in pairs), "two searches disagree"
    if peer is not None:
        assert right == {number: sum(map(bool, found)) for number, found in verdicts[OURS].items()}, "porcupine disagrees"
    aims = [Aim(OURS, PLAIN, 0.5 if not lost else 1 if lost == 10 else 5)]
    if peer is not None:
        aims.append(Aim(OURS, PORCUPINE, 0.25))
    title = f"Histories of {CLIENTS} clients x {CALLS} calls on a register, {lost} % of the answers lost"
    show_rates(console, title, "histories", rates, PLAIN, aims)
    undecided = {name: sum(one is None for found in by_round.values() for one in found) for name, by_round in verdicts.items()}
    wrong = sum(False in pair for pair in pairs)
    console.print(f"  {len(pairs)} histories, {wrong} not linearizable; undecided after {LIMIT:,} steps: {undecided}\n")
