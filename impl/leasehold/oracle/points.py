"""In which order the points of a run are tried: those at which a client is interrupted, or a process killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from attrs import define, field

NEAR = 60
"""Between lines that wait for a lock, a line that does not is looked at first, if both are within so many points."""


@define
class Points:
    """The points 1 to ``count`` of one run, halving the widest gap. ``likely``: those that are tried first."""

    tried: set[int] = field(factory=set)
    count: int = -1
    likely: list[int] = field(factory=list)

    def next(self) -> int | None:
        """The point that comes next; None when every one was tried, or when their number is not known yet."""
        for point in self.likely:
            if point not in self.tried:
                return point
        wide, found = 1, None
        for low, high in pairwise((0, *sorted(one for one in self.tried if one <= self.count), self.count + 1)):
            if high - low > wide:
                wide, found = high - low, (low + high) // 2
        return found


Line = tuple[str, int]
"""A line of code: file and number."""


@define
class Lines:
    """What was seen of the store's lines, in all races: how often clients were interrupted there, and went on without waiting."""

    seen: Counter[Line] = field(factory=Counter)
    free: Counter[Line] = field(factory=Counter)
    in_race: Counter[tuple[Line, Sequence[str]]] = field(factory=Counter)

    def waits(self, line: Line) -> bool:
        """An interruption there only made others wait, so far: a lock is held, and the point is like its neighbours."""
        return self.seen[line] > 0 and self.free[line] == 0


class LinePoints:
    """The points of one race, each with its line. The same lines come by in many races: those that no race tried come first.

    A line at which others waited comes last everywhere, and a gap between two such lines, where a lock was let go, first. Every
    other one is a gap in which others went on before, in whatever race, if there is one: there something was let go for certain.
    """

    def __init__(self, lines: Lines, places: Sequence[Line], operations: Sequence[str]) -> None:
        self.places = places
        self._lines = lines
        self._operations = tuple(operations)
        self._left = set(range(len(places)))
        self._here: Counter[Line] = Counter()

    def next(self) -> int | None:
        """The number of the point that comes next, from 1; None when every one was tried."""
        if not self._left:
            return None
        lines, places = self._lines, self.places
        waiting = [lines.waits(place) for place in places]
        gaps = _gaps(waiting)
        certain = (len(places) - len(self._left)) % 2 == 1

        def rank(at: int) -> tuple[int, bool, bool, bool, int, int, int]:
            place = places[at]
            let_go = certain and gaps[at] and lines.free[place] > 0
            in_race = lines.in_race[place, self._operations]
            return self._here[place], not let_go, waiting[at], not gaps[at], in_race, lines.seen[place], at

        return 1 + min(self._left, key=rank)

    def tried(self, point: int, *, waited: bool) -> None:
        """What came of it."""
        place = self.places[point - 1]
        self._left.discard(point - 1)
        self._here[place] += 1
        self._lines.seen[place] += 1
        self._lines.free[place] += not waited
        self._lines.in_race[place, self._operations] += 1


def _gaps(waiting: Sequence[bool]) -> list[bool]:
    """Which points lie between two that wait, without waiting themselves."""
    before = _distances(waiting)
    after = _distances(waiting[::-1])[::-1]
    return [not here and 0 < one < NEAR and 0 < two < NEAR for here, one, two in zip(waiting, before, after, strict=True)]


def _distances(waiting: Sequence[bool]) -> list[int]:
    """How far back the last point that waits is; 0: there is none, or it is this one."""
    found, last = [], -1
    for at, here in enumerate(waiting):
        last = at if here else last
        found.append(at - last if last >= 0 else 0)
    return found
