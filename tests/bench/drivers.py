"""Operations judged per second on the memory store by each driver, against a state machine of Hypothesis's that does nothing."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from rich.console import Console

from leasehold.oracle.coverage import Coverage
from leasehold.oracle.drive import Bytes, advance, seeded, walk
from leasehold.oracle.probe import probe
from leasehold.oracle.python_door import PythonDoor
from leasehold.oracle.run import BOUND, Execution, Reopen
from leasehold.oracle.stepwise import SIZE, walk_bytes
from leasehold.oracle.walker import FOCI, Walker
from leasehold.stores.memory import MemoryStore
from leasehold_model.ids import Millis
from leasehold_model.machine import Command, Contract, initial, step
from tests.bench.measure import Aim, Rates, interleaved, show_rates

NO_OP = "state machine with one no-op rule"
SEEDED = "seeded driver"
STEPWISE = "Hypothesis, a byte a step"
BYTES = "Hypothesis, bytes used up"
MODEL = "model step alone"
BYTES_A_RUN = 1024

AIMS = (Aim(SEEDED, NO_OP, 10), Aim(STEPWISE, NO_OP, 3))


def rates(rounds: int, runs: int) -> Rates:
    """Operations judged per second, or rule steps, or calls of the model's step; ``runs`` runs a round."""
    door = PythonDoor(MemoryStore, "memory")
    contract, _ = probe(door, Contract())
    commands = guided_commands(door, contract, 10 * runs)
    return interleaved(
        {
            NO_OP: lambda _: no_op_steps(runs),
            SEEDED: lambda number: seeded_operations(door, contract, range(number * 4 * runs, (number + 1) * 4 * runs)),
            STEPWISE: lambda _: stepwise_operations(door, contract, runs),
            BYTES: lambda _: byte_operations(door, contract, runs),
            MODEL: lambda _: model_steps(contract, commands),
        },
        rounds,
    )


def report(console: Console, rounds: int = 5, runs: int = 100) -> None:
    """Print the section."""
    title = "Operations judged per second on the memory store (one read-back and its answer is one, too)"
    show_rates(console, title, "steps", rates(rounds, runs), NO_OP, AIMS)


def _hypothesis(examples: int) -> settings:
    checks = list(HealthCheck)
    return settings(max_examples=examples, database=None, deadline=None, suppress_health_check=checks, phases=[Phase.generate])


def no_op_steps(examples: int) -> int:
    """Steps of a machine whose one rule does nothing."""
    steps = 0

    class NoOp(RuleBasedStateMachine):
        @rule()
        def nothing(self) -> None:
            nonlocal steps
            steps += 1

    run_state_machine_as_test(NoOp, settings=_hypothesis(examples))
    return steps


def seeded_operations(door: PythonDoor, contract: Contract, seeds: range) -> int:
    """Operations of runs from these seeds, through every focus."""
    coverage = Coverage()
    for seed in seeds:
        assert walk(door, contract, seeded(seed), coverage, FOCI[seed % len(FOCI)]) is None
    return coverage.operations


def stepwise_operations(door: PythonDoor, contract: Contract, examples: int) -> int:
    """Operations of `leasehold.testing.conformance_test`'s runs, Hypothesis's own work included."""
    coverage = Coverage()

    def one(run: bytes) -> None:
        assert walk_bytes(door, contract, run, coverage) is None

    _run(one, SIZE, examples)
    return coverage.operations


def byte_operations(door: PythonDoor, contract: Contract, examples: int) -> int:
    """Operations of runs from one byte string each."""
    coverage = Coverage()

    def one(run: bytes) -> None:
        assert walk(door, contract, Bytes(run), coverage) is None

    _run(one, BYTES_A_RUN, examples)
    return coverage.operations


def _run(test: Callable[[bytes], None], size: int, examples: int) -> None:
    _hypothesis(examples)(given(run=st.binary(min_size=size, max_size=size))(test))()


def guided_commands(door: PythonDoor, contract: Contract, runs: int) -> list[list[tuple[Command, Millis]]]:
    """The commands of seeded runs, with their times."""
    found = []
    for seed in range(runs):
        execution = Execution(door, contract)
        walker = Walker(seeded(seed), contract, door.capabilities, FOCI[seed % len(FOCI)])
        for _ in range(40):
            assert advance(execution, walker) is None
        found.append([(one.action, Millis(one.at)) for one in execution.steps if not isinstance(one.action, Reopen)])
    return found


def model_steps(contract: Contract, runs: list[list[tuple[Command, Millis]]]) -> int:
    """Calls of `step` with these commands."""
    for commands in runs:
        state = initial(contract, BOUND)
        for command, now in commands:
            state, _ = step(state, command, now, contract)
    return sum(map(len, runs))
