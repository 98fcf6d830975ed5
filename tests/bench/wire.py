"""What the wire costs: the same runs on the memory store in process, through the codec, and behind an adapter program."""

from __future__ import annotations

import json
import statistics
import sys
import time
from contextlib import ExitStack

from rich.console import Console

from leasehold.oracle.answers import Door
from leasehold.oracle.coverage import Coverage
from leasehold.oracle.drive import seeded, walk
from leasehold.oracle.probe import probe
from leasehold.oracle.python_door import PythonDoor
from leasehold.oracle.walker import FOCI
from leasehold.stores.memory import MemoryStore
from leasehold.wire.client import WireDoor
from leasehold.wire.inside import CodecDoor
from leasehold.wire.process import Process
from leasehold_model.machine import Contract
from tests.bench.measure import Aim, Rates, interleaved, show_rates

INSIDE = "in process"
CODEC = "in process, through the codec and the schema"
WIRE = "adapter program"
UNCHECKED = "adapter program, schema not checked"
ECHO = "bare JSON line there and back"
AIMS = (Aim(WIRE, UNCHECKED, 0.9),)

ECHOING = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)\n"


def rates(rounds: int, runs: int) -> Rates:
    """Operations judged per second, ``runs`` runs a round; of the echo, lines."""
    serve = [sys.executable, "-m", "leasehold", "serve", "memory"]
    with ExitStack() as stack:
        doors: dict[str, Door] = {INSIDE: PythonDoor(MemoryStore, "memory"), CODEC: CodecDoor(MemoryStore, "memory")}
        for name, validate in ((WIRE, True), (UNCHECKED, False)):
            adapter = WireDoor(serve, name, validate=validate)
            stack.callback(adapter.shut)
            doors[name] = adapter
        echo = Process([sys.executable, "-c", ECHOING], {})
        stack.callback(echo.end, 0.0)
        contract, _ = probe(doors[INSIDE], Contract())
        contenders = {name: lambda number, door=door: operations(door, contract, runs, number) for name, door in doors.items()}
        return interleaved({**contenders, ECHO: lambda _: lines(echo, 20 * runs)}, rounds)


def operations(door: Door, contract: Contract, runs: int, number: int) -> int:
    """Operations of the same runs on each door."""
    coverage = Coverage()
    for seed in range(number * runs, (number + 1) * runs):
        assert walk(door, contract, seeded(seed), coverage, FOCI[seed % len(FOCI)]) is None
    return coverage.operations


def lines(echo: Process, count: int) -> int:
    """Lines of the size of a request, written and read back as JSON."""
    request = {
        "seq": 1,
        "cmd": "call",
        "handle": "h",
        "op": "load_session",
        "args": {"scope": {"full_graph": {}}},
        "more": "x" * 100,
    }
    for _ in range(count):
        echo.write(json.dumps(request).encode(), time.monotonic() + 5)
        assert json.loads(echo.read(time.monotonic() + 5)) == request
    return count


def report(console: Console, rounds: int = 5, runs: int = 40) -> None:
    """Print the section."""
    found = rates(rounds, runs)
    title = "What the wire costs: operations judged per second on the memory store"
    show_rates(console, title, "operations", found, INSIDE, AIMS)
    cost = {name: statistics.median(1e6 / rate for rate in found[name]) for name in found}
    console.print(f"An operation takes {cost[WIRE] - cost[INSIDE]:.0f} us more behind an adapter program than in process; ", end="")
    console.print(f"the bare line alone takes {cost[ECHO]:.0f} us.\n")
