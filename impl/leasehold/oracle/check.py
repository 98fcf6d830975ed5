"""The check: smoke exchange, policies, the tour, random runs; then the report as a value."""

from __future__ import annotations

import contextlib
import math
import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from attrs import evolve, field, frozen

from leasehold.crash.power import unavailable
from leasehold.oracle.answers import Answer, BrokenTarget, Door, Err, Hung, Ok, OutOfTime
from leasehold.oracle.concurrent import History, RaceFinding, Threads, contract_that_allows
from leasehold.oracle.coverage import Coverage, NotChecked, limits, missing_operations, offered
from leasehold.oracle.crashes import Crashes
from leasehold.oracle.drive import seeded, walk
from leasehold.oracle.findings import Finding, investigate
from leasehold.oracle.fitting import fitted
from leasehold.oracle.outages import Outages
from leasehold.oracle.probe import Probed, probe
from leasehold.oracle.provoke import Provoker, Tally
from leasehold.oracle.rejudge import contract_that_explains, open_points, others
from leasehold.oracle.run import START, Failure, Run, execute
from leasehold.oracle.tour import tour
from leasehold.oracle.walker import FOCI, focus_for
from leasehold.records import Batch, BatchDraft, Lease
from leasehold_model.laws import SOMETIMES
from leasehold_model.machine import Contract

Verdict = Literal["conforms", "violates", "inconclusive"]

TOUR = 8 * len(FOCI)
"""How many drawn runs the tour has: the same ones every time, through every focus."""

LINGER = 3.0
"""Seconds that a check goes on looking for other broken rules after it last found one."""

CORPUS_SHARE = 0.1
"""How much of the budget the regression cases may take before the tour."""

PROCESSES = 15.0
"""The least budget in seconds with which clients are in processes of their own, too."""

LEAST, LEAST_SHARE = 20, 0.15
"""So many histories, kills and power losses are looked at even if time is short, but for no more than this share of the budget."""

UNDECIDED = 0.01
"""The share of histories that may stay undecided before the check is called inconclusive."""

ROUND = 0.03
"""Share of the budget of one round: in each there is some of everything, so that nothing waits for long."""

AT_ONCE, KILLED, POWER, DRAWN = 0.3, 0.3, 0.05, 0.35
"""Shares of a round for clients at once, for kills, for power losses, where a store takes that, and for runs of one client."""

SOON, SHIFT = 0.3, 0.15
"""After this share of the budget, clients at once get so much of what runs of one client had: these find what they do sooner."""


@frozen(kw_only=True)
class Options:
    """How to check. ``budget``: seconds. ``seed`` None: a fresh one. ``corpus``: replay the regression cases first."""

    budget: float = 60.0
    seed: int | None = None
    max_findings: int = 5
    require_recommended: bool = False
    corpus: bool = True
    known: frozenset[str] = frozenset()
    """Rules whose breach is no news: the check goes on as if it had not found it."""


@frozen(kw_only=True)
class Report:
    """What a check found."""

    target: str
    capabilities: Any
    verdict: Verdict
    seed: int
    seconds: float
    operations: int
    lost: int
    runs: int
    tally: Tally
    findings: tuple[Finding, ...]
    races: tuple[RaceFinding, ...]
    policies: tuple[Probed, ...]
    contract: Contract
    exercised: dict[str, int]
    asserted: dict[str, int]
    outcomes: dict[tuple[str, str], int]
    not_checked: tuple[NotChecked, ...]
    starved: tuple[str, ...]
    loose: tuple[str, ...] = field(default=())
    interrupted: bool = False


Progress = Callable[[str, int, float], None]
"""Told now and then: what is being done, how many operations so far, the share of the budget that is used."""


def check(door: Door, options: Options, progress: Progress | None = None) -> Report:
    """Check the store behind the door. Raises `BrokenTarget` where nothing can be said about the store."""
    return _Check(door, options, progress or _silent).run()


def _silent(what: str, operations: int, share: float) -> None:  # noqa: ARG001 - a progress that nobody wants to see
    return None


class _Check:
    def __init__(self, door: Door, options: Options, progress: Progress) -> None:
        self.door = door
        self.options = options
        self.progress = progress
        self.seed = options.seed if options.seed is not None else secrets.randbelow(2**32)
        self.started = time.monotonic()
        self.coverage = Coverage()
        self.findings: list[Finding] = []
        self.looked_into: set[tuple[str, str, str]] = set()
        self.races: list[RaceFinding] = []
        self.tally = Tally()
        self.no_power = ""
        self.shut = contextlib.ExitStack()
        self.provoker: Provoker | None = None
        self.killing: Crashes | None = None
        self.outages: Outages | None = None
        self.drawn = 0
        self.last_found = 0.0
        self.policies: list[Probed] = []
        self.cut_short = ""
        self.corpus = deque(_regressions() if options.corpus else ())
        self.contract = Contract(persistent_manifest=door.capabilities.manifest == "persistent")

    def run(self) -> Report:
        """All there is to do, or what was done until the user interrupted or, with a finding in hand, the target broke."""
        interrupted = False
        try:
            with contextlib.suppress(OutOfTime):  # the budget is used up
                self._everything()
            self.door.ends = math.inf
            self._unexplained()
        except KeyboardInterrupt:
            interrupted = True
            self.cut_short = f"interrupted after {self._elapsed():.1f} s"
        except BrokenTarget as broken:
            if not (self.findings or self.races):
                raise
            self.cut_short = f"the target broke: {broken}"
        finally:
            self.door.ends = math.inf
            self.shut.close()
        return self._report(interrupted)

    def _everything(self) -> None:
        self._tell("smoke exchange")
        smoke(self.door)
        self.door.ends = self.started + self.options.budget
        self._tell("probing policies")
        self.contract, self.policies = probe(self.door, self.contract)
        self.policies = [self._asked(one) for one in self.policies]
        for probed in self.policies:
            if probed.failure is not None and isinstance(probed.failure.answers[-1], Hung):
                self._found(probed.failure)
        self._corpus(CORPUS_SHARE)
        self._tier()
        if "LAW-12" in offered(self.door.capabilities)[0]:
            self.provoker = Provoker(Threads(self.door, self.contract), self.seed, self.tally, self._apart())
        self._concurrent(0.0)
        for steps in tour(self.door.capabilities):
            if self._over():
                break
            self._tell("tour")
            self._met(execute(self.door, self.contract, steps, self.coverage))
        while not self._over():
            shift = SHIFT if self._elapsed() > SOON * self.options.budget else 0.0
            self._concurrent(ROUND * (AT_ONCE + shift))
            self._killed(ROUND * KILLED)
            self._outages(ROUND * POWER)
            self._corpus(1.0)
            self._random(ROUND * (DRAWN - shift))

    # -- parts -----------------------------------------------------------------------------------------------------------

    def _corpus(self, share: float) -> None:
        """What was found in other stores is looked for first; where that is slow, what is left of it after the tour."""
        while self.corpus and not self._over() and self._elapsed() < share * self.options.budget:
            self._tell("regression cases")
            self._met(execute(self.door, self.contract, fitted(self.corpus.popleft(), self.door.capabilities), self.coverage))

    def _unexplained(self) -> None:
        """A point at which the store shows no option is a violation, unless what was found already is behind it."""
        for probed in self.policies:
            if probed.failure is not None and not self._news():
                self._found(probed.failure)

    def _tell(self, what: str) -> None:
        self.progress(what, self.coverage.operations, min(1.0, self._elapsed() / max(self.options.budget, 0.001)))

    def _elapsed(self) -> float:
        return time.monotonic() - self.started

    def _news(self) -> list[Finding | RaceFinding]:
        found: list[Finding | RaceFinding] = [*self.findings, *self.races]
        return [one for one in found if one.requirement not in self.options.known]

    def _full(self) -> bool:
        return len(self._news()) >= self.options.max_findings

    def _over(self) -> bool:
        found = self._news()
        if any((one.failure.mismatch.rule if isinstance(one, Finding) else one.requirement) == "LAW-13" for one in found):
            return True  # every further run would wait for the deadline again
        return self._full() or self._elapsed() >= self.options.budget or bool(found and self._elapsed() - self.last_found > LINGER)

    def _walk(self, seed: int, focus: Any) -> None:
        self._met(walk(self.door, self.contract, seeded(seed), self.coverage, focus))

    def _random(self, share: float) -> None:
        """Drawn runs of one client: first those of the tour, then others, more of them about what was met least."""
        able, _ = offered(self.door.capabilities)
        more = self._for(share)
        while more(LEAST):
            number, focus = self.drawn, FOCI[self.drawn % len(FOCI)]
            self.drawn += 1
            self._tell("tour" if number < TOUR else "random runs")
            if number == TOUR:
                self._unexplained()
            if number >= TOUR and number % 2:
                focus = focus_for(self.coverage.thin(able))
            self._walk(number if number < TOUR else self.seed * 1_000_003 + number, focus)

    def _asked(self, probed: Probed) -> Probed:
        """A point of which no option fits may only hang on points that could not be asked: then it was not asked either."""
        points = open_points(self.policies)
        if probed.failure is None or not points:
            return probed
        capabilities = self.door.capabilities
        explained = contract_that_explains(probed.failure, capabilities, self.contract, [*points, probed.point])
        return probed if explained is None else Probed(probed.point, None, "it hangs on a point that could not be asked")

    def _explained(self, failure: Failure) -> bool:
        """Another option explains the run, at a point where the store could not be asked: so that is the option it takes."""
        points = open_points(self.policies)
        return bool(points) and self._takes(contract_that_explains(failure, self.door.capabilities, self.contract, points))

    def _allowed(self, history: History) -> bool:
        """The same for calls at once."""
        points = open_points(self.policies)
        return bool(points) and self._takes(contract_that_allows(history, others(self.contract, points)))

    def _takes(self, other: Contract | None) -> bool:
        """From now on the store is held to these options."""
        if other is None:
            return False
        self.contract = other
        raced = (self.provoker.threads, self.provoker.apart) if self.provoker else ()
        killed = (self.killing, self.killing.threads) if self.killing else ()
        for one in (*raced, *killed, self.outages):
            if one is not None:
                one.contract = other
        return True

    def _met(self, failure: Failure | None, door: Door | None = None) -> None:
        if failure is not None and not self._explained(failure) and not self._known(failure):
            self._found(failure, door)

    def _known(self, failure: Failure) -> bool:
        """The same rule fell already, under its own or the name it got. What only looks like a known one is looked into once."""
        wrong, known = failure.mismatch, self.options.known
        rules = {finding.requirement for finding in self.findings}
        rules |= {finding.failure.mismatch.rule for finding in self.findings if finding.requirement not in known}
        if wrong.rule in rules or not known:
            return wrong.rule in rules
        looks = (wrong.rule, failure.moment.op, wrong.where)
        if looks in self.looked_into:
            return True
        self.looked_into.add(looks)
        return False

    def _found(self, failure: Failure, door: Door | None = None) -> None:
        self._tell("shrinking")
        left = self.options.budget - self._elapsed()
        finding = investigate(door or self.door, self.contract, failure, max(1.0, min(4.0, left / 2)))
        if all(finding.requirement != other.requirement for other in self.findings):
            self.findings.append(finding)
            self.last_found = self._elapsed()

    def _tier(self) -> None:
        """TIER-1: what the store reports is what it declares."""
        reported = self.door.reported_tier()
        if reported is None or reported == self.door.capabilities.tier:
            self.coverage.met("TIER-1")
        else:
            self.races.append(
                RaceFinding(
                    "TIER-1", f"the store declares {self.door.capabilities.tier!r} and reports durability_tier {reported!r}"
                )
            )
            self.last_found = self._elapsed()

    def _for(self, share: float) -> Callable[[int], bool]:
        """Whether to go on for this share of the budget from now on; with less than the least that was done, in any case."""
        began = self._elapsed()
        ends, last = (began + one * self.options.budget for one in (share, max(share, LEAST_SHARE)))
        return lambda done: not self._over() and self._elapsed() < (ends if done >= LEAST else last)

    def _concurrent(self, share: float) -> None:
        """Several clients at once; the first few in any case."""
        if self.provoker is None:
            return
        more = self._for(share)
        while more(self.tally.histories):
            self._tell("clients at once")
            before = self.tally.histories
            found = self.provoker.run()
            if self.tally.histories > before:
                self.coverage.met("LAW-12")
            if isinstance(found, RaceFinding):
                self._raced(found)
            else:
                self._met(found)
        if self.tally.first_leases:
            self.coverage.met("LEASE-8")

    def _apart(self) -> Threads | None:
        """The clients in processes of their own, for stores that promise to stand that."""
        opener = getattr(self.door, "processes", None)
        if opener is None or self.options.budget < PROCESSES:
            return None
        door = opener()
        self.shut.callback(door.shut)
        return Threads(door, self.contract)

    def _killed(self, share: float) -> None:
        """The process that holds the store is killed."""
        if self.killing is None and not self._over():
            self.killing = self._crashes()
        if self.killing is None:
            return
        more = self._for(share)
        while more(self.tally.kills):
            self._tell("killing its process")
            found = self.killing.run()
            if isinstance(found, RaceFinding):
                self._raced(found)
            else:
                self._met(found, self.killing.door)

    def _crashes(self) -> Crashes | None:
        """What kills the store's process, if that can be done; it is ended with the check."""
        opened = self.door.crashing()
        if opened is None:
            return None
        opened.ends = self.door.ends
        if opened is not self.door:
            self.shut.callback(opened.shut)
        return Crashes(opened, self.contract, self.seed, self.coverage, self.tally)

    def _outages(self, share: float) -> None:
        """The power goes."""
        at_place = getattr(self.door, "at_place", None)
        if at_place is None or self._over():
            return
        self.no_power = unavailable() or ""
        if self.no_power:
            return
        if self.outages is None:
            self.outages = Outages(at_place, self.contract, self.seed, self.tally)
        more = self._for(share)
        while more(self.tally.power_losses):
            self._tell("power losses")
            found = self.outages.run()
            if found is not None:
                self._raced(found)

    def _raced(self, found: RaceFinding) -> None:
        if found.history is not None and self._allowed(found.history):
            return
        if found.requirement not in {*(one.requirement for one in self.races), *(one.requirement for one in self.findings)}:
            self.races.append(found)
            self.last_found = self._elapsed()

    # -- verdict ---------------------------------------------------------------------------------------------------------

    def _report(self, interrupted: bool) -> Report:
        policies = self.policies
        broken = {finding.requirement for finding in self.findings} | {race.requirement for race in self.races}
        able, unable = offered(self.door.capabilities)
        unable = [_with_losses(one, self.coverage.lost) for one in unable]
        if "LAW-12" in broken:  # by a lost answer
            unable = [evolve(one, what="concurrent histories") if one.what == "LAW-12" else one for one in unable]
            able.append("LAW-12")
        offers_all = not missing_operations(self.door.capabilities)
        exercised, asserted = self.coverage.exercised, self.coverage.asserted
        for one in broken:
            exercised[one], asserted[one] = max(1, exercised[one]), max(1, asserted[one])
        starved = [one for one in able if exercised[one] == 0 and one not in self.coverage.skips]
        starved += [f"sometimes: {what}" for what in SOMETIMES if offers_all and what not in self._sometimes()]
        skipped = [NotChecked(op, why) for op, why in self.coverage.skips.items()]
        unasked = [
            NotChecked(probed.point.id, probed.why) for probed in policies if probed.option is None and probed.failure is None
        ]
        cut = [NotChecked("the rest of the run", self.cut_short)] if self.cut_short else []
        if self.no_power:
            cut.append(NotChecked("power loss", self.no_power))
        elif self.door.capabilities.tier == "durable" and getattr(self.door, "at_place", None) is None:
            cut.append(NotChecked("power loss", "whether the store syncs what it writes can only be seen of our SQLite store"))
        if self.door.capabilities.tier == "durable" and self.door.not_killed:
            cut.append(NotChecked("kill -9", self.door.not_killed))
        elif self.door.capabilities.kill and not self.tally.kills and not self._news():
            cut.append(NotChecked("kill -9", "the budget was used up before: give it more time"))
        loose = tuple(p.point.id for p in policies if p.option is not None and not p.point.ours and p.option != p.point.options[0])
        undecided = self.tally.undecided > UNDECIDED * self.tally.histories
        if undecided:
            cut.append(NotChecked("LAW-12", f"{self.tally.undecided} of {self.tally.histories} histories stayed undecided"))
        verdict: Verdict = "conforms"
        if self.findings or self.races or (self.options.require_recommended and loose):
            verdict = "violates"
        elif starved or self.cut_short or self.coverage.operations == 0 or undecided:
            verdict = "inconclusive"
        return Report(
            target=self.door.name,
            capabilities=self.door.capabilities,
            verdict=verdict,
            seed=self.seed,
            seconds=self._elapsed(),
            operations=self.coverage.operations,
            lost=self.coverage.lost,
            runs=self.coverage.runs,
            tally=self.tally,
            findings=tuple(self.findings),
            races=tuple(self.races),
            policies=tuple(policies),
            contract=self.contract,
            exercised={one: exercised[one] for one in able},
            asserted={one: asserted[one] for one in able},
            outcomes=dict(self.coverage.outcomes),
            not_checked=(
                *unable,
                *limits(self.door.capabilities),
                *missing_operations(self.door.capabilities),
                *skipped,
                *unasked,
                *cut,
            ),
            starved=tuple(starved),
            loose=loose,
            interrupted=interrupted,
        )

    def _sometimes(self) -> set[str]:
        reached = set(self.coverage.sometimes)
        if not self.contract.persistent_manifest:
            reached.add("an intent stays uncommitted")
        if self.contract.policies.checkpoint_ref == "echo":
            reached.add("a commit keeps a body by its reference")
        return reached


def _with_losses(one: NotChecked, lost: int) -> NotChecked:
    """Of LAW-12 one part is checked, where answers get lost."""
    return evolve(one, why=f"lost answers were followed; {one.why}") if one.what == "LAW-12" and lost else one


def _regressions() -> tuple[Run, ...]:
    from leasehold.corpus import runs  # noqa: PLC0415 - cases know the check, so the check gets them late

    return runs()


def smoke(door: Door) -> None:
    """Two operations, judged only for their shape: does the target work at all?"""
    door.fresh("alpha")
    if door.capabilities.clock == "virtual":
        door.clock(START)
    draft = BatchDraft(session_id="alpha", delivery_policy="earliest_safe_boundary", slot_policy="join", payloads=())
    calls: list[tuple[str, tuple[Any, ...], type]] = [
        ("try_claim_session_execution_lease", ("alpha", "ann", 60_000), Lease),
        ("enqueue_queued_work", (draft,), Batch),
    ]
    for op, args, expected in calls:
        if op not in door.capabilities.ops:
            continue
        answer = door.call(0, op, args)
        problem = _smoke_problem(answer, expected)
        if problem:
            raise BrokenTarget(f"smoke exchange: {op} {problem}")


def _smoke_problem(answer: Answer, expected: type) -> str:
    if isinstance(answer, Hung):
        return f"did not answer within {answer.seconds:g} s"
    if isinstance(answer, Err) and answer.untyped:
        return answer.message
    if isinstance(answer, Ok) and not isinstance(answer.value, expected | dict | None):
        return f"answered {answer.value!r}; a {expected.__name__} (leasehold.records) is due"
    return ""
