"""Made traces: `poisson:50000,keys=100000,zipf=0.99,size=lognormal:300:1.2,get=0.9,for=10s`.

Every value depends only on the seed and on the row's (or the key's) number, so a made trace can be read
again, cut or sharded and stays the same. Sizes belong to keys: a key has one size for all its requests.
Models no phases and no correlation between requests.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import U64, stream, uniform_all
from traces.errors import InvalidInput
from traces.quantities import parse_duration, parse_rate, parse_size
from traces.schema import BATCH_ROWS, LABEL, NAME, TraceMeta, batch_of, masked
from traces.stream import StreamTrace

LAWS = ("poisson", "constant")
MAX_KEYS = 50_000_000
MAX_SIZE_BYTES = 512 * 2**20
"""The largest value that Redis takes; heavy tails are cut there."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SizeLaw:
    """A law of sizes in bytes: constant(a), uniform(a, b), lognormal(mean a, sigma b of the log),
    pareto(least a, shape b).
    """

    law: Literal["constant", "uniform", "lognormal", "pareto"]
    a: float
    b: float = 0.0

    def sizes(self, key: int, ids: U64) -> npt.NDArray[np.int64]:
        """One size for each id."""
        u = uniform_all(key, ids)
        if self.law == "constant":
            drawn: Floats = np.full(len(ids), self.a)
        elif self.law == "uniform":
            drawn = self.a + np.floor(u * (self.b - self.a + 1))
        elif self.law == "pareto":
            drawn = self.a * (1 - u) ** (-1 / self.b)
        else:  # Box and Muller; a mean a of the lognormal is ln(a) - sigma^2/2 of the normal
            normal = np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * uniform_all(key ^ 1, ids))
            drawn = np.exp(math.log(self.a) - self.b**2 / 2 + self.b * normal)
        return np.clip(np.rint(drawn), 0, MAX_SIZE_BYTES).astype(np.int64)


@dataclass(frozen=True)
class Recipe:
    """A parsed synthesis."""

    law: str
    rate_per_s: float
    keys: int = 100_000
    zipf: float = 0.0
    size: SizeLaw = SizeLaw("constant", 64)
    get: float = 0.9
    key_bytes: int = 16
    kind: str = "kv"
    seed: int = 0
    rows: int | None = None
    for_ns: int | None = None


def is_synthesis(spec: str) -> bool:
    return spec.split(":", 1)[0] in LAWS and ":" in spec


def parse_recipe(spec: str, seed: int) -> Recipe:
    """Raises InvalidInput naming the part that is wrong."""
    head, *rest = spec.split(",")
    law, _, rate = head.partition(":")
    if not rate:
        raise InvalidInput(f"{spec}: a rate is missing; expected requests per second such as {law}:50000")
    values = {
        "law": law,
        "rate_per_s": parse_rate(rate if "/" in rate else f"{rate}/s", f"{spec}: rate"),
        "seed": seed,
    }
    readers: dict[str, Callable[[str, str], object]] = {
        "keys": lambda text, at: _whole(text, at, 1, MAX_KEYS),
        "zipf": lambda text, at: _number(text, at, 0, 10),
        "size": _size_law,
        "get": lambda text, at: _number(text, at, 0, 1),
        "key_bytes": lambda text, at: _whole(text, at, 1, 65_535),
        "kind": lambda text, at: _one_of(text, at, ("kv", "http")),
        "seed": lambda text, at: _whole(text, at, 0, 2**63 - 1),
        "rows": lambda text, at: _whole(text, at, 1, 2**62),
        "for": parse_duration,
    }
    for part in rest:
        name, equals, text = part.partition("=")
        if name not in readers or not equals:
            raise InvalidInput(f"{spec}: {part!r} is not known; expected name=value with one of {', '.join(readers)}")
        values["for_ns" if name == "for" else name] = readers[name](text, f"{spec}: {name}")
    return Recipe(**values)  # type: ignore[arg-type]


def _number(text: str, where: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise InvalidInput(f"{where}: {text!r}; expected a number from {low:g} to {high:g}")
    return value


def _whole(text: str, where: str, low: int, high: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise InvalidInput(f"{where}: {text!r}; expected a whole number from {low} to {high}")
    return value


def _one_of(text: str, where: str, words: tuple[str, ...]) -> str:
    if text not in words:
        raise InvalidInput(f"{where}: {text!r}; expected {' or '.join(words)}")
    return text


def _size_law(text: str, where: str) -> SizeLaw:
    law, *parts = text.split(":")
    if law == "lognormal" and len(parts) == 2:
        return SizeLaw("lognormal", max(1, parse_size(parts[0], where)), _number(parts[1], where, 0, 10))
    if law == "pareto" and len(parts) == 2:
        return SizeLaw("pareto", max(1, parse_size(parts[0], where)), _number(parts[1], where, 0.05, 1000))
    if law == "uniform" and len(parts) == 2:
        low, high = (parse_size(part, where) for part in parts)
        if low <= high <= MAX_SIZE_BYTES:
            return SizeLaw("uniform", low, high)
    elif not parts and text[:1].isdigit():
        size = parse_size(text, where)
        if size <= MAX_SIZE_BYTES:
            return SizeLaw("constant", size)
    raise InvalidInput(f"{where}: {text!r}; expected 64, uniform:LOW:HIGH, lognormal:MEAN:SIGMA or pareto:LEAST:SHAPE, of at most 512MiB")


@lru_cache(maxsize=4)
def _zipf_ladder(keys: int, exponent: float) -> Floats:
    """Cumulative popularity of ranks; 8 bytes a key."""
    ladder: Floats = np.cumsum(np.arange(1, keys + 1, dtype=np.float64) ** -exponent)
    ladder /= ladder[-1]
    return ladder


def synthesise(recipe: Recipe, name: str) -> StreamTrace:
    """The trace of a recipe; without `rows` and `for` it has no end."""
    meta = TraceMeta(
        name=name,
        kinds=(recipe.kind,),
        importer="synthesis",
        arrival_model="generated",
        expand_seed=recipe.seed,
        key_space=recipe.keys,
        rows=recipe.rows if recipe.for_ns is None else None,
    )
    hint = recipe.rows
    if hint is None and recipe.for_ns is not None:
        hint = round(recipe.rate_per_s * recipe.for_ns / 1e9)
    return StreamTrace(
        meta=meta,
        make=lambda: _rows(recipe),
        origin=lambda: repr(recipe),
        rows_hint=hint,
        bounded=recipe.rows is not None or recipe.for_ns is not None,
        rate_hint_per_s=recipe.rate_per_s,
    )


def _rows(recipe: Recipe) -> Iterator[pa.RecordBatch]:
    gaps, keys, ops, sizes = (stream(recipe.seed, "synthesis", what) for what in ("gap", "key", "op", "size"))
    reads, writes = ("GET", "PUT") if recipe.kind == "http" else ("get", "set")
    names = pa.array([reads, writes])
    mean_gap_ns, clock_ns, done = 1e9 / recipe.rate_per_s, 0.0, 0
    # Arrivals are cut below 2^62 ns: an endless trace ends after 146 years instead of overflowing.
    until_ns = min(recipe.for_ns if recipe.for_ns is not None else 2**62, 2**62)
    while recipe.rows is None or done < recipe.rows:
        count = BATCH_ROWS if recipe.rows is None else min(BATCH_ROWS, recipe.rows - done)
        seq = np.arange(done, done + count, dtype=np.uint64)
        if recipe.law == "poisson":
            exact = clock_ns + np.cumsum(-np.log(uniform_all(gaps, seq))) * mean_gap_ns
            clock_ns = float(exact[-1])
        else:
            exact = seq.astype(np.float64) * mean_gap_ns
        arrival = np.floor(exact).astype(np.int64)
        keep = int(np.searchsorted(arrival, until_ns, side="left"))
        seq, arrival = seq[:keep], arrival[:keep]
        if keep:
            yield _batch(recipe, seq, arrival, (keys, ops, sizes), names)
        if keep < count:
            return
        done += count


def _batch(recipe: Recipe, seq: U64, arrival: npt.NDArray[np.int64], streams: tuple[int, int, int], names: pa.Array) -> pa.RecordBatch:
    keys, ops, sizes = streams
    u = uniform_all(keys, seq)
    if recipe.zipf:
        rank = np.searchsorted(_zipf_ladder(recipe.keys, recipe.zipf), u)
    else:
        rank = (u * recipe.keys).astype(np.int64)
    key_id = np.minimum(rank, recipe.keys - 1).astype(np.uint64)
    is_get = uniform_all(ops, seq) < recipe.get
    size = recipe.size.sizes(sizes, key_id)
    columns = {
        "arrival_ns": arrival,
        "seq": seq,
        "kind": recipe.kind,
        "op": pa.DictionaryArray.from_arrays(pa.array((~is_get).astype(np.int8)), names).cast(NAME),
        "key_id": key_id,
        "key_bytes": np.full(len(seq), recipe.key_bytes, dtype=np.uint32),
        "req_bytes": masked(size, ~is_get),
        "resp_bytes": masked(size, is_get),
    }
    if recipe.kind == "http":
        columns["target"] = key_targets(key_id, columns["key_bytes"])
    return batch_of(columns, len(seq))


def key_targets(key_id: U64, key_bytes: npt.NDArray[np.uint32]) -> pa.Array:
    """URL paths /<key>, spelt as the engine spells keys: hex of the id, padded with zeros to its length."""
    pairs = np.rec.fromarrays([key_id, key_bytes], names="id,length")  # type: ignore[call-overload]
    unique, index = np.unique(pairs, return_inverse=True)
    texts = pa.array([f"/{int(pair['id']):0{int(pair['length'])}x}" for pair in unique], pa.utf8())
    return pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32)), texts).cast(LABEL)
