"""Made requests on keys, kind kv or http: arrivals, popularity, sizes, ops and lifetimes put together, row by row.

Sizes belong to keys: a key has one size for all its requests. Models no correlation between requests.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import U64, stream
from traces.errors import InvalidInput
from traces.key_paths import key_targets
from traces.schema import BATCH_ROWS, NAME, OPS, TraceMeta, batch_of, masked
from traces.stream import StreamTrace
from traces.synthesis.arrivals import ArrivalLaw, Arrivals
from traces.synthesis.mixes import LIFETIMES, OPERATIONS, Mix
from traces.synthesis.popularity import Popularity
from traces.synthesis.popularity.hotspot import Hotspot
from traces.synthesis.popularity.ladder import MOST_KEYS, Ladder
from traces.synthesis.popularity.latest import Latest
from traces.synthesis.popularity.rejection import Rejection
from traces.synthesis.popularity.uniform import Uniform
from traces.synthesis.sizes import Sizes, size_form, sizes
from traces.synthesis.sizes.constant import Same
from traces.synthesis.spec import DURATION, Form, Given, Parameter, number, whole, word

READS = ("get", "gets", "GET", "read")
WRITES = ("set", "add", "replace", "cas", "append", "prepend", "PUT", "POST", "PATCH", "write")

_READ_AND_WRITE = {"kv": ("get", "set"), "http": ("GET", "PUT"), "block": ("read", "write")}
_SECTOR_BYTES, _PLACE_BYTES = 512, 4096


def _hot(text: str, where: str) -> tuple[float, float]:
    keys, colon, requests = text.partition(":")
    share = number(0, 1)
    if not colon:
        raise InvalidInput(f"{where}: {text!r}; expected KEYS:REQUESTS, shares from 0 to 1")
    return share.read(keys, where), share.read(requests, where)


KEYS = Parameter("keys", whole(1, 2**40), "how many keys there are", "1000000", "100000")
ZIPF = Parameter("zipf", number(0, 10), "exponent of the popularity of ranks; 0 is uniform", "0.99", "0")
Q = Parameter("q", number(0, 1e9), "Zipf-Mandelbrot: rank k has weight (q + k)^-zipf", "20", "0")
HOTSPOT = Parameter(
    "hotspot", Form("KEYS:REQUESTS, shares from 0 to 1", _hot), "this share of the keys gets this share of the requests", "0.2:0.8"
)
LATEST = Parameter(
    "latest", number(0, 10), "popularity follows insertion: each set makes a key, the newest are asked for most, by zipf", "0.99"
)
SIZE = Parameter("size", size_form(), "bytes of a value, a law of sizes", "lognormal:300:1.2", "64")
GET = Parameter("get", number(0, 1), "share of gets, the rest are sets; another way to say ops", "0.9", "0.9")
OPS_MIX = Parameter("ops", OPERATIONS, "ops by weight", "get:0.9/set:0.07/delete:0.03")
TTL = Parameter("ttl", LIFETIMES, "lifetimes that writes set, by weight", "1h:0.8/1d:0.2")
KEY_BYTES = Parameter("key_bytes", size_form(), "length of a key on the wire, 1 to 65535; a law of sizes", "gev:30.8:8.2:0.079", "16")
KIND = Parameter(
    "kind",
    word("kv", "http", "block"),
    "what kind of requests; the key of a block request is the place of its offset, in 4 KiB",
    "http",
    "kv",
)
SEED = Parameter("seed", whole(0, 2**63 - 1), "the seed; else that of the campaign or of --seed", "7")
ROWS = Parameter("rows", whole(1, 2**62), "end after so many requests", "100000")
FOR = Parameter("for", DURATION, "end before this time", "10s")
LENGTH: tuple[Parameter[Any], ...] = (SEED, ROWS, FOR)
PARAMETERS: tuple[Parameter[Any], ...] = (KEYS, ZIPF, Q, HOTSPOT, LATEST, SIZE, GET, OPS_MIX, TTL, KEY_BYTES, KIND, *LENGTH)


@dataclass(frozen=True)
class Recipe:
    """All that decides the rows. `repr` is the identity of the trace."""

    arrivals: Arrivals
    popularity: Popularity
    size: Sizes
    key_bytes: Sizes
    ops: Mix
    ttl_ms: Mix | None
    kind: str
    seed: int
    rows: int | None
    for_ns: int | None


def requests_of(given: Given, seed: int, law: ArrivalLaw, note: str = "") -> StreamTrace:
    """Raises InvalidInput naming the part that is wrong."""
    arrivals = law.of(given.rate_per_s(), given)
    given.only((*law.parameters, *PARAMETERS))
    return synthesised(recipe_of(given, seed, arrivals), given.spec, note)


def recipe_of(given: Given, seed: int, arrivals: Arrivals, table_keys: int = MOST_KEYS) -> Recipe:
    """`table_keys`: beyond so many keys zipf draws without a table."""
    kind = given.need(KIND)
    return Recipe(
        arrivals=arrivals,
        popularity=_popularity(given, table_keys),
        size=given.need(SIZE),
        key_bytes=_key_lengths(given),
        ops=_ops(given, kind),
        ttl_ms=given.get(TTL),
        kind=kind,
        seed=seed if (own := given.get(SEED)) is None else own,
        rows=given.get(ROWS),
        for_ns=given.get(FOR),
    )


def _popularity(given: Given, table_keys: int) -> Popularity:
    keys, exponent, q = given.need(KEYS), given.need(ZIPF), given.need(Q)
    asked = [parameter.name for parameter in (ZIPF, HOTSPOT, LATEST) if given.has(parameter)]
    if len(asked) > 1:
        raise InvalidInput(f"{given.spec}: {' and '.join(asked)} are both laws of popularity; expected one of them; leave one out")
    if q and not exponent:
        raise InvalidInput(f"{given.spec}: q needs an exponent; expected zipf as well; for example zipf=0.9,q={q:g}")
    hot, latest = given.get(HOTSPOT), given.get(LATEST)
    if hot is not None:
        return Hotspot(keys, *hot)
    if latest is not None:
        return Latest(keys, latest)
    if not exponent:
        return Uniform(keys)
    return Ladder(keys, exponent) if keys <= table_keys and not q else Rejection(keys, exponent, q)


def _key_lengths(given: Given) -> Sizes:
    law = given.need(KEY_BYTES)
    if isinstance(law, Same) and not 1 <= law.size <= 65_535:
        raise InvalidInput(f"{given.spec}: key_bytes: {law.size:g}; expected 1 to 65535; for example key_bytes=24")
    return law


def _ops(given: Given, kind: str) -> Mix:
    mix = given.get(OPS_MIX)
    if mix is None:
        get = given.need(GET)
        return Mix(_READ_AND_WRITE[kind], (get, 1 - get), (get, 1.0))
    if given.has(GET):
        raise InvalidInput(f"{given.spec}: get and ops both say which ops; expected one of them; leave one out")
    wrong = [str(op) for op in mix.values if op not in OPS[kind]]
    if wrong:
        raise InvalidInput(f"{given.spec}: ops: {', '.join(wrong)} is not of kind {kind}; expected some of {', '.join(OPS[kind])}")
    return mix


def synthesised(recipe: Recipe, name: str, note: str = "") -> StreamTrace:
    """The trace of a recipe; without `rows` and `for` it has no end."""
    meta = TraceMeta(
        name=name,
        kinds=(recipe.kind,),
        importer="synthesis",
        arrival_model="generated",
        expand_seed=recipe.seed,
        key_space=recipe.popularity.key_space,
        rows=recipe.rows if recipe.for_ns is None else None,
        loss_notes=note,
    )
    expected = None if recipe.for_ns is None else recipe.arrivals.expected(recipe.for_ns)
    return StreamTrace(
        meta=meta,
        make=lambda: _rows(recipe),
        origin=lambda: repr(recipe),
        rows_hint=recipe.rows if recipe.rows is not None or expected is None else round(expected),
        bounded=recipe.rows is not None or recipe.for_ns is not None,
        rate_hint_per_s=expected * 1e9 / recipe.for_ns if expected and recipe.for_ns else recipe.arrivals.rate_per_s,
    )


def timed(arrivals: Arrivals, key: int, rows: int | None, for_ns: int | None) -> Iterator[tuple[U64, npt.NDArray[np.int64]]]:
    """Row numbers and times in lots, up to so many rows or before a time. Times are cut below 2^62 ns: an endless trace ends after 146
    years instead of overflowing.
    """
    until_ns = min(for_ns if for_ns is not None else 2**62, 2**62)
    lots = None if rows is None else -(-rows // BATCH_ROWS)
    for number_, exact in enumerate(islice(arrivals.lots(key), lots)):
        done = number_ * BATCH_ROWS
        count = BATCH_ROWS if rows is None else min(BATCH_ROWS, rows - done)
        arrival = np.floor(np.minimum(exact[:count], 2.0**62)).astype(np.int64)
        keep = int(np.searchsorted(arrival, until_ns, side="left"))
        if keep:
            yield np.arange(done, done + keep, dtype=np.uint64), arrival[:keep]
        if keep < count:
            return


def _rows(recipe: Recipe) -> Iterator[pa.RecordBatch]:
    inserted = 0
    for seq, arrival in timed(recipe.arrivals, stream(recipe.seed, "synthesis", "gap"), recipe.rows, recipe.for_ns):
        which = recipe.ops.which(stream(recipe.seed, "synthesis", "op"), seq)
        makes = recipe.ops.among(WRITES)[which] if recipe.popularity.inserts else np.zeros(len(seq), dtype=np.bool_)
        there = recipe.popularity.key_space + inserted + np.cumsum(makes) - makes
        inserted += int(makes.sum())
        chosen = recipe.popularity.keys(stream(recipe.seed, "synthesis", "key"), seq, there)
        yield _batch(recipe, seq, arrival, which, np.where(makes, there.astype(np.uint64), chosen))


def _batch(recipe: Recipe, seq: U64, arrival: npt.NDArray[np.int64], which: npt.NDArray[np.int64], key_id: U64) -> pa.RecordBatch:
    reads, writes = recipe.ops.among(READS)[which], recipe.ops.among(WRITES)[which]
    size = sizes(recipe.size, stream(recipe.seed, "synthesis", "size"), key_id)
    if recipe.kind == "block":
        size = -(-np.maximum(size, 1) // _SECTOR_BYTES) * _SECTOR_BYTES
    key_bytes = sizes(recipe.key_bytes, stream(recipe.seed, "synthesis", "key_bytes"), key_id, 1, 65_535).astype(np.uint32)
    columns = {
        "arrival_ns": arrival,
        "seq": seq,
        "kind": recipe.kind,
        "op": pa.DictionaryArray.from_arrays(pa.array(which.astype(np.int8)), pa.array(recipe.ops.values, pa.utf8())).cast(NAME),
        "key_id": key_id,
        "key_bytes": key_bytes,
        "req_bytes": masked(size, writes),
        "resp_bytes": masked(size, reads),
    }
    if recipe.ttl_ms is not None:
        lifetimes = np.array(recipe.ttl_ms.values, dtype=np.int64)
        ttl = lifetimes[recipe.ttl_ms.which(stream(recipe.seed, "synthesis", "ttl"), seq)]
        columns["ttl_ms"] = masked(ttl, writes)
    if recipe.kind == "http":
        columns["target"] = key_targets(key_id, key_bytes)
    if recipe.kind == "block":
        columns["offset_bytes"] = key_id.astype(np.int64) * _PLACE_BYTES
        columns["key_bytes"] = None
    return batch_of({name: values for name, values in columns.items() if values is not None}, len(seq))
