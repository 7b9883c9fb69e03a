"""Every law of popularity gives keys the shares that it says."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.unit.traces.rows import column
from traces.source import open_trace
from traces.synthesis.popularity.ladder import Ladder
from traces.synthesis.popularity.rejection import Rejection, ranks

SEQ = np.arange(300_000, dtype=np.uint64)
NONE = np.zeros(0, dtype=np.int64)


def shares(keys: int, exponent: float, q: float = 0.0) -> npt.NDArray[np.float64]:
    weights = (q + np.arange(1, keys + 1)) ** -exponent
    found: npt.NDArray[np.float64] = weights / weights.sum()
    return found


@pytest.mark.parametrize(("exponent", "q"), [(0.3, 0), (0.99, 0), (1.0, 0), (1.0, 7.5), (1.3, 20), (2.7, 0), (6.0, 3)])
def test_rejection_inversion_is_the_exact_law(exponent: float, q: float) -> None:
    keys = Rejection(50, exponent, q).keys(11, SEQ, NONE)
    seen = np.bincount(keys.astype(np.int64), minlength=50)
    expected = shares(50, exponent, q) * len(SEQ)
    big = expected > 5
    statistic = float((((seen - expected) ** 2) / expected)[big].sum())
    assert stats.chi2(big.sum() - 1).sf(statistic) > 1e-4


def test_with_and_without_a_table_zipf_is_the_same_law() -> None:
    table = np.sort(Ladder(100_000, 0.99).keys(1, SEQ, NONE))
    free = np.sort(Rejection(100_000, 0.99).keys(2, SEQ, NONE))
    assert stats.ks_2samp(table, free).statistic < 1.7 * np.sqrt(2 / len(SEQ))


def test_a_key_space_beyond_any_table_has_its_most_popular_key_as_often_as_computed() -> None:
    keys = Rejection(10**12, 1.2).keys(3, SEQ, NONE)
    assert (keys == 0).mean() == pytest.approx(1 / 5.5915824, rel=0.01)  # zeta(1.2); what lies beyond 10^12 is 2 % of it
    assert keys.max() > 10**9 and keys.max() < 10**12


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 2**40), st.floats(0.01, 8), st.floats(0, 1000))
def test_ranks_stay_within_the_key_space(keys: int, exponent: float, q: float) -> None:
    drawn = ranks(5, SEQ[:200], np.full(200, keys, dtype=np.int64), exponent, q)
    assert drawn.min() >= 0 and drawn.max() < keys


def test_a_row_draws_its_key_by_its_number_alone() -> None:
    law = Rejection(1000, 1.1, 3.0)
    assert np.array_equal(law.keys(1, SEQ[5000:6000], NONE), law.keys(1, SEQ, NONE)[5000:6000])


def test_a_hotspot_gets_its_share() -> None:
    keys = np.array(column(open_trace("constant:1000,keys=1000,hotspot=0.2:0.8,rows=100000"), "key_id"))
    assert (keys < 200).mean() == pytest.approx(0.8, abs=0.005) and len(np.unique(keys)) == 1000
    assert stats.chisquare(np.bincount(keys[keys < 200].astype(int))).pvalue > 1e-4


def test_under_latest_sets_make_keys_and_the_newest_are_asked_for_most() -> None:
    trace = open_trace("constant:1000,keys=500,latest=0.99,get=0.95,rows=100000")
    ops, keys = np.array(column(trace, "op")), np.array(column(trace, "key_id"), dtype=np.int64)
    made = keys[ops == "set"]
    assert np.array_equal(made, 500 + np.arange(len(made)))
    newest = 499 + np.cumsum(ops == "set")
    behind = (newest - keys)[ops == "get"]
    assert behind.min() == 0 and (behind == 0).mean() == pytest.approx(0.12, abs=0.03)
    assert np.median(behind) < 100 and behind.max() > 3000
