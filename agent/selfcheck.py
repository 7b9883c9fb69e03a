"""The load generator's verdict on itself: may its figures be believed? Pure; the inputs are one replay's measured seconds.

What counts against it is its own lateness, never the system's slowness: a system that cannot keep up is a result (`saturated`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Gates:
    """Campaign's gates, as shares and nanoseconds."""

    achieved: float = 0.99
    slip_p99_ns: int = 1_000_000
    steal: float = 0.01


@dataclass(frozen=True)
class EngineFigures:
    """What the engine says of its measured seconds, per thread and second."""

    run_delay_ns: Sequence[int]
    steal_ns: Sequence[int]
    inflight: Sequence[int]
    pinned: bool
    gap_ks: Sequence[float] = ()


@dataclass(frozen=True)
class Judged:
    verdict: str
    reasons: tuple[str, ...]
    saturated: bool


_SUSPECT_SLIP_SHARE = 0.3
_MOST_RUN_DELAY = 0.02
_HOPELESS_RUN_DELAY = 0.1
_MOST_GAP_KS = 0.1
_STEADY_S = 4
_PILED_UP = 0.05

GAP_FLOOR_NS = 20_000
"""Gaps below this are taken as one: requests that are due within the time of one pass over the connections leave together."""


def judge(
    *,
    scheduled: int,
    sent_late_by_us: int,
    slip_p99_ns: int | None,
    slip_p99_by_second_ns: Sequence[int],
    engine: EngineFigures,
    feed_starved: int,
    gates: Gates,
    timed_out: int = 0,
) -> Judged:
    """`sent_late_by_us`: requests that never left, or were dropped, for a reason of ours (late policy, feed, stop)."""
    if scheduled == 0:
        return Judged("invalid", ("no request was due in the measured seconds",), False)
    invalid: list[str] = []
    suspect: list[str] = []
    achieved = 1 - sent_late_by_us / scheduled
    if achieved < gates.achieved:
        invalid.append(f"the generator let go of {achieved:.2%} of what was due (gate {gates.achieved:.0%})")
    if slip_p99_ns is not None:
        shown = f"slip p99 {slip_p99_ns / 1000:.0f} us"
        bad = sum(s > gates.slip_p99_ns for s in slip_p99_by_second_ns)
        where = f" ({bad} of {len(slip_p99_by_second_ns)} seconds)" if slip_p99_by_second_ns else ""
        if slip_p99_ns > gates.slip_p99_ns:
            invalid.append(f"{shown} over {gates.slip_p99_ns / 1000:.0f} us{where}: the generator was late")
        elif slip_p99_ns > _SUSPECT_SLIP_SHARE * gates.slip_p99_ns:
            suspect.append(f"{shown} is over {_SUSPECT_SLIP_SHARE:.0%} of its gate{where}")
    worst_ks = max(engine.gap_ks, default=0.0)
    if worst_ks > _MOST_GAP_KS:
        suspect.append(f"the gaps between requests were not those of the schedule (KS distance {worst_ks:.2f} in the worst second)")
    if feed_starved:
        suspect.append(f"the trace was read too slowly {feed_starved} times")
    seconds = max(1, len(engine.run_delay_ns))
    delay = sum(engine.run_delay_ns) / seconds / 1e9
    if delay > _MOST_RUN_DELAY:
        shared = f"the engine waited for its core {delay:.1%} of the time: somebody shares it"
        (invalid if delay > _HOPELESS_RUN_DELAY else suspect).append(shared)
    steal = sum(engine.steal_ns) / seconds / 1e9
    if steal > gates.steal:
        suspect.append(f"the hypervisor took {steal:.1%} of the engine's core (gate {gates.steal:.0%})")
    verdict = "invalid" if invalid else "suspect" if suspect else "valid"
    saturated = timed_out > _PILED_UP * scheduled or _saturated(engine.inflight)
    return Judged(verdict, (*invalid, *suspect), saturated)


def judge_second(slip_p99_ns: int | None, run_delay_ns: int, steal_ns: int, gates: Gates) -> Judged:
    """The verdict on one second as it closes: what a person who watches needs to see before the end."""
    invalid: list[str] = []
    suspect: list[str] = []
    if slip_p99_ns is not None and slip_p99_ns > gates.slip_p99_ns:
        invalid.append(f"slip p99 {slip_p99_ns / 1000:.0f} us")
    delay, steal = run_delay_ns / 1e9, steal_ns / 1e9
    if delay > _MOST_RUN_DELAY:
        (invalid if delay > _HOPELESS_RUN_DELAY else suspect).append(f"waited {delay:.0%} for its core")
    if steal > gates.steal:
        suspect.append(f"steal {steal:.0%}")
    return Judged("invalid" if invalid else "suspect" if suspect else "valid", (*invalid, *suspect), False)


def _saturated(inflight: Sequence[int]) -> bool:
    """Requests under way that grow second after second mean that the system, not the generator, cannot keep up."""
    if len(inflight) < _STEADY_S:
        return False
    half = len(inflight) // 2
    early, late = inflight[:half], inflight[-half:]
    grew = sum(b > a for a, b in pairwise(inflight)) / (len(inflight) - 1)
    return grew >= 0.75 and sum(late) > 2 * max(1, sum(early))
