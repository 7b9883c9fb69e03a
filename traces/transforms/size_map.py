"""size_map law: sizes follow another law: one of a synthesis, such as lognormal:300:1.2, or that of another trace, by its path. By
rank, larger stays larger (by=size, the default: the size at which so many of the trace's are smaller becomes the one at which so many
of the law's are), or each key is given one size of the law for all its requests (by=key). Times, keys and ops stay.

Request and response bytes are one law here, as the size moves with the op. Sizes are told apart to a thousandth. Two passes, and one of
the other trace, in constant memory.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import stream, uniform_all
from traces.errors import InvalidInput
from traces.key_copies import owners
from traces.schema import ints, masked, present, with_columns
from traces.source import open_trace
from traces.storage import is_remote
from traces.stream import StreamTrace, Trace, narrowed, remade
from traces.transforms.size_scale import BYTES
from traces.transforms.spec import TransformSpec

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_FINE = 10  # bits kept of a size: bins of a thousandth
_BINS = 64 << _FINE
_DRAWN = 200_000


class SizeMap:
    name = "size_map"
    summary = "sizes follow another law, or that of another trace"
    stage = "bend"
    value = "a law such as lognormal:300:1.2, or a trace"
    changes = "sizes"
    needs = "two passes, and one of the other trace"
    options: Mapping[str, str] = MappingProxyType(
        {
            "by": "size: larger stays larger (default); key: one for each key",
            "format": "that of the other trace, where its content does not tell",
        }
    )

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        asks = f"transform {self.name}"
        by = spec.word("by", "size", "key")
        law = _Law.of(self.other(spec, seed), asks)
        own = _Law.of(trace, asks) if by == "size" else None
        key = stream(seed, trace.meta.name, self.name)

        def make() -> Iterator[pa.RecordBatch]:
            for batch in trace.batches():
                # Equal sizes share a stretch of the law; the key says where in it, so that a key whose size was one keeps one.
                place = uniform_all(key, owners(batch) if _names_keys(batch) else ints(batch, "seq"))
                changed = {}
                for name in BYTES:
                    if batch.column(name).null_count < batch.num_rows:
                        u = place if own is None else own.below(ints(batch, name), place)
                        changed[name] = masked(law.at(u), present(batch, name))
                yield with_columns(batch, changed)

        return remade(trace, make)

    def other(self, spec: TransformSpec, seed: int) -> Trace:
        """The trace whose sizes are the law."""
        text = "" if spec.value is None else str(spec.value)
        if not text:
            raise InvalidInput(f"transform {spec.name}: no law; expected one such as lognormal:300:1.2, or a trace")
        if is_remote(text) or Path(text).exists() or "," in text or "format" in spec.options:
            return open_trace(text, format=spec.options.get("format"), seed=seed)
        try:
            return open_trace(f"constant:1000,keys={_DRAWN},size={text},rows={_DRAWN}", seed=seed)
        except InvalidInput as error:
            said = str(error).partition("size: ")[2] or str(error)
            raise InvalidInput(f"transform {spec.name}: {said}; or a trace that is there") from error


def _names_keys(batch: pa.RecordBatch) -> bool:
    return any(batch.column(name).null_count < batch.num_rows for name in ("key_id", "target"))


@dataclass(frozen=True)
class _Law:
    """How many sizes lie in each bin, added up, and the mean of each bin's sizes."""

    ladder: Floats
    means: Floats

    @classmethod
    def of(cls, trace: Trace, asks: str) -> "_Law":
        """Reads the trace once. Raises InvalidInput for one without an end or without sizes."""
        if not trace.bounded:
            raise InvalidInput(f"{asks}: {trace.meta.name} is a synthesis without an end; expected a length; add ,for=10s or ,rows=N")
        counts, sums = np.zeros(_BINS, dtype=np.int64), np.zeros(_BINS)
        for batch in narrowed(trace, BYTES):
            for name in BYTES:
                if batch.column(name).null_count < batch.num_rows:
                    sizes = ints(batch, name)[present(batch, name)]
                    bins = _bins(sizes)
                    counts += np.bincount(bins, minlength=_BINS)
                    sums += np.bincount(bins, weights=sizes, minlength=_BINS)
        if not counts.any():
            raise InvalidInput(f"{asks}: no request of {trace.meta.name} has a known size; expected sizes; take another trace")
        return cls(np.cumsum(counts) / counts.sum(), sums / np.maximum(counts, 1))

    def below(self, sizes: Ints, place: Floats) -> Floats:
        """The share of sizes below each, at a `place` from 0 to 1 within its bin."""
        bins = _bins(sizes)
        low = np.where(bins > 0, self.ladder[bins - 1], 0)
        shares: Floats = low + (self.ladder[bins] - low) * place
        return shares

    def at(self, u: Floats) -> Ints:
        """The size that a share of all is below."""
        bins = np.minimum(np.searchsorted(self.ladder, u, side="right"), _BINS - 1)
        sizes: Ints = np.rint(self.means[bins]).astype(np.int64)
        return sizes


def _bins(sizes: Ints) -> Ints:
    """Exact below 2^10; above, the leading bits."""
    shift = np.maximum(0, np.frexp(np.maximum(sizes, 1).astype(np.float64))[1] - 1 - _FINE)
    bins: Ints = (shift << _FINE) + (sizes >> shift)
    return bins


TRANSFORM = SizeMap()
