"""The command line. Exit codes: 0 conforms, 1 violates, 2 inconclusive, 3 broken set-up, 64 wrong usage, 130 interrupted."""

from __future__ import annotations

import contextlib
import difflib
import json
import secrets
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

import click

from leasehold import __version__
from leasehold.case import DIRECTORY, CaseError, Replayed, case_of, load, prepare, replay, save
from leasehold.deviations import EVERYTHING, Problem, Register, RegisterError, refusal, rewritten, settle
from leasehold.duration import seconds
from leasehold.items import read_register, write_register
from leasehold.logs.lines import LogError
from leasehold.logs.models import MODELS
from leasehold.matrix import compare
from leasehold.oracle.answers import BrokenTarget
from leasehold.oracle.check import Options, Report, check
from leasehold.oracle.concurrent import RaceFinding
from leasehold.oracle.findings import Finding
from leasehold.report.html import broken_html, check_html
from leasehold.report.json import Violation, broken_json, check_json, deviations_json, probe_json, replay_json
from leasehold.report.junit import broken_junit, check_junit
from leasehold.report.markdown import broken_markdown, check_markdown
from leasehold.report.matrix import matrix_html, matrix_json, show_matrix
from leasehold.report.progress import Progress
from leasehold.report.spec import read_source, show_entries, show_spec, spec_html, spec_json, spec_markdown
from leasehold.report.text import Asked, close_output, printer, show, show_broken, show_probe, show_replayed
from leasehold.report.verified import show_verified, verified_json
from leasehold.targets import DEADLINE, REPLY_DEADLINE, TargetError, open_factory, open_target, place_of
from leasehold.verify import FORMS, NODES, read, verify
from leasehold.wire.server import serve
from leasehold_model.policy import POINTS
from leasehold_model.requirements import STATEMENTS

CONFORMS, VIOLATES, INCONCLUSIVE, BROKEN, USAGE, INTERRUPTED = 0, 1, 2, 3, 64, 130

VERIFIED = {"linearizable": CONFORMS, "not linearizable": VIOLATES, "unknown": INCONCLUSIVE}

EXIT_CODES = {"conforms": CONFORMS, "violates": VIOLATES, "inconclusive": INCONCLUSIVE, "broken": BROKEN}

STANDARD_OUTPUT = "-"


class _Commands(click.Group):
    """Commands that return their exit code. Whatever is wrong, the user reads what, where and what to do, and no traceback."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> NoReturn:  # type: ignore[override]
        """Run a command, and exit."""
        extra.pop("standalone_mode", None)
        try:
            with _terminated_is_interrupted():
                code = super().main(args, prog_name, standalone_mode=False, **extra)
        except click.ClickException as error:
            error.show()
            code = USAGE
        except (TargetError, CaseError, RegisterError, LogError) as error:
            click.echo(f"Error: {error}", err=True)
            code = USAGE
        except BrokenTarget as error:
            show_broken(printer(sys.stderr), "the target", str(error))
            code = BROKEN
        except (KeyboardInterrupt, click.Abort):
            click.echo("Interrupted.", err=True)
            code = INTERRUPTED
        except Exception:  # noqa: BLE001 - a fault of ours must not look like a verdict
            traceback.print_exc()
            click.echo("leasehold itself failed, which says nothing about the store. Please report the lines above.", err=True)
            code = BROKEN
        signal.setitimer(signal.ITIMER_REAL, 0)  # an interruption in the wrong moment may have left the deadline's alarm on
        sys.exit(code)


class _Command(click.Command):
    """A command whose target may be an adapter program, written last, after ``--``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Turn ``-- CMD ARG...`` into the one target ``cmd:...``."""
        if "--" in args:
            at = args.index("--")
            args = [*args[:at], "cmd:" + shlex.join(args[at + 1 :])]
        return super().parse_args(ctx, args)


class _Duration(click.ParamType[float]):
    """A time: 20s, 5m, 1h, or a number of seconds."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds."""
        if isinstance(value, float):
            return value
        try:
            return seconds(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _OutputFile(click.ParamType[str]):
    """A file to write, or - for standard output. That it can be written is found out before the work, not after."""

    name = "FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The path."""
        path = Path(str(value))
        if str(value) != STANDARD_OUTPUT and (path.is_dir() or not path.parent.is_dir()):
            why = "is a directory" if path.is_dir() else f"cannot be made: there is no directory {path.parent}"
            self.fail(f"{value!r} {why}.", param, ctx)
        return str(value)


_json = click.option(
    "--json", "json_file", type=_OutputFile(), help="Write the report as JSON; - for standard output, and then nothing else."
)
_junit = click.option("--junit", "junit_file", type=_OutputFile(), help="Write the report as JUnit XML; - likewise.")
_html = click.option("--html", "html_file", type=_OutputFile(), help="Write the report as one HTML page; - likewise.")
_markdown = click.option(
    "--markdown",
    "markdown_file",
    type=_OutputFile(),
    help="Add the report as Markdown to the end of FILE, such as $GITHUB_STEP_SUMMARY; - likewise.",
)
_deadline = click.option(
    "--deadline",
    type=_Duration(),
    default=None,
    help=f"How long one call of the store may take (LAW-13). Default {DEADLINE:g}s, for an adapter program {REPLY_DEADLINE:g}s.",
)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="leasehold", message="%(prog)s %(version)s")
def main() -> None:
    """Is a durable agent runtime store right? Check it against the contract.

    \b
    A target is the store under test:
      memory                      our store in memory
      sqlite, sqlite:PATH         our SQLite store, in temporary files of its own
      python:pkg.module:factory   yours: factory(clock) opens a fresh store
    -- CMD ARG...               an adapter program; cmd:"CMD ARG..." elsewhere

    \b
    Exit codes: 0 conforms, 1 violates the contract, 2 inconclusive,
    3 the set-up is broken, 64 wrong usage, 130 interrupted.

    \b
    Example:
      leasehold check sqlite --budget 20s
    """


@main.command("check", cls=_Command)
@click.argument("target")
@click.option("--budget", type=_Duration(), default=60.0, help="How long to look: 20s, 5m, 90. Default 60s.")
@click.option("--seed", type=click.IntRange(min=0), help="Where the random runs start. Fresh by default, and printed.")
@_json
@_junit
@_html
@_markdown
@click.option(
    "--cases",
    type=click.Path(file_okay=False, path_type=Path),
    default=DIRECTORY,
    show_default=True,
    help="Where findings are written.",
)
@click.option("--require", type=click.Choice(["recommended"]), help="recommended: an option that is not recommended fails too.")
@click.option("--max-findings", type=click.IntRange(min=1), default=5, show_default=True, help="Stop after so many broken rules.")
@click.option(
    "--deviations",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Known deviations with their reasons (TOML). Seen as recorded they don't fail; gone, changed or without a reason they do.",
)
@click.option("--fix-deviations", is_flag=True, help="Rewrite the file of --deviations to what this check sees.")
@_deadline
def check_command(
    target: str,
    budget: float,
    seed: int | None,
    json_file: str | None,
    junit_file: str | None,
    html_file: str | None,
    markdown_file: str | None,
    cases: Path,
    require: str | None,
    max_findings: int,
    deviations: Path | None,
    fix_deviations: bool,
    deadline: float | None,
) -> int:
    """Check a store: does it keep the contract?

    Finds out the store's policies, walks a fixed tour and random runs, compares every answer with the model's, and reports the
    rules that were broken, each with the shortest run that shows it.

    \b
    Examples:
      leasehold check memory --budget 20s
      leasehold check python:myapp.stores:open_store --json report.json
      leasehold check sqlite --html report.html --junit report.xml
      leasehold check --budget 20s -- ./my-adapter --in-memory
    """
    started = time.monotonic()
    seed = secrets.randbelow(2**32) if seed is None else seed
    if fix_deviations and deviations is None:
        raise click.UsageError("--fix-deviations rewrites the file of --deviations: name it.")
    register = Register("") if deviations is None else read_register(deviations, missing_is_empty=fix_deviations)
    known = EVERYTHING if fix_deviations else register.requirements
    recommended = require is not None
    options = Options(budget=budget, seed=seed, max_findings=max_findings, require_recommended=recommended, known=known)
    out = sys.stdout
    files = {"--json": json_file, "--junit": junit_file, "--html": html_file, "--markdown": markdown_file}
    to_out = _on_standard_output(files)
    again = _again(target, options, deadline, cases, deviations)
    try:
        with _prints_to_stderr(), open_target(target, deadline) as door, Progress(sys.stderr, budget) as progress:
            report = check(door, options, progress)
    except BrokenTarget as broken:
        why, seconds = str(broken), time.monotonic() - started
        if json_file:
            _write_json(json_file, broken_json(target, why, seconds, seed), out)
        if junit_file:
            _write_text(junit_file, broken_junit(target, why, seconds, seed, again), out)
        if html_file:
            _write_text(html_file, broken_html(target, why, seconds, seed, again), out)
        if markdown_file:
            _write_text(markdown_file, broken_markdown(target, why, again), out, add=True)
        show_broken(printer(sys.stderr if to_out else out), target, why, again)
        return BROKEN
    if deviations is not None and fix_deviations:
        click.echo(_fixed(deviations, register, report, recommended=recommended), err=True)
    settled = settle(register, report, recommended=recommended)
    report = settled.report
    violations = _saved(report, cases)
    asked = Asked(command=again, recommended=recommended, max_findings=max_findings)
    if json_file:
        value = check_json(report, violations, recommended=recommended)
        if deviations is not None:
            value["deviations"] = deviations_json([entry for entry, _ in settled.known])
        _write_json(json_file, value, out)
    if junit_file:
        _write_text(junit_file, check_junit(report, violations, asked), out)
    if html_file:
        _write_text(html_file, check_html(report, violations, asked), out)
    if markdown_file:
        _write_text(markdown_file, check_markdown(report, violations, asked), out, add=True)
    if to_out:
        click.echo(f"{report.verdict}: {target}, seed {seed}", err=True)
    else:
        show(printer(out), report, violations, asked)
    return INTERRUPTED if report.interrupted else EXIT_CODES[report.verdict]


def _fixed(path: Path, register: Register, report: Report, *, recommended: bool) -> str:
    """Rewrite the register, or say why not."""
    why = refusal(report)
    return f"{path}: not rewritten: {why}" if why else write_register(path, rewritten(register, report, recommended=recommended))


def _saved(report: Report, cases: Path) -> list[Violation]:
    """The findings, each with its case, written below the directory."""
    violations = []
    findings: list[Finding | RaceFinding] = [*report.races, *report.findings]
    for finding in findings:
        path: Path | None = None
        try:
            if not isinstance(finding, Problem):
                path = save(case_of(finding, report.target, report.capabilities, report.contract), cases)
        except OSError as error:
            click.echo(f"The case of {finding.requirement} could not be written below {cases}: {error}. Try --cases DIR.", err=True)
        violations.append(Violation(finding, path))
    return violations


def _again(target: str, options: Options, deadline: float | None, cases: Path, deviations: Path | None) -> str:
    """The command that does the same again."""
    words = ["leasehold", "check", "--seed", str(options.seed), "--budget", f"{options.budget:g}s"]
    if options.require_recommended:
        words += ["--require", "recommended"]
    if options.max_findings != 5:
        words += ["--max-findings", str(options.max_findings)]
    if deadline is not None:
        words += ["--deadline", f"{deadline:g}s"]
    if str(cases) != DIRECTORY:
        words += ["--cases", str(cases)]
    if deviations is not None:
        words += ["--deviations", str(deviations)]
    return shlex.join([*words, target])


@main.command("probe", cls=_Command)
@click.argument("target")
@_json
@_deadline
def probe_command(target: str, json_file: str | None, deadline: float | None) -> int:
    """Find out which option a store takes at every policy point.

    \b
    Example:
      leasehold probe sqlite
    """
    out = sys.stdout
    with _prints_to_stderr(), open_target(target, deadline) as door:
        _, policies = prepare(door)
        capabilities = door.capabilities
    if json_file:
        _write_json(json_file, probe_json(target, capabilities, policies), out)
    if json_file != STANDARD_OUTPUT:
        show_probe(printer(out), target, policies)
    return VIOLATES if any(one.failure for one in policies) else CONFORMS


@main.command("replay", cls=_Command)
@click.argument("cases", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="CASE...")
@click.argument("target")
@_json
@_deadline
def replay_command(cases: Sequence[Path], target: str, json_file: str | None, deadline: float | None) -> int:
    """Run saved cases again, judged by today's model. Exit code as for check.

    \b
    Example:
      leasehold replay leasehold-cases/*.json python:myapp.stores:open_store
    """
    loaded = {path: load(path) for path in cases}
    out, results = sys.stdout, dict[Path, Replayed]()
    with _prints_to_stderr(), open_target(target, deadline) as door:
        contract, _ = prepare(door)
        for path, case in loaded.items():
            results[path] = replay(case, door, contract)
        capabilities = door.capabilities
    verdicts = {again.verdict for again in results.values()}
    verdict = next((one for one in ("violates", "inconclusive") if one in verdicts), "conforms")
    if json_file:
        _write_json(json_file, replay_json(target, capabilities, verdict, results), out)
    if json_file != STANDARD_OUTPUT:
        console = printer(out)
        for path, again in results.items():
            show_replayed(console, str(path), again, target)
    return EXIT_CODES[verdict]


@main.command("matrix")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET TARGET...")
@click.option("--budget", type=_Duration(), default=20.0, help="How long to look at each store: 20s, 5m, 90. Default 20s.")
@click.option("--seed", type=click.IntRange(min=0), help="Where the random runs start, in every store. Fresh by default.")
@_json
@_html
@_deadline
def matrix_command(
    targets: Sequence[str], budget: float, seed: int | None, json_file: str | None, html_file: str | None, deadline: float | None
) -> int:
    """Check several stores and show them side by side, first of all what differs.

    Exit code: that of the worst: 3 if one's set-up is broken, else 1 if one violates the contract, else 2 if one is inconclusive,
    else 0. A store that is broken does not end the others. Write an adapter program as one word: "cmd:./adapter --in-memory".

    \b
    Example:
      leasehold matrix memory sqlite "cmd:./adapter --in-memory" --html stores.html
    """
    if len(targets) < 2:
        raise click.UsageError("A matrix has two stores at least. For one there is `leasehold check`.")
    out = sys.stdout
    to_out = _on_standard_output({"--json": json_file, "--html": html_file})
    seed = secrets.randbelow(2**32) if seed is None else seed
    with _prints_to_stderr(), contextlib.ExitStack() as shown:
        matrix = compare(
            targets,
            budget=budget,
            seed=seed,
            deadline=deadline,
            progress=lambda _: shown.enter_context(Progress(sys.stderr, budget)),
        )
    if json_file:
        _write_json(json_file, matrix_json(matrix), out)
    if html_file:
        _write_text(html_file, matrix_html(matrix), out)
    if not to_out:
        show_matrix(printer(out), matrix)
    return INTERRUPTED if matrix.interrupted else EXIT_CODES[matrix.verdict]


@main.command("verify")
@click.argument("log", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", type=click.Choice(["auto", *MODELS]), default="auto", show_default=True, help="What it is a history of.")
@click.option("--format", "form", type=click.Choice(["auto", *FORMS]), default="auto", show_default=True, help="How it is written.")
@click.option("--budget", type=_Duration(), default=60.0, help="How long to look: 20s, 5m, 90. Default 60s.")
@click.option(
    "--nodes",
    type=click.IntRange(min=1),
    default=NODES,
    show_default=True,
    help="Visit so many configurations: this bounds memory.",
)
@_json
def verify_command(log: Path, model: str, form: str, budget: float, nodes: int, json_file: str | None) -> int:
    """Is a recorded history linearizable?

    \b
    LOG: one call a line as JSON, as docs/verify.md has it; or a Jepsen history.
    Exit codes: 0 linearizable, 1 not, 2 unknown, 64 the log cannot be read.
    Example:
      leasehold verify history.jsonl --model cas-register
    """
    with Progress(sys.stderr, budget, "configurations") as progress:
        verified = verify(read(log, form), model, budget, nodes, progress)
    if json_file:
        _write_json(json_file, verified_json(verified), sys.stdout)
    if json_file != STANDARD_OUTPUT:
        show_verified(printer(sys.stdout), verified)
    return INTERRUPTED if verified.ended == "interrupted" else VERIFIED[verified.verdict]


@main.command("serve")
@click.argument("store", metavar="STORE")
def serve_command(store: str) -> int:
    """One of our own stores, or a Python one, as an adapter program on standard input and output.

    \b
    STORE is memory, sqlite, sqlite:PATH or python:pkg.module:factory.
    Example:
      leasehold check -- leasehold serve sqlite
    """
    requests, replies = sys.stdin, sys.stdout
    sys.setswitchinterval(1e-5)  # calls on several handles take turns within a call, not after many
    with _prints_to_stderr(), open_factory(store) as factory:
        serve(store, factory, requests, replies, place_of(store, factory))
    return CONFORMS


@main.command("spec")
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option("--format", "form", type=click.Choice(["text", "markdown", "html", "json"]), default="text", show_default=True)
def spec_command(ids: Sequence[str], form: str) -> int:
    """Show requirements, laws and policies: where the model decides each, and which tests exercise it.

    \b
    Examples:
      leasehold spec GRAPH-8 P-NODE-DUPLICATE
      leasehold spec --format html > spec.html
    """
    source = read_source()
    known = [*STATEMENTS, *(point.id for point in POINTS)]
    for one in ids:
        if one.upper() not in known:
            near = difflib.get_close_matches(one.upper(), known, n=1)
            hint = f"Did you mean {near[0]}?" if near else "leasehold spec lists them all."
            raise click.UsageError(f"there is no {one!r}. {hint}")
    if ids and form != "text":
        raise click.UsageError("IDs are shown as text only: leave --format out, or the IDs.")
    if ids:
        show_entries(printer(sys.stdout), source, [one.upper() for one in ids])
    elif form == "html":
        _write(spec_html(source), sys.stdout)
    elif form == "json":
        _write_json(STANDARD_OUTPUT, spec_json(source), sys.stdout)
    elif form == "markdown":
        _write(spec_markdown(source), sys.stdout)
    else:
        show_spec(printer(sys.stdout), source)
    return CONFORMS


# -- the world around ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _prints_to_stderr() -> Iterator[None]:
    """What a store prints must not stand in a report."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _write(text: str, out: TextIO) -> None:
    try:
        out.write(text)
        out.flush()
    except BrokenPipeError:
        close_output(out)


def _on_standard_output(files: Mapping[str, str | None]) -> bool:
    """Whether a report goes to standard output; two cannot."""
    there = [name for name, path in files.items() if path == STANDARD_OUTPUT]
    if len(there) > 1:
        raise click.UsageError(f"{' and '.join(there)} cannot both write to standard output. Give one of them a file.")
    return bool(there)


def _write_json(path: str, value: Any, out: TextIO) -> None:
    _write_text(path, json.dumps(value, indent=1) + "\n", out)


def _write_text(path: str, text: str, out: TextIO, *, add: bool = False) -> None:
    """Write a report; ``add``: to the end of what may be there."""
    if path == STANDARD_OUTPUT:
        _write(text, out)
        return
    try:
        with Path(path).open("a" if add else "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        click.echo(f"The report could not be written: {error}", err=True)


@contextlib.contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """A polite end from outside, as of a CI job out of time, interrupts: what there is gets reported, nothing is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_signum: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
