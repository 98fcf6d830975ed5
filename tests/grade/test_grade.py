"""The grading, at a tiny size; its tables and its picture on made-up results; and that the page is about today's liars."""

from __future__ import annotations

import json
import os
import signal
import time
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import attrs
import pytest

from tests.grade import __main__ as command
from tests.grade.plot import DARK, LIGHT, LINE, Curve, curves, picture
from tests.grade.pool import each
from tests.grade.strategies import STRATEGIES, Result, Task, run
from tests.grade.tables import Grading, missing, page
from tests.grade.trial import LIAR_OF, RIGHT
from tests.liars.liars import Liar

AGAIN = "run make grade (about 40 minutes), or only what is new: .venv/bin/python -m tests.grade --resume build/grading.jsonl"
PAGE = Path(__file__).parents[2] / "docs" / "grading.md"


# -- a tiny grading ----------------------------------------------------------------------------------------------------------------


def test_a_tiny_grading_finds_liars_and_accuses_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["commit-not-fenced", "renewal-returns-nothing", "keeps-both"]
    results = tmp_path / "results.jsonl"
    options = ["--seeds", "1", "--limit", "0.5", "--budget", "5", "--jobs", "1", "--out", str(tmp_path), "--names", *names]
    assert command.main([*options, "--results", str(results)]) == 0
    assert "12 of 12 runs" in capsys.readouterr().err
    found = {(one.store, one.strategy): one for one in command.read(results)}
    assert set(found) == {(name, strategy) for name in names for strategy in STRATEGIES}
    assert [one for name, one in found.items() if name[0] == "keeps-both" and one.solved] == []
    for name, rule in (("commit-not-fenced", "COMMIT-5"), ("renewal-returns-nothing", "LEASE-5")):
        caught = found[name, "oracle"]
        assert caught.rule == rule
        assert 0 < caught.size <= caught.operations
        assert 0 < caught.seconds < 5
    assert found["commit-not-fenced", "seed"].rule == "session_execution_lease_contract"
    text = (tmp_path / "grading.md").read_text("utf-8")
    assert "| `oracle` | 100.0 % | 2 | 0 | 0 |" in text
    assert missing(text, [*names, *STRATEGIES]) == []
    assert text.splitlines()[3].startswith(".venv/bin/python -m tests.grade --seeds 1 --limit 0.5 --budget 5 --names ")
    ElementTree.parse(tmp_path / "grading.svg")

    lines = results.read_text("utf-8").splitlines(keepends=True)
    results.write_text("".join(lines[:-1]) + lines[-1][:20], "utf-8")  # interrupted while writing
    assert command.main([*options, "--resume", str(results)]) == 0
    told = capsys.readouterr().err
    assert "11 of 11 results" in told
    assert told.count("12 of 12 runs") == 1
    assert {(one.store, one.strategy) for one in command.read(results)} == set(found)


def test_a_wrong_name_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--names", "nobody"]) == 64
    assert "no such liar or right store: nobody" in capsys.readouterr().err
    assert command.main(["--resume", "no-such-file"]) == 64
    assert "leave --resume out to begin anew" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main(["--seeds", "0"])
    assert "0 is not 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize("strategy", ["uniform", "hypothesis"])
def test_a_search_finds_what_is_easy_and_counts_its_operations(strategy: str) -> None:
    caught = run(Task("renewal-returns-nothing", strategy, 1, 10.0))
    assert caught.rule == "LEASE-5"
    assert caught.trouble == ""
    assert 1 <= caught.size <= caught.operations


def test_the_same_seed_draws_the_same_runs() -> None:
    once, again = (run(Task("renewal-returns-nothing", "uniform", 5, 10.0)) for _ in range(2))
    assert (once.operations, once.size) == (again.operations, again.size)
    assert once.operations != run(Task("renewal-returns-nothing", "uniform", 6, 10.0)).operations


def test_a_store_that_cannot_be_tested_is_told() -> None:
    assert run(Task("nobody", "uniform", 1, 1.0)).trouble.startswith("StopIteration")


# -- processes ---------------------------------------------------------------------------------------------------------------------


def _work(task: str) -> str:
    if task == "hang":
        while True:
            time.monotonic()
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return f"{task} done"


def test_a_run_that_hangs_or_dies_is_lost_and_the_others_are_not() -> None:
    tasks = ["a", "hang", "die", "b", "c"]
    results = list(each(_work, tasks, 2, lambda task: 0.2 if task == "hang" else 30.0, lambda task: f"{task} lost"))
    assert sorted(results) == ["a done", "b done", "c done", "die lost", "hang lost"]


def test_whoever_stops_listening_ends_the_processes() -> None:
    began = time.monotonic()
    results = each(_work, ["a", "hang", "hang"], 1, lambda _: 60.0, lambda task: f"{task} lost")
    assert next(results) == "a done"
    results.close()
    assert time.monotonic() - began < 30


# -- tables and picture ----------------------------------------------------------------------------------------------------------

ORACLE, SEED, UNIFORM = (STRATEGIES[name] for name in ("oracle", "seed", "uniform"))


def made_up(*results: Result) -> Grading:
    """Two liars, a right store, three strategies, two seeds."""
    liars = [
        Liar("loses-leases", "it loses leases", ("LEASE-1",), "memory"),
        Liar("says-yes", "it says yes", ("LAW-15", "LEASE-5"), "memory"),
    ]
    strategies = [ORACLE, SEED, UNIFORM]
    return Grading(liars=liars, right=["odd"], strategies=strategies, seeds=2, limit=3.0, budget=20.0, results=results)


def result(store: str, strategy: str, seed: int, *found: object) -> Result:
    """Solved: with a rule, seconds, operations and size."""
    return Result(store, strategy, seed, 3.0, *found)  # type: ignore[arg-type]


GRADED = made_up(
    result("loses-leases", "oracle", 1, "LEASE-1", 0.02, 30, 2),
    result("loses-leases", "oracle", 2, "LEASE-1", 0.04, 50, 4),
    result("says-yes", "oracle", 1, "LAW-15", 0.5, 70, 3),
    result("says-yes", "oracle", 2),
    result("loses-leases", "seed", 1, "a_scenario", 0.001, 9, 9),
    result("says-yes", "seed", 1),
    *[result(name, "uniform", seed) for name in ("loses-leases", "says-yes") for seed in (1, 2)],
    result("odd", "oracle", 1),
    result("odd", "seed", 1, "another_scenario", 0.002, 10, 10),
    attrs.evolve(result("odd", "uniform", 1), trouble="killed"),
)


def test_the_tables_say_what_the_results_say() -> None:
    text = page(GRADED, "make grade")
    for row in (
        "| `oracle` | 75.0 % | 1 | 1 | 0 | 0.040 s | 50 | 3 | 268 | 0 of 1 |",
        "| `seed` | 50.0 % | 1 | 0 | 1 | 0.001 s | 9 | 9 | 9,000 | 1 of 1 |",
        "| `uniform` | 0.0 % | 0 | 0 | 2 | - | - | - | - | 0 of 1 |",
        "| LEASE | 1 | 100.0 % | 100.0 % | 0.0 % |",
        "| LAW | 1 | 50.0 % | 0.0 % | 0.0 % |",
        "## What the seed's scenarios miss: 1 of 2 liars",
        "| `says-yes` | LAW-15, LEASE-5 | it says yes |",
        "| `odd` | - | another_scenario | - |",
        "| `odd` | `uniform` | 1 | killed |",
        "| `loses-leases` | LEASE-1 | 2/2 0.030 s | yes | - |",
        "| `says-yes` | LAW-15 LEASE-5 | 1/2 0.50 s | - | - |",
    ):
        assert row in text.splitlines()


def test_other_results_make_other_tables() -> None:
    fewer = attrs.evolve(GRADED, results=GRADED.results[:1])
    assert "| `oracle` | 100.0 % | 1 | 0 | 1 | 0.020 s | 30 | 2 | 1,500 | 0 of 1 |" in page(fewer, "make grade")
    assert "| `uniform` | not graded |" in page(fewer, "make grade")


def test_a_curve_rises_where_runs_were_solved() -> None:
    oracle, seed, uniform = curves(GRADED)
    assert [oracle.share(at) for at in (0.01, 0.02, 0.1, 1)] == [0, 0.25, 0.5, 0.75]
    assert (seed.share(1), uniform.share(20)) == (0.5, 0)


def test_the_picture_has_each_curve_with_its_label_apart_from_the_others() -> None:
    root = ElementTree.fromstring(picture([Curve(f"strategy {n}", (0.01, 0.1), 4) for n in range(len(LIGHT))], 20.0))
    space = "{http://www.w3.org/2000/svg}"
    labels = [one for one in root.iter(f"{space}text") if one.get("class", "").startswith("t")]
    assert [one.text for one in labels] == [f"strategy {n} 50 %" for n in range(len(LIGHT))]
    places = sorted(float(one.get("y", "")) for one in labels)
    assert all(below - above >= LINE for above, below in pairwise(places))
    paths = [one.get("d", "") for one in root.iter(f"{space}path")]
    assert len(paths) == len(LIGHT)
    assert all(path.count("V") == 2 for path in paths)


def _contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, as the web's accessibility guidelines (WCAG 2.1) define it."""

    def luminance(colour: str) -> float:
        shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_labels_can_be_read_on_light_and_on_dark() -> None:
    assert min(_contrast(colour, "#ffffff") for colour in LIGHT) >= 4.5
    assert min(_contrast(colour, "#0d1117") for colour in DARK) >= 4.5
    assert _contrast("#56b4e9", "#ffffff") < 4.5, "the twin: a colour of the dark page would be too pale for the light one"


# -- freshness ---------------------------------------------------------------------------------------------------------------------


def test_the_page_is_about_todays_liars_and_strategies() -> None:
    lacking = missing(PAGE.read_text("utf-8"), [*LIAR_OF, *RIGHT, *STRATEGIES])
    assert lacking == [], f"{PAGE.name} lacks {', '.join(lacking)}: {AGAIN}"


def test_twin_a_liar_that_was_added_is_noticed() -> None:
    assert missing(PAGE.read_text("utf-8"), ["a-liar-of-tomorrow"]) == ["a-liar-of-tomorrow"]
    assert missing("a-liar-of-tomorrow, told but not graded", ["a-liar-of-tomorrow"]) == ["a-liar-of-tomorrow"]


def test_the_page_tells_how_it_was_made() -> None:
    assert command._command(command._options([])) == "make grade"
    assert command._command(command._options(["--resume", "build/grading.jsonl", "--jobs", "1"])) == "make grade"
    assert command._command(command._options(["--seeds", "3"])) == ".venv/bin/python -m tests.grade --seeds 3 --limit 1"


def test_results_are_one_json_object_a_line() -> None:
    one = GRADED.results[0]
    assert Result(**json.loads(json.dumps(attrs.asdict(one)))) == one
