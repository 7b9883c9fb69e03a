"""A whole trace fitted: arrivals and what the requests are, as one spec."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from traces.errors import InvalidInput
from traces.fit.arrivals import arrivals
from traces.fit.candidate import Candidate
from traces.fit.requests import parameters
from traces.fit.sample import Sample, sample_of, shown, significant
from traces.fit.talks import talks
from traces.stream import Trace

KINDS = ("kv", "http", "block", "llm")


@dataclass(frozen=True)
class Fitted:
    """`spec` for `open_trace`; the laws that were considered for each dimension, the best first; `notes`: what has to be said."""

    spec: str
    rows: int
    considered: Mapping[str, tuple[Candidate, ...]]
    notes: tuple[str, ...]


def fit(trace: Trace, *, most_rows: int | None = None) -> Fitted:
    """Learns from the first million rows. Raises InvalidInput for a kind that cannot be made, and for too few rows."""
    kinds = trace.meta.kinds
    if len(kinds) != 1 or kinds[0] not in KINDS:
        raise InvalidInput(f"{trace.meta.name}: of kind {', '.join(kinds) or 'unknown'}, which cannot be made; expected {', '.join(KINDS)}")
    sample = sample_of(trace) if most_rows is None else sample_of(trace, most_rows)
    notes = [] if sample.whole else [f"learnt from the first {sample.rows:,} rows"]
    found = _of_talks(sample) if kinds[0] == "llm" else _of_keys(sample)
    return replace(found, spec=f"{found.spec},rows={sample.rows}", notes=(*notes, *found.notes))


def _of_keys(sample: Sample) -> Fitted:
    laws, notes = arrivals(sample)
    found, popular, more = parameters(sample)
    considered = {"arrivals": tuple(laws), **({"popularity": tuple(popular)} if popular else {})}
    return Fitted(f"{laws[0].spec},{shown(found)}", sample.rows, considered, (*notes, *more))


def _of_talks(sample: Sample) -> Fitted:
    if "prompt_tokens" not in sample.columns:
        raise InvalidInput(f"{sample.meta.name}: no prompt tokens; expected a trace of requests to a language model that tells them")
    found = talks(sample)
    starts = replace(sample, arrival_ns=sample.arrival_ns[found.first])
    if len(found.first) < 2:
        raise InvalidInput(f"{sample.meta.name}: {len(found.first)} sessions begin in it; expected at least two")
    laws, notes = arrivals(starts)
    head, *rest = laws[0].spec.split(",")
    law, rate = head.split(":")
    parts = {"arrivals": law, **dict(part.split("=") for part in rest), **found.parameters}
    rate = significant(float(np.float64(rate)) * found.turns)
    return Fitted(f"llm:{rate},{shown(parts)}", sample.rows, {"arrivals": tuple(laws)}, (*notes, *found.notes))
