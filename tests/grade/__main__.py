"""``python -m tests.grade``: every liar by every strategy over several seeds; writes docs/grading.md and docs/grading.svg."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import attrs

from tests.grade import plot, tables
from tests.grade.pool import each
from tests.grade.strategies import STRATEGIES, Result, Task, run
from tests.grade.trial import LIAR_OF, PATIENCE, RIGHT

SEEDS = 10
LIMIT = 1.0
BUDGET = 20.0
"""Seconds of a default check of a liar, as in tests/liars."""

GRACE = 60.0
"""Seconds a run may take beyond its limit before it is killed: a busy machine, shrinking, calls that hang until their deadline."""

QUIET = 10.0
"""Seconds between two lines of progress."""


def main(arguments: list[str]) -> int:
    """Grade; the exit code is 1 if the oracle accused a right store, or a run could not be made."""
    options = _options(arguments)
    unknown = [name for name in options.names if name not in LIAR_OF and name not in RIGHT]
    if unknown:
        print(f"no such liar or right store: {', '.join(unknown)} (tests/liars has their names)", file=sys.stderr)
        return 64
    partial = bool(options.names or set(options.strategies) != set(STRATEGIES))
    liars = [liar for name, liar in LIAR_OF.items() if not options.names or name in options.names]
    right = [name for name in RIGHT if not options.names or name in options.names]
    tasks = list(planned([liar.name for liar in liars], right, options))
    path = options.resume or options.results
    if options.resume and not path.is_file():
        print(f"{path} does not exist: leave --resume out to begin anew", file=sys.stderr)
        return 64
    old = {one.task: one for one in read(path)} if options.resume else {}
    kept = [old[task] for task in tasks if task in old]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a" if options.resume else "w", encoding="utf-8") as stream:
        if options.resume:
            print(f"{len(kept):,} of {len(old):,} results in {path} are of this grading", file=sys.stderr)
            stream.write("\n")  # the last line may have been cut off
        try:
            results = [*kept, *graded([task for task in tasks if task not in old], options.jobs, len(kept), stream)]
        except KeyboardInterrupt:
            print(f"interrupted; to go on: the same again with --resume {path}", file=sys.stderr)
            return 130
    order = {task: number for number, task in enumerate(tasks)}
    grading = tables.Grading(
        liars=liars,
        right=right,
        strategies=[STRATEGIES[name] for name in options.strategies],
        seeds=options.seeds,
        limit=options.limit,
        budget=options.budget,
        results=sorted(results, key=lambda one: order[one.task]),
    )
    text, drawn = tables.page(grading, _command(options)), plot.picture(plot.curves(grading), max(options.limit, options.budget))
    if partial and options.out is None:
        print(text)
    else:
        out = options.out or Path("docs")
        out.mkdir(parents=True, exist_ok=True)
        (out / "grading.md").write_text(text, "utf-8")
        (out / "grading.svg").write_text(drawn, "utf-8")
        print(f"written: {out / 'grading.md'}, {out / 'grading.svg'}", file=sys.stderr)
    accused = [one.store for one in results if one.strategy == "oracle" and one.store in right and one.solved]
    return 1 if accused or any(one.trouble for one in results) else 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.grade", description=__doc__)
    parser.add_argument("--seeds", type=_count, default=SEEDS, help="how many seeds each (10)")
    parser.add_argument("--limit", type=_time, default=LIMIT, help="seconds of one run of a strategy other than the oracle (1)")
    parser.add_argument("--budget", type=_time, default=BUDGET, help="seconds of one check by the oracle (20)")
    parser.add_argument("--jobs", type=_count, default=2, help="processes (2)")
    parser.add_argument("--names", nargs="+", default=[], metavar="NAME", help="only these; prints the page unless --out is given")
    parser.add_argument(
        "--strategies", nargs="+", default=list(STRATEGIES), choices=list(STRATEGIES), metavar="NAME", help="only these"
    )
    parser.add_argument("--results", type=Path, default=Path("build/grading.jsonl"), help="where results go (build/grading.jsonl)")
    parser.add_argument("--resume", type=Path, metavar="FILE", help="go on with these results, made with the same settings")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the page goes (docs)")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def _time(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds")
    return number


def _command(options: argparse.Namespace) -> str:
    """What makes the page again."""
    given = [f"--seeds {options.seeds} --limit {options.limit:g}"] if (options.seeds, options.limit) != (SEEDS, LIMIT) else []
    given += [f"--budget {options.budget:g}"] if options.budget != BUDGET else []
    given += [f"--names {' '.join(options.names)}"] if options.names else []
    given += [f"--strategies {' '.join(options.strategies)}"] if set(options.strategies) != set(STRATEGIES) else []
    return " ".join([".venv/bin/python -m tests.grade", *given]) if given else "make grade"


def planned(liars: Sequence[str], right: Sequence[str], options: argparse.Namespace) -> Iterator[Task]:
    """Every run: liars with every seed, right stores with one."""
    for name in options.strategies:
        strategy = STRATEGIES[name]
        limit = options.budget if name == "oracle" else options.limit
        for store in liars:
            for seed in range(1, 2 if strategy.once else options.seeds + 1):
                yield Task(store, name, seed, limit)
        for store in right:
            yield Task(store, name, 1, options.limit)


def graded(tasks: list[Task], jobs: int, done: int, stream: TextIO) -> Iterator[Result]:
    """Do the tasks, in no order that would make the first ones the quick ones; each result is written as it comes."""
    random.Random(0).shuffle(tasks)
    began = said = time.monotonic()
    for number, result in enumerate(each(run, tasks, jobs, _patience, _lost), start=1):
        print(json.dumps(attrs.asdict(result)), file=stream, flush=True)
        now = time.monotonic()
        if now - said > QUIET or number == len(tasks):
            said = now
            left = (now - began) / number * (len(tasks) - number)
            print(f"{done + number:,} of {done + len(tasks):,} runs, about {left / 60:.1f} min left", file=sys.stderr, flush=True)
        yield result


def _patience(task: Task) -> float:
    return PATIENCE * task.limit + GRACE


def _lost(task: Task) -> Result:
    return Result(
        task.store, task.strategy, task.seed, task.limit, trouble=f"killed after {_patience(task):g} s, or its process died"
    )


def read(path: Path) -> Iterator[Result]:
    """The results in a file, whose last line an interruption may have cut off. Runs with trouble are made anew."""
    for line in filter(None, path.read_text("utf-8").splitlines()):
        try:
            result = Result(**json.loads(line))
        except (ValueError, TypeError):
            continue
        if not result.trouble:
            yield result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
