"""correlated_burst s: a crowd comes for a few objects at the same time: once in every `every` (default 10s), for `for` (default 1s),
this share of the requests is for `keys` objects (default 10), another lot each time, drawn from those of the trace. With `rate`
(default 1) there are also that many times as many requests in a moment as outside; the count over all, the order, the ops and the sizes
stay. Two passes; memory is that of the distinct objects.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import U64, draw_all, mix, permuted, scale_all, stream, uniform_all
from traces.drift import share_of_a_crowd
from traces.errors import InvalidInput
from traces.key_copies import owners
from traces.objects import Objects, objects_of
from traces.schema import ints
from traces.stream import Extent, StreamTrace, Trace, extent, remade, timed
from traces.transforms.spec import TransformSpec
from traces.warp import Shape, Warped

_EVERY, _FOR, _KEYS = "10s", "1s", 10
_FEWEST = 20
"""Requests of a moment for each object of a crowd, on average, below which a reading says nothing of it."""


class CorrelatedBurst:
    name = "correlated_burst"
    summary = "crowds: for a moment in every so often, this share of the requests is for the same few objects"
    stage = "bend"
    value = "the share, 0 to 1"
    changes = "popularity over time (and the rate over time, with rate)"
    needs = "two passes; memory of the distinct objects"
    options: Mapping[str, str] = MappingProxyType(
        {
            "every": f"a time (default {_EVERY})",
            "for": f"a time, shorter (default {_FOR})",
            "keys": f"how many objects (default {_KEYS})",
            "rate": "how many times as many requests then as outside, 1 to 1000 (default 1)",
        }
    )

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        share = spec.number(0, 1, "the share of the requests that the crowd makes, from 0 to 1")
        moments = _Moments.asked(spec)
        rate = spec.option("rate", 1, 1, 1000, "how many times as many requests as outside, from 1 to 1000")
        objects = objects_of(trace, f"transform {self.name}")
        timed(objects.size, trace, f"transform {self.name}")
        size = objects.size
        crowded = int(spec.option("keys", _KEYS, 1, len(objects), f"how many of the {len(objects)} objects that there are"))
        source: Trace = trace if rate == 1 else remade(trace, Warped(trace, size, moments.every_ns, moments.shape(rate)))
        key = stream(seed, trace.meta.name, self.name[:16])
        return remade(trace, _Crowds(source, objects, moments, share, crowded, size, key))

    def dose(self, made: Trace, nominal: Trace, spec: TransformSpec) -> float | None:
        """The share of the requests in the moments that are for what is asked for more there than outside, beyond what the trace by
        itself has there.
        """
        moments, crowded = _Moments.asked(spec), int(float(spec.options.get("keys", _KEYS)))
        shares = [moments.share_of_crowds(each, crowded) for each in (made, nominal)]
        return None if shares[0] is None or shares[1] is None or shares[1] >= 1 else 1 - (1 - shares[0]) / (1 - shares[1])


@dataclasses.dataclass(frozen=True)
class _Moments:
    """In the middle of each stretch of `every_ns`, for `for_ns`."""

    every_ns: int
    for_ns: int

    @classmethod
    def asked(cls, spec: TransformSpec) -> "_Moments":
        every, lasts = spec.duration_ns("every", _EVERY), spec.duration_ns("for", _FOR)
        if lasts >= every:
            raise InvalidInput(f"transform {spec.name}: for {lasts} ns; expected less than every, {every} ns")
        return cls(every, lasts)

    @property
    def begins_ns(self) -> int:
        return (self.every_ns - self.for_ns) // 2

    def within(self, since_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        place = since_ns % self.every_ns
        inside: npt.NDArray[np.bool_] = (place >= self.begins_ns) & (place < self.begins_ns + self.for_ns)
        return inside

    def shape(self, rate: float) -> Shape:
        time = np.array([0, self.begins_ns, self.begins_ns + self.for_ns, self.every_ns]) / self.every_ns
        requests = np.cumsum(np.append(0, np.diff(time) * np.array([1, rate, 1])))
        return Shape(time, requests / requests[-1])

    def share_of_crowds(self, trace: Trace, crowded: int) -> float | None:
        """The mean over all requests in moments; None without a moment that has enough of them."""
        found = [
            (share_of_a_crowd(inside, outside, crowded), len(inside))
            for inside, outside in self._stretches(trace, extent(trace).first_ns)
            if len(inside) >= _FEWEST * crowded and len(outside)
        ]
        return sum(share * count for share, count in found) / sum(count for _, count in found) if found else None

    def _stretches(self, trace: Trace, first_ns: int) -> Iterator[tuple[U64, U64]]:
        """The objects asked for in each stretch, inside its moment and outside it."""
        number = 0
        held: tuple[list[U64], list[U64]] = ([], [])
        for batch in trace.batches():
            since = ints(batch, "arrival_ns") - first_ns
            named, inside, stretch = owners(batch), self.within(since), since // self.every_ns
            for rows in np.split(np.arange(len(since)), np.flatnonzero(np.diff(stretch)) + 1):
                if not len(rows):
                    continue
                if int(stretch[rows[0]]) != number and held[0] and held[1]:
                    yield np.concatenate(held[0]), np.concatenate(held[1])
                if int(stretch[rows[0]]) != number:
                    number, held = int(stretch[rows[0]]), ([], [])
                held[0].append(named[rows][inside[rows]])
                held[1].append(named[rows][~inside[rows]])
        if held[0] and held[1]:
            yield np.concatenate(held[0]), np.concatenate(held[1])


@dataclasses.dataclass(frozen=True)
class _Crowds:
    trace: Trace
    objects: Objects
    moments: _Moments
    share: float
    crowded: int
    size: Extent
    key: int

    def __call__(self) -> Iterator[pa.RecordBatch]:
        for batch in self.trace.batches():
            since = ints(batch, "arrival_ns") - self.size.first_ns
            seq = ints(batch, "seq")
            at = np.flatnonzero(self.moments.within(since) & (uniform_all(self.key, seq) < self.share))
            if not len(at):
                yield batch
                continue
            stretch = (since[at] // self.moments.every_ns).astype(np.uint64)
            ranks = np.full(batch.num_rows, -1, dtype=np.int64)
            pick = scale_all(draw_all(mix(self.key), stretch, seq[at]), self.crowded)
            for number in np.unique(stretch):
                mine = stretch == number
                ranks[at[mine]] = permuted(pick[mine], len(self.objects), mix(self.key ^ mix(int(number)))).astype(np.int64)
            yield self.objects.named(batch, ranks)


TRANSFORM = CorrelatedBurst()
