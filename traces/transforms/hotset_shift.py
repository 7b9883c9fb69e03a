"""hotset_shift s: in every period (option, default 10s) this share of the hot objects changes places with cold ones, drawn: what was
asked for often is asked for rarely from then on, and the other way round. Hot are the fewest that take a share of the requests (option
`hot`, default 0.5). Within a period popularity is what it was; over the whole trace it gets flatter. Times, ops and sizes stay with
their rows. Two passes; memory is that of the distinct objects.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import mix, permuted, stream
from traces.drift import kept_hot
from traces.errors import InvalidInput
from traces.objects import Objects, objects_of
from traces.schema import ints
from traces.stream import StreamTrace, Trace, remade, timed
from traces.transforms.spec import TransformSpec

Ints = npt.NDArray[np.int64]
_PERIOD, _HOT = "10s", 0.5
_GOLDEN = (5**0.5 - 1) / 2  # its multiples lie evenly in a circle, however many there are


class HotsetShift:
    name = "hotset_shift"
    summary = "in every period this share of the hot objects changes places with cold ones"
    stage = "bend"
    value = "the share, 0 to 1"
    changes = "popularity over time"
    needs = "two passes; memory of the distinct objects"
    options: Mapping[str, str] = MappingProxyType(
        {"period": f"a time (default {_PERIOD})", "hot": f"the share of the requests that hot objects take (default {_HOT})"}
    )

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        share = spec.number(0, 1, "the share of the hot objects that changes in a period, from 0 to 1")
        hot_mass = spec.option("hot", _HOT, 0.001, 0.999, "a share of the requests from 0.001 to 0.999")
        objects = objects_of(trace, f"transform {self.name}")
        timed(objects.size, trace, f"transform {self.name}")
        hot = _hot(objects, hot_mass)
        if share * hot + 2 > len(objects) - hot:
            raise InvalidInput(
                f"transform {self.name}: {trace.meta.name} has {hot} hot objects of {len(objects)}; expected as many cold ones as change; "
                "give a smaller share, or a smaller hot"
            )
        shifting = _Shifting(
            trace,
            objects,
            hot,
            share,
            spec.duration_ns("period", _PERIOD),
            objects.size.first_ns,
            stream(seed, trace.meta.name, self.name),
        )
        return remade(trace, shifting, trace.meta.recording(objects=len(objects), hot_objects=hot))

    def dose(self, made: Trace, nominal: Trace, spec: TransformSpec) -> float | None:
        """How many of the hot objects of a period are no longer among those of the next, beyond those that chance moves: a share of them.
        None without two whole periods.
        """
        period, objects = spec.duration_ns("period", _PERIOD), objects_of(nominal, f"transform {self.name}")
        hot = _hot(objects, float(spec.options.get("hot", _HOT)))
        kept = [kept_hot(each, period, hot) for each in (made, nominal)]
        if kept[0] is None or kept[1] is None or hot >= len(objects):
            return None
        cold = (1 - kept[1]) * hot / (len(objects) - hot)
        return (kept[1] - kept[0]) / (kept[1] - cold) if kept[1] > cold else None


def _hot(objects: Objects, mass: float) -> int:
    """How many objects are hot: the fewest that take more than this share of the requests."""
    return int(np.searchsorted(np.cumsum(objects.counts), mass * objects.rows)) + 1


@dataclasses.dataclass(frozen=True)
class _Shifting:
    trace: Trace
    objects: Objects
    hot: int
    share: float
    period_ns: int
    first_ns: int
    key: int

    def __call__(self) -> Iterator[pa.RecordBatch]:
        stands_for = np.arange(len(self.objects), dtype=np.int64)
        colder = len(self.objects) - self.hot
        # Cold places in an order that is drawn once.
        ring = self.hot + _permuted(np.arange(colder, dtype=np.int64), colder, self.key)
        period = 0
        for batch in self.trace.batches():
            ranks = self.objects.ranks(batch)
            periods = (ints(batch, "arrival_ns") - self.first_ns) // self.period_ns
            begins = np.flatnonzero(np.diff(periods, prepend=-1))
            for start, end in zip(begins, np.append(begins[1:], len(periods)), strict=True):
                if periods[start] > period:
                    self._shift(stands_for, ring, period, int(periods[start]))
                    period = int(periods[start])
                rows = ranks[start:end]
                ranks[start:end] = np.where(rows >= 0, stands_for[rows], -1)
            yield self.objects.named(batch, ranks)

    def _shift(self, stands_for: Ints, ring: Ints, before: int, period: int) -> None:
        # Each hot place changes once in 1 / share periods, and in each period every 1 / share-th of them along the ranks: that the share of
        # the requests which move is the same each time, hottest included, is worth more than independent draws. Periods in which nobody
        # asks for anything are one step: a place that changes several times in them has another object in the end, as after one change.
        turn = self.share * period + np.arange(self.hot) * _GOLDEN + (self.key >> 11) * 2.0**-53
        hot = np.flatnonzero(np.floor(turn) > np.floor(turn - self.share * (period - before)))[: len(ring)]
        drawn, key = np.arange(len(hot), dtype=np.int64), mix(self.key ^ mix(period))
        # After a pause there may be as many steps as requests: a stretch of the ring costs nothing, a permutation 40 times as much.
        cold = ring[(key % len(ring) + drawn) % len(ring)] if period - before > 1 else self.hot + _permuted(drawn, len(ring), key)
        stands_for[hot], stands_for[cold] = stands_for[cold], stands_for[hot]


def _permuted(places: Ints, many: int, key: int) -> Ints:
    found: Ints = permuted(places.astype(np.uint64), many, key).astype(np.int64)
    return found


TRANSFORM = HotsetShift()
