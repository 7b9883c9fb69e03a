"""Laws that hold for every transform, whatever the trace."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protos.violations import CATALOGUE
from tests.unit.traces.rows import arrivals, table, trace_of
from traces.schema import SCHEMA
from traces.stream import StreamTrace
from traces.transforms import Dosed, apply, transforms
from traces.transforms.written import spec_of_text

KEYS, SIZES, TOKENS = {"key_id", "key_bytes", "target"}, {"req_bytes", "resp_bytes"}, {"prompt_tokens", "output_tokens", "prefix_hashes"}
TIMES = {"arrival_ns"}
ADDED = set(SCHEMA.names)  # rows come or go, so that columns cannot be compared row by row
CHANGES: dict[str, set[str]] = {
    "burst=0.3": TIMES, "churn=0.5,period=1s": ADDED, "churn=0.5,period=1s,ops=none": KEYS, "clamp=20": SIZES,
    "correlated_burst=0.5,every=2s,for=1s,keys=1": KEYS, "correlated_burst=0.5,every=2s,for=1s,keys=1,rate=3": KEYS | TIMES,
    "diurnal=0.7,period=3s": TIMES, "grow=0.5,period=1s": KEYS, "hotset_shift=0.2,period=1s,hot=0.3": KEYS, "key_amplify=3": KEYS,
    "loop=20s": ADDED, "mix={value: 'constant:10,keys=5,for=3s', share: 0.3}": ADDED, "op_mix=get=0.3,delete=0.3": {"op"} | SIZES,
    "phase_shift=30%": ADDED, "rate_scale=0.5": ADDED, "rate_scale=2.5": ADDED, "rate_scale=0.5,by=key": ADDED,
    "shard=2,index=1": ADDED, "shuffle=gaps": TIMES, "shuffle=keys": KEYS, "shuffle=order": ADDED, "shuffle=order,window=9": ADDED,
    "size_map=lognormal:300:1": SIZES, "size_scale=1.7": SIZES, "speedup=3": TIMES, "superpose=3": ADDED, "window=1s..": ADDED,
    "zipf=1.3": KEYS,
}  # fmt: skip
"""What each may change. mmpp and spread want another trace, token_scale another kind: they have tests of their own."""


def held(gaps: list[int], keys: list[int], lot: int) -> StreamTrace:
    rows = len(gaps)
    key = np.array([keys[n % len(keys)] for n in range(rows)], dtype=np.uint64)
    return trace_of(
        {
            "arrival_ns": np.cumsum(np.array(gaps, dtype=np.int64)),
            "key_id": key,
            "key_bytes": np.full(rows, 20, dtype=np.uint32),
            "op": pa.array(["get" if n % 3 else "set" for n in range(rows)]),
            "req_bytes": pa.array([None if n % 3 else n for n in range(rows)], pa.int64()),
            "resp_bytes": pa.array([n if n % 3 else None for n in range(rows)], pa.int64()),
            "client": pa.array([f"c{n % 4}" for n in range(rows)]).dictionary_encode(),
        },
        lot=lot,
    )


def plain(whole: pa.Table, name: str) -> list[Any]:
    values: list[Any] = whole.column(name).to_pylist()
    return values


@pytest.mark.parametrize("text", CHANGES)
@settings(deadline=None, max_examples=6)
@given(
    st.lists(st.integers(0, 10**9), min_size=40, max_size=80),
    st.lists(st.integers(0, 2**64 - 1), min_size=8, max_size=20, unique=True),
    st.integers(0, 2**63),
    st.sampled_from([1, 7, 64]),
)
def test_a_transform_is_sorted_repeatable_and_the_same_however_rows_come_in_lots(
    text: str, gaps: list[int], keys: list[int], seed: int, lot: int
) -> None:
    gaps = [*gaps, 10**9]  # a span that a loop fills in few rounds
    spec, before = spec_of_text(text), held(gaps, keys, lot)
    bent = apply(before, [spec], seed)
    rows = table(bent)
    assert (np.diff(arrivals(bent)) >= 0).all() and (rows.num_rows == 0 or arrivals(bent)[0] >= 0)
    for other in (table(bent), table(apply(held(gaps, keys, 100), [spec], seed))):
        for name in SCHEMA.names:
            assert plain(rows, name) == plain(other, name), name
    for name in set(SCHEMA.names) - CHANGES[text]:
        assert plain(rows, name) == plain(table(before), name), name


def test_every_transform_is_held_to_the_laws() -> None:
    named = {text.partition("=")[0] for text in CHANGES}
    assert named | {"mmpp", "spread", "token_scale"} == set(transforms())


@pytest.mark.parametrize("name", [spec.name for spec in CATALOGUE.values() if spec.stage == "compile"])
def test_a_violation_of_the_workload_is_a_transform_whose_dose_can_be_read_back(name: str) -> None:
    transform = transforms()[name]
    assert isinstance(transform, Dosed) and CATALOGUE[name].axis == "workload"
    assert set(CATALOGUE[name].options) <= set(transform.options)


def test_every_transform_says_what_it_changes_and_takes() -> None:
    for transform in transforms().values():
        assert transform.summary and transform.changes and transform.value
        assert all(transform.options.values())
