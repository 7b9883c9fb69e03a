"""What the tests of transforms share: a trace to bend, one transform applied, and what must not have changed."""

from collections.abc import Collection

import pyarrow as pa

from tests.unit.traces.rows import table
from traces.schema import SCHEMA
from traces.source import open_trace
from traces.stream import Trace
from traces.transforms import TransformSpec, apply, transforms

IDENTITY = ("key_id", "key_bytes", "target")


def held(rows: int = 100_000, more: str = "") -> Trace:
    return open_trace(f"poisson:10000,keys=2000,zipf=0.9,size=lognormal:200:1,rows={rows}{more}", seed=3)


def bent(trace: Trace, name: str, value: float | str | None = None, seed: int = 1, **options: str) -> Trace:
    return apply(trace, [TransformSpec(name, value, options)], seed)


def dose(made: Trace, nominal: Trace, name: str, **options: str) -> float:
    found = transforms()[name].dose(made, nominal, TransformSpec(name, None, options))  # type: ignore[attr-defined]
    assert found is not None
    return float(found)


def same_but(one: Trace, other: Trace, changed: Collection[str]) -> None:
    """Every column that is not `changed` is identical, row by row."""
    kept = [name for name in SCHEMA.names if name not in changed]
    before, after = table(one).select(kept), table(other).select(kept)
    for name in kept:
        one_column, other_column = (each.column(name).combine_chunks() for each in (before, after))
        if pa.types.is_dictionary(one_column.type):  # the same words may have other numbers
            one_column, other_column = one_column.dictionary_decode(), other_column.dictionary_decode()
        assert one_column.equals(other_column), name
