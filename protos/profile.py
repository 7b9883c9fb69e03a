"""A dose over time: what is asked is a function of the seconds since T0. Pure; both sides compute the same from the same words."""

import bisect
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

MOST_POINTS = 100_000


@dataclass(frozen=True)
class Profile:
    """Points (second, dose), seconds growing from 0: straight lines between them, or steps that hold until the next. After the last its
    dose stays, or with `every_s` all begins again. Raises ValueError for what is none, in words.
    """

    points: tuple[tuple[float, float], ...]
    lines: bool = False
    every_s: float | None = None

    def __post_init__(self) -> None:
        seconds = [second for second, _ in self.points]
        if not seconds or seconds[0] != 0:
            raise ValueError("a profile begins at second 0")
        if len(seconds) > MOST_POINTS:
            raise ValueError(f"a profile has at most {MOST_POINTS} points; this one has {len(seconds)}")
        if not all(math.isfinite(x) for point in self.points for x in point):
            raise ValueError("seconds and doses are finite numbers")
        if any(later <= sooner for sooner, later in pairwise(seconds)):
            raise ValueError("seconds must grow from point to point")
        if self.every_s is not None and self.every_s <= seconds[-1]:
            raise ValueError("it begins again before its last point is reached")

    @property
    def most(self) -> float:
        return max(dose for _, dose in self.points)

    @property
    def least(self) -> float:
        return min(dose for _, dose in self.points)

    def at(self, second: float) -> float:
        """The dose asked at a moment; before T0 that of second 0."""
        second = max(0.0, second)
        if self.every_s is not None:
            second %= self.every_s
        here = bisect.bisect_right(self.points, (second, math.inf)) - 1
        (begun, dose) = self.points[here]
        if not self.lines or here + 1 == len(self.points):
            return dose
        end, then = self.points[here + 1]
        return dose + (then - dose) * (second - begun) / (end - begun)

    def begun(self, second: float) -> float:
        """When the piece that a moment lies in began."""
        turn = 0.0 if self.every_s is None else second // self.every_s * self.every_s
        here = bisect.bisect_right(self.points, (second - turn, math.inf)) - 1
        return turn + self.points[here][0]

    def mean(self, begin: float, end: float) -> float:
        """The mean dose asked from `begin` to `end`, exactly: by its pieces."""
        cuts = [begin, *self._corners(begin, end), end]
        total = 0.0
        for left, right in pairwise(cuts):
            # Just inside of both ends, because at a corner a step has two values.
            inset = (right - left) * 1e-9
            total += (self.at(left + inset) + self.at(right - inset)) / 2 * (right - left)
        return total / (end - begin)

    def _corners(self, begin: float, end: float) -> list[float]:
        seconds = [second for second, _ in self.points]
        if self.every_s is None:
            return [s for s in seconds if begin < s < end]
        first, last = math.floor(begin / self.every_s), math.ceil(end / self.every_s)
        return [c for turn in range(first, last + 1) for s in seconds if begin < (c := turn * self.every_s + s) < end]

    def to_json(self) -> str:
        return json.dumps({"points": self.points, "lines": self.lines, "every_s": self.every_s})

    @classmethod
    def from_json(cls, text: str) -> "Profile":
        raw = json.loads(text)
        return cls(tuple((float(s), float(d)) for s, d in raw["points"]), bool(raw["lines"]), raw["every_s"])


def ramp(begin: float, end: float, over_s: float) -> Profile:
    return Profile(((0.0, begin), (over_s, end)), lines=True)


def steps(doses: Sequence[float], each_s: float) -> Profile:
    return Profile(tuple((at * each_s, dose) for at, dose in enumerate(doses)))


def pulse(low: float, high: float, every_s: float, for_s: float) -> Profile:
    """High for a while at the beginning of every turn."""
    return Profile(((0.0, high), (for_s, low)), every_s=every_s)
