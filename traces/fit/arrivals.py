"""Which law arrivals follow: the likeliest of all that can be made, by Schwarz's criterion."""

import numpy as np

from traces.fit.candidate import Candidate, best
from traces.fit.changing import changing
from traces.fit.gaps import renewals
from traces.fit.modulated import modulated
from traces.fit.sample import Sample, significant, times_s

_EVEN = 0.001
"""Gaps that vary by no more are equidistant."""
UNTIMED_PER_S = 1000


def arrivals(sample: Sample) -> tuple[list[Candidate], list[str]]:
    """The candidates, the best first, and what has to be said of it."""
    if sample.meta.arrival_model == "none":
        return [Candidate("poisson", f"poisson:{UNTIMED_PER_S}", 0.0, 1, 1)], [
            f"the source has no times, a rate of {UNTIMED_PER_S}/s is made up"
        ]
    times, resolution_s, dithered = times_s(sample)
    notes = []
    if dithered:
        notes.append(f"stamps of {sample.meta.arrival_resolution_ns / 1e9:g} s were spread at random within themselves")
    gaps = np.diff(times)
    if gaps.mean() <= 0:
        return [Candidate("poisson", f"poisson:{UNTIMED_PER_S}", 0.0, 1, 1)], [
            f"all rows have one stamp, a rate of {UNTIMED_PER_S}/s is made up"
        ]
    if gaps.std() <= _EVEN * gaps.mean() + 2 * resolution_s:
        return [Candidate("constant", f"constant:{significant(1 / gaps.mean(), 9)}", 0.0, 1, len(gaps))], notes
    found = best([*renewals(times, resolution_s), *modulated(times, resolution_s), *changing(times, resolution_s)])
    return found, notes
