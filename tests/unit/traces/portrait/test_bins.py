"""Bins hold any number of values within 1 %, by stretch, in constant memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces.portrait.bins import BINS, STRETCHES, Binned, Bins, Stretched, bin_of

VALUES = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=200)


def binned(values: list[int], lot: int = 64) -> Bins:
    made = Binned()
    numbers = np.array(values, dtype=np.int64)
    for at in range(0, len(numbers), lot):
        part = numbers[at : at + lot]
        made.add(part, np.arange(at, at + len(part)))
    found = made.bins()
    assert found is not None
    return found


@given(VALUES)
def test_all_values_are_in_a_bin_no_wider_than_1_percent(values: list[int]) -> None:
    found = binned(values)
    assert found.total.sum() == len(values)
    assert (found.high <= found.low * 1.0101 + 1e-9).all() and (found.low[1:] > found.high[:-1]).all()
    assert found.low[0] == min(values) and found.high[-1] == max(values)


@given(VALUES, st.sampled_from([0.01, 0.5, 0.99]))
def test_quantiles_are_within_1_percent(values: list[int], q: float) -> None:
    ordered = np.sort(np.array(values, dtype=np.float64))
    exact = ordered[min(len(values) - 1, int(np.ceil(q * len(values) - 1e-9)) - 1)]
    assert binned(values).quantile(q) == pytest.approx(exact, rel=0.0101)


@given(st.integers(1, 3000), st.integers(1, 500))
def test_stretches_are_of_equal_length_in_order_and_lose_nothing(rows: int, lot: int) -> None:
    made = Stretched(1)
    for at in range(0, rows, lot):
        count = min(lot, rows - at)
        made.add(np.zeros(count, dtype=np.int64), np.arange(at, at + count))
    weights = made.weights()
    assert weights is not None
    lengths = weights[:, 0]
    assert lengths.sum() == rows and len(lengths) <= STRETCHES
    assert (lengths[:-1] == lengths[0]).all() and lengths[-1] <= lengths[0]
    assert rows < STRETCHES or len(lengths) > STRETCHES // 2


def test_the_largest_value_has_a_bin() -> None:
    assert int(bin_of(np.array([2.0**64]))[0]) < BINS


def test_nothing_added_is_nothing_held() -> None:
    assert Binned().bins() is None
