"""Counts in windows are those that one would get with all arrivals in memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces.portrait.columns import Column, quantile_of
from traces.portrait.distinct import Distinct
from traces.portrait.windows import Scales, SeriesOfCounts

ARRIVALS = st.lists(st.integers(0, 50_000), min_size=1, max_size=200).map(lambda gaps: np.cumsum(np.array(gaps, dtype=np.int64)))


@given(ARRIVALS, st.integers(0, 10**6), st.integers(1, 40))
def test_windows_are_counted_on_the_clock_with_the_empty_ones(arrival: np.ndarray, offset: int, lot: int) -> None:
    made = Scales((1000, 10_000, 60_000))
    clock = arrival + offset
    for at in range(0, len(clock), lot):
        made.add(clock[at : at + lot])
    for windows in made.windows:
        counts = np.bincount(clock // windows.length_ns - clock[0] // windows.length_ns)
        seen = windows.seen()
        assert np.repeat(seen.values, seen.often).tolist() == sorted(counts.tolist())
        inner = counts[1:-1]
        if len(inner) >= 2 and inner.any():
            assert seen.dispersion == pytest.approx(inner.var() / inner.mean())
        for percent in (0, 50, 99, 100):
            assert seen.quantile(percent) == pytest.approx(np.percentile(counts, percent))


@given(ARRIVALS, st.integers(1, 40))
def test_a_series_counts_every_request_of_its_whole_windows(arrival: np.ndarray, lot: int) -> None:
    made = SeriesOfCounts(1, most=64)
    for at in range(0, len(arrival), lot):
        made.add(arrival[at : at + lot])
    series = made.series()
    since = arrival - arrival[0]
    expected = np.bincount(since // series.window_ns, minlength=len(series.counts))[: len(series.counts)]
    assert series.counts.tolist() == expected.tolist() and len(series.counts) <= 64
    assert series.in_windows(3 * series.window_ns).tolist() == pytest.approx(series.folded(3).counts.tolist())


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=300), st.floats(0, 100))
def test_quantiles_of_tallied_values_are_numpys(values: list[int], percent: float) -> None:
    held, counts = np.unique(values, return_counts=True)
    assert quantile_of(held, counts, percent) == pytest.approx(np.percentile(values, percent), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize(("most", "error"), [(1 << 17, 0.0), (100, 0.01)])
def test_a_column_says_how_far_its_quantiles_may_err(most: int, error: float) -> None:
    values = np.random.default_rng(1).lognormal(8, 2, 20_000).astype(np.int64)
    column = Column(most)
    for at in range(0, len(values), 3000):
        column.add(values[at : at + 3000], np.arange(at, min(at + 3000, len(values))))
    levels, may_err = column.quantiles((0, 25, 50, 99, 100))
    assert may_err == error and column.sum == int(values.sum()) and column.count == len(values)
    assert levels == pytest.approx(np.percentile(values, (0, 25, 50, 99, 100)).tolist(), rel=error or 1e-12, abs=1e-9)


@pytest.mark.parametrize("keys", [1, 50, 3000, 40_000])
def test_the_working_set_of_each_stretch_is_near_the_exact_one(keys: int) -> None:
    rng = np.random.default_rng(keys)
    rows = 400_000
    ids, arrival = rng.integers(0, keys, rows).astype(np.uint64) * np.uint64(7919), np.arange(rows) * 1_000_000
    made = Distinct()
    for at in range(0, rows, 30_000):
        made.add(ids[at : at + 30_000], arrival[at : at + 30_000])
    found = made.working_set()
    assert found is not None and 16 <= len(found.keys) <= 64
    for number, estimate in enumerate(found.keys):
        exact = len(np.unique(ids[arrival // found.stretch_ns == number]))
        assert estimate == pytest.approx(exact, rel=0.1, abs=1)
