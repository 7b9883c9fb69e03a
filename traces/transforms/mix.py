"""mix trace: another trace (a path, an object's address or a synthesis) makes a share of the requests (option `share`, default 0.5):
this one is thinned to the rest, the other is brought to its share of the mean rate and repeated or cut to the span, and both keep the
shape of their own arrivals. The mean rate stays. The other's keys are its own (keys=apart), or meet those that are equal (keys=shared).

Two passes, and two of the other trace. Sessions are kept apart; causal parents are dropped.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from traces.draws import stream, uniform_all
from traces.errors import InvalidInput
from traces.key_copies import KeyCopies, key_copies
from traces.merging import merged
from traces.schema import ints, with_columns
from traces.sessions import own_sessions
from traces.source import open_trace
from traces.stream import Extent, StreamTrace, Trace, extent
from traces.transforms.loop import Loop
from traces.transforms.spec import TransformSpec
from traces.transforms.speedup import Speedup


class Mix:
    name = "mix"
    summary = "another trace makes a share of the requests"
    stage = "bend"
    value = "the other trace"
    changes = "what is mixed in"
    needs = "two passes, and two of the other trace"
    options: Mapping[str, str] = MappingProxyType(
        {
            "share": "the other's share of the requests, above 0 to 1 (default 0.5)",
            "keys": "apart: the other's keys are its own (default); shared: equal ones are the same",
            "format": "that of the other trace, where its content does not tell",
        }
    )

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        share = spec.option("share", 0.5, 1e-6, 1, "a share of the requests above 0, to 1")
        apart = spec.word("keys", "apart", "shared") == "apart"
        other = self.other(spec, seed)
        if other.meta.kinds != trace.meta.kinds:
            raise InvalidInput(
                f"transform {self.name}: {other.meta.name} is of kind {', '.join(other.meta.kinds) or 'unknown'}; expected that of "
                f"{trace.meta.name}, {', '.join(trace.meta.kinds) or 'unknown'}"
            )
        size = extent(trace)
        space = key_copies(trace, 2, f"transform {self.name}") if apart and _names_keys(trace) else None
        brought = _brought(other, size, share)
        key = stream(seed, trace.meta.name, self.name)

        def make() -> Iterator[pa.RecordBatch]:
            return merged([own_sessions(_thinned(trace, 1 - share, key), 0), own_sessions(_moved(brought, size.first_ns, space), 1)])

        known = {"other": other.meta.name, "other_source_sha256": other.meta.source_sha256, "other_license": other.meta.license}
        meta = trace.meta.recording(**{name: text for name, text in known.items() if text})
        meta = dataclasses.replace(meta, rows=None, span_ns=None, causality="open", loss_notes="")
        for note in filter(None, (trace.meta.loss_notes, other.meta.loss_notes)):
            meta = meta.noting(note)
        return StreamTrace(meta, make, trace.identity, size.rows, rate_hint_per_s=trace.rate_hint_per_s)

    def other(self, spec: TransformSpec, seed: int) -> Trace:
        if spec.value is None:
            raise InvalidInput(f"transform {self.name}: no trace; expected a path or a synthesis such as poisson:1000,for=10s")
        return open_trace(str(spec.value), format=spec.options.get("format"), seed=seed)


def _names_keys(trace: Trace) -> bool:
    first = next((batch for batch in trace.batches() if batch.num_rows), None)
    return first is not None and any(first.column(name).null_count < first.num_rows for name in ("key_id", "target"))


def _brought(other: Trace, size: Extent, share: float) -> Trace:
    """`other` at a share of the rate of a trace of this size, over its span."""
    wanted_per_ns = share * (size.rows - 1) / max(1, size.span_ns)
    its = extent(other)
    has_per_ns = 1 / its.mean_gap_ns if other.bounded else (other.rate_hint_per_s or 1) / 1e9
    fast = Speedup().bend(other, TransformSpec("speedup", wanted_per_ns / has_per_ns), 0)
    return Loop().bend(fast, TransformSpec("loop", f"{size.span_ns + 1}ns"), 0)


def _thinned(trace: Trace, share: float, key: int) -> Iterator[pa.RecordBatch]:
    for batch in trace.batches():
        yield batch.filter(pa.array(uniform_all(key, ints(batch, "seq")) < share))


def _moved(other: Trace, first_ns: int, space: KeyCopies | None) -> Iterator[pa.RecordBatch]:
    for batch in other.batches():
        named = space.named(batch, np.ones(batch.num_rows, dtype=np.int64)) if space else batch
        yield with_columns(named, {"arrival_ns": ints(batch, "arrival_ns") + first_ns})


TRANSFORM = Mix()
