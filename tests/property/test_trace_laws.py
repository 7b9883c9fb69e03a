"""Laws that hold for any trace, not only for those that someone thought of."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.traces.rows import arrivals, column, table, trace_of
from traces.draws import mix, mix_all, permuted
from traces.quantities import parse_duration
from traces.stream import StreamTrace, limit, rebatched
from traces.transforms import TransformSpec, apply

GAPS = st.lists(st.integers(0, 10**10), min_size=1, max_size=60)


def trace(gaps: list[int], lot: int = 7) -> StreamTrace:
    rows = len(gaps)
    return trace_of(
        {
            "arrival_ns": np.cumsum(np.array(gaps, dtype=np.int64)),
            "key_id": np.arange(rows, dtype=np.uint64) % np.uint64(5),
            "resp_bytes": np.arange(rows, dtype=np.int64),
        },
        lot=lot,
    )


@given(GAPS, st.floats(0.01, 1000))
def test_a_speedup_and_its_inverse_give_the_trace_back(gaps: list[int], factor: float) -> None:
    there = trace(gaps)
    back = apply(there, [TransformSpec("speedup", factor), TransformSpec("speedup", 1 / factor)], 0)
    error = np.abs(arrivals(back) - arrivals(there))
    assert (error <= 0.5 * factor + 1 + arrivals(there) * 1e-15).all()
    assert column(back, "key_id") == column(there, "key_id")


@given(GAPS, st.integers(1, 9))
def test_sharding_loses_nothing_and_doubles_nothing(gaps: list[int], shards: int) -> None:
    whole = trace(gaps)
    parts = [apply(whole, [TransformSpec("shard", shards, {"index": str(i)})], 0) for i in range(shards)]
    assert sorted(seq for part in parts for seq in column(part, "seq")) == column(whole, "seq")


@given(GAPS, st.integers(1, 70), st.integers(1, 70))
def test_lots_never_change_the_rows(gaps: list[int], lot: int, size: int) -> None:
    batches = list(rebatched(trace(gaps, lot).batches(), size))
    assert all(batch.num_rows == size for batch in batches[:-1])
    assert [seq for batch in batches for seq in batch.column("seq").to_pylist()] == list(range(len(gaps)))


@given(GAPS, st.integers(0, 10**11))
def test_a_limit_keeps_what_is_before_it(gaps: list[int], until: int) -> None:
    whole = trace(gaps)
    kept = [t for batch in limit(whole, until).batches() for t in batch.column("arrival_ns").to_pylist()]
    assert kept == [t for t in arrivals(whole).tolist() if t < until]


@settings(deadline=None)
@given(GAPS, st.floats(0.05, 6), st.integers(0, 2**63), st.sampled_from([1, 7, 64]))
def test_rate_scale_stays_sorted_inside_the_span_and_is_repeatable(gaps: list[int], factor: float, seed: int, lot: int) -> None:
    whole = trace(gaps, lot)
    scaled = apply(whole, [TransformSpec("rate_scale", factor)], seed)
    batches = list(scaled.batches())
    times = np.concatenate([b.column("arrival_ns").to_numpy() for b in batches]) if batches else np.empty(0)
    if len(times):
        assert (np.diff(times) >= 0).all()
        assert times[0] >= arrivals(whole)[0] and times[-1] <= arrivals(whole)[-1]
        assert table(scaled).equals(table(scaled))
    if factor >= 1:
        assert len(gaps) * int(factor) <= len(times) <= len(gaps) * (int(factor) + 1)


@settings(deadline=None)
@given(GAPS.filter(lambda gaps: len(gaps) > 2 and any(gaps[1:])), st.floats(0, 0.6), st.integers(0, 2**63))
def test_burst_keeps_the_first_and_the_last_arrival(gaps: list[int], cv: float, seed: int) -> None:
    whole = trace(gaps)
    times, before = arrivals(apply(whole, [TransformSpec("burst", cv)], seed)), arrivals(whole)
    assert len(times) == len(before) and times[0] == before[0] and abs(int(times[-1] - before[-1])) <= 1
    assert (np.diff(times) >= 0).all()


@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
def test_the_permutation_of_gaps_is_one(count: int, key: int) -> None:
    assert sorted(permuted(np.arange(count, dtype=np.uint64), count, key).tolist()) == list(range(count))


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_mixing_many_is_mixing_each(values: list[int]) -> None:
    assert mix_all(np.array(values, dtype=np.uint64)).tolist() == [mix(value) for value in values]


@given(st.integers(0, 10**9), st.sampled_from(["ns", "us", "ms", "s"]))
def test_whole_durations_are_exact(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}") == number * {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}[unit]
