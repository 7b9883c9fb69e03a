"""A race: contestants against one server, in rounds that run each once in a shuffled order."""

import dataclasses
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from tests.bench.engine.contestant import GENERATOR_CORE, SERVER_CORE, Contestant, Failed, Load, Measured
from tests.bench.engine.machine import ours_s, taken_s

MAXIMUM = "maximum"
CORES = (SERVER_CORE, GENERATOR_CORE)
DISTURBED = 0.15
"""A measurement during which others took more of the two cores (1 is one core) is repeated."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What the command line asks of all races. `until` is time.monotonic() seconds: what has not begun by then is not run."""

    rounds: int
    seconds: int
    seed: int
    long: bool
    repeats: int
    until: float
    say: Say


@dataclass(frozen=True)
class Race:
    """`pace` finds the common rate at which those of `paced` are compared; the first contestant is what ratios are formed with.

    `alike` names, for a peer, the contestant of ours that goes by the same rule. `missing` says why there is no race.
    """

    subject: str
    setting: str
    server: Callable[[], AbstractContextManager[int]]
    contestants: Sequence[Contestant]
    connections: int = 8
    op: str = "get"
    paced: Sequence[Contestant] = ()
    pace_by: Contestant | None = None
    alike: Mapping[str, str] = field(default_factory=dict)
    missing: str | None = None
    seconds: int | None = None
    unit: str = "requests/s"


@dataclass
class Lane:
    """One contestant under one regime (its maximum, or the common rate), a place for each round: a figure, or why there is none."""

    contestant: str
    loop: str
    regime: str
    version: str
    absent: str | None
    rounds: list[Measured | str] = field(default_factory=list)
    foreign: list[float] = field(default_factory=list)
    """For each round, what others took of the two cores meanwhile (1 is one core): above a few percent the figure is in doubt."""

    @property
    def label(self) -> str:
        return f"{self.contestant} ({self.loop})"


@dataclass
class Result:
    race: Race
    lanes: list[Lane]
    pace_per_s: float | None = None
    failed: str | None = None


def label(contestant: Contestant) -> str:
    return f"{contestant.name} ({contestant.loop})"


def run(race: Race, plan: Plan) -> Result:
    """Runs all rounds. What fails is a reason in the result and stops nothing."""
    if race.missing is not None:
        return Result(race, [], failed=race.missing)
    try:
        with race.server() as port:
            return _rounds(race, plan, Load("127.0.0.1", port, race.connections, race.seconds or plan.seconds, plan.seed, op=race.op))
    except Failed as failed:
        return Result(race, [], failed=str(failed))


def _rounds(race: Race, plan: Plan, load: Load) -> Result:
    pace: float | None = None
    if race.paced and race.pace_by is not None and race.pace_by.missing() is None:
        most, _ = _undisturbed(race.pace_by, load, plan)
        if isinstance(most, Measured):
            pace = float(f"{most.rate_per_s / 2:.2g}")
            plan.say(f"{race.subject}, {race.setting}: the common rate is {pace:,.0f}/s")
    wanted = [(each, MAXIMUM) for each in race.contestants]
    wanted += [(each, "paced") for each in race.paced if pace is not None]
    lanes: list[tuple[Contestant, Lane]] = []
    for each, regime in wanted:
        absent = each.missing()
        lanes.append((each, Lane(each.name, each.loop, regime, "" if absent else each.version(), absent)))
    for turn in range(plan.rounds):
        order = [pair for pair in lanes if pair[1].absent is None]
        random.Random(plan.seed * 1000 + turn).shuffle(order)
        for contestant, lane in order:
            asked = dataclasses.replace(load, seed=plan.seed + turn, rate_per_s=None if lane.regime == MAXIMUM else pace)
            figure, foreign = _undisturbed(contestant, asked, plan)
            lane.rounds.append(figure)
            lane.foreign.append(foreign)
            _tell(race, lane, turn, plan)
    return Result(race, [lane for _, lane in lanes], pace)


def _undisturbed(contestant: Contestant, load: Load, plan: Plan) -> tuple[Measured | str, float]:
    """A figure and what others took of the cores meanwhile; of a few tries if that was much, the least disturbed."""
    if time.monotonic() > plan.until:
        return "the time given was used up", 0.0
    tries: list[tuple[Measured | str, float]] = []
    while not tries or (min(foreign for _, foreign in tries) > DISTURBED and len(tries) <= plan.repeats and time.monotonic() < plan.until):
        began, taken, own = time.monotonic(), taken_s(CORES), ours_s()
        figure = _one(contestant, load)
        others_s = taken_s(CORES) - taken - (ours_s() - own)
        tries.append((figure, max(0.0, others_s / (time.monotonic() - began))))
    return min(tries, key=lambda each: each[1])


def _one(contestant: Contestant, load: Load) -> Measured | str:
    try:
        return contestant.run(load)
    except Failed as failed:
        return str(failed)


def _tell(race: Race, lane: Lane, turn: int, plan: Plan) -> None:
    last = lane.rounds[-1]
    told = last if isinstance(last, str) else f"{last.rate_per_s:,.0f} {race.unit}"
    plan.say(f"round {turn + 1}  {race.subject}, {race.setting}  {lane.label}, {lane.regime}: {told} (others {lane.foreign[-1]:.0%})")
