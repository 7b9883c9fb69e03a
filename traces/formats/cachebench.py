"""CacheBench's workloads (CacheLib), made requests: a test's config.json with the histograms of popularity and sizes that it names.

Taken from `test_config` (or its one `poolDistributions`): the ratios of operations, numKeys, popularityBuckets and -Weights (or
popDistFile), valSizeRange and -Probability (or valSizeDistFile), keySizeRange and -Probability. As in CacheBench, buckets of keys are
scaled together to numKeys (the option `keys` gives another number, such as the sum of the buckets to have the histogram itself), sizes with
as many probabilities are values and with one fewer are ranges, a key has one size and one length, and lone operations ask for keys that
never come again. There are numOps x numThreads operations (option `rows`), and no times unless opRatePerSec or the options `rate` and `law`
pace them.

Not made: the set that follows a miss (enableLookaside) depends on a cache; chained items and their appends. https://cachelib.org,
"Configuring cachebench parameters"; cachelib/cachebench/workload/{WorkloadDistribution,OnlineGenerator}
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import U64, stream, uniform_all
from traces.errors import InvalidInput
from traces.formats.cachebench_config import OPERATIONS, Histogram, Workload, config_of, workload_of
from traces.formats.made import pace_of, seed_of
from traces.formats.reading import Chunk, check_options, file_trace
from traces.pace import Pace
from traces.schema import BATCH_ROWS, NAME, TraceMeta, masked
from traces.stream import Trace

CONFIG = "config.json"
_LEAST_KEY_BYTES = 8
_OPS = {"get": "get", "set": "set", "del": "delete", "loneGet": "get", "loneSet": "set", "update": "set", "couldExist": "get"}
_WORDS = tuple(dict.fromkeys(_OPS.values()))

Floats = npt.NDArray[np.float64]


class CacheBench:
    name = "cachebench"
    summary = "a CacheBench config.json with its histograms: made key-value requests by seed=N; rows, keys; times only with rate=1000/s"

    def sniff(self, path: Path, head: bytes) -> int:
        if path.is_dir():
            return 2 if (path / CONFIG).is_file() else 0
        return 3 if b'"test_config"' in head and b"Ratio" in head and head.lstrip()[:1] in (b"{", b"/") else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("seed", "rows", "keys", "rate", "law"), self.name)
        file = path / CONFIG if path.is_dir() else path
        if not file.is_file():
            raise InvalidInput(f"{path}: no {CONFIG}; expected CacheBench's configuration; name its file")
        workload = workload_of(file, config_of(file), options)
        seed, pace = seed_of(path, options), pace_of(path, options, workload.rate_per_s)
        notes = ["sets after misses are not made: they depend on a cache"]
        if workload.left_out:
            notes.append(f"operations left out: {', '.join(workload.left_out)}")
        meta = TraceMeta(
            name=path.name if path.is_dir() else "",
            kinds=("kv",),
            importer=self.name,
            arrival_model="generated",
            expand_seed=seed,
            key_space=workload.keys,
            license="Apache-2.0",
            shareable="attribution",
            citation="Berg et al., CacheLib, OSDI 2020",
            cut="as many operations as the configuration says",
            loss_notes="; ".join(notes),
        )
        return file_trace(file, meta, lambda: _rows(workload, seed, pace), options, workload.rows, origin_ns=0, beside=workload.files)


def _rows(workload: Workload, seed: int, pace: Pace) -> Iterator[Chunk]:
    clock_ns = 0.0
    edges = np.cumsum(workload.mix)
    upto, first, many = _scaled(workload)
    for begin in range(0, workload.rows, BATCH_ROWS):
        index: U64 = np.arange(begin, min(begin + BATCH_ROWS, workload.rows), dtype=np.uint64)
        what = np.searchsorted(edges[:-1], uniform_all(stream(seed, "cachebench", "operation"), index), side="right")
        bucket = np.searchsorted(upto, uniform_all(stream(seed, "cachebench", "bucket"), index) * upto[-1], side="left")
        within = np.floor(uniform_all(stream(seed, "cachebench", "key"), index) * many[bucket]).astype(np.int64)
        names = list(OPERATIONS)
        lone = np.isin(what, [names.index("loneGet"), names.index("loneSet")])
        key = np.where(lone, workload.keys + index.astype(np.int64), first[bucket] + np.minimum(within, many[bucket] - 1)).astype(np.uint64)
        code = np.array([_WORDS.index(_OPS[name]) for name in names], dtype=np.int8)[what]
        size = values_of(workload.sizes, uniform_all(stream(seed, "cachebench", "size"), key))
        length = values_of(workload.key_sizes, uniform_all(stream(seed, "cachebench", "key size"), key))
        found = (code == _WORDS.index("get")) & ~lone
        chunk: Chunk = {
            "kind": "kv",
            "op": pa.DictionaryArray.from_arrays(pa.array(code), pa.array(_WORDS)).cast(NAME),
            "key_id": key,
            "key_bytes": np.maximum(length, _LEAST_KEY_BYTES).astype(np.uint32),
            "req_bytes": masked(size, code == _WORDS.index("set")),
            "resp_bytes": masked(size, found),
        }
        if pace.per_s:
            chunk["arrival_ns"], clock_ns = pace.arrivals(stream(seed, "cachebench", "gap"), index, clock_ns)
        yield chunk


def _scaled(workload: Workload) -> tuple[Floats, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(weight up to each bucket, its first key, its number of keys), the buckets scaled to `keys` without a gap."""
    share = np.cumsum(workload.buckets) / workload.buckets.sum()
    edges = np.concatenate(([0], np.rint(share * workload.keys).astype(np.int64)))
    first, many = edges[:-1], np.diff(edges)
    # A bucket that fewer keys leave none for keeps its nearest.
    return np.cumsum(workload.weights), np.minimum(first, workload.keys - 1), np.maximum(many, 1)


def values_of(histogram: Histogram, u: Floats) -> npt.NDArray[np.int64]:
    """Quantiles at `u`: the values themselves, or evenly within a range."""
    upto = np.cumsum(histogram.shares)
    at = u * upto[-1]
    chosen = np.minimum(np.searchsorted(upto, at, side="left"), len(upto) - 1)
    if len(histogram.values) == len(upto):
        exact: npt.NDArray[np.int64] = histogram.values[chosen].astype(np.int64)
        return exact
    inside = (at - (upto[chosen] - histogram.shares[chosen])) / np.where(histogram.shares[chosen] > 0, histogram.shares[chosen], 1)
    low, high = histogram.values[chosen], histogram.values[chosen + 1]
    within: npt.NDArray[np.int64] = np.floor(low + (high - low) * np.clip(inside, 0, 1)).astype(np.int64)
    return within


FORMAT = CacheBench()
