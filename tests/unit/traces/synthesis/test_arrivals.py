"""Every law of arrivals has the gaps, the counts and the rate that it says."""

from collections.abc import Callable
from itertools import islice

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.unit.traces.rows import arrivals as arrivals_of
from traces.draws import uniform_all
from traces.schema import BATCH_ROWS
from traces.source import open_trace
from traces.synthesis.arrivals import Arrivals, laws
from traces.synthesis.arrivals.diurnal import Sine
from traces.synthesis.arrivals.flash import Crowd
from traces.synthesis.arrivals.mmpp import Modulated
from traces.synthesis.arrivals.renewal import Renewal
from traces.synthesis.arrivals.weibull import cv_of, shape_of
from traces.synthesis.spec import given as given_in

Floats = npt.NDArray[np.float64]
LOTS = 8
GAPS: dict[str, Callable[[Floats], Floats]] = {
    "poisson:1000": stats.expon().cdf,
    "gamma:1000,cv=3": stats.gamma(1 / 9, scale=9).cdf,
    "gamma:1000,cv=0.5": stats.gamma(4, scale=1 / 4).cdf,
    "weibull:1000,cv=2": stats.weibull_min(shape_of(2), scale=1 / stats.weibull_min(shape_of(2)).mean()).cdf,
    "gpareto:1000,shape=0.154971": stats.genpareto(0.154971, scale=1 - 0.154971).cdf,
}
MODULATED = "mmpp:500,burst=3000,calm_for=900ms,burst_for=100ms"
CHANGING = (
    "diurnal:1000,period=100s,amplitude=0.8,phase=0.75",
    "diurnal:1000,period=30s,amplitude=1",
    "flash:1000,peak=10,at=20s,rise=5s,hold=10s,decay=15s",
    "flash:1000,peak=3,at=5s,rise=0s,hold=10s,decay=0s",
)
BURSTY = {"gamma:1000,cv=3": 0.02, "weibull:1000,cv=2": 0.012, MODULATED: 0.025}
"""The counts of these vary more than Poisson's: four deviations."""
EVERY = (*GAPS, *CHANGING, "constant:1000", MODULATED)


def law(spec: str) -> Arrivals:
    said = given_in(spec)
    return laws()[said.head].of(said.rate_per_s(), said)


def times_s(spec: str, lots: int = LOTS) -> Floats:
    return np.concatenate(list(islice(law(spec).lots(7), lots))) / 1e9


@pytest.mark.parametrize("spec", GAPS)
def test_gaps_follow_their_law(spec: str) -> None:
    made = law(spec)
    assert isinstance(made, Renewal)
    gaps = made.quantile(uniform_all(7, np.arange(500_000, dtype=np.uint64)))
    assert np.allclose(np.cumsum(gaps[:1000]) / 1000, times_s(spec, 1)[:1000])
    assert stats.kstest(gaps, GAPS[spec]).statistic < 1.7 / np.sqrt(len(gaps))
    assert abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) < 0.005


@pytest.mark.parametrize("spec", CHANGING)
def test_a_rate_that_changes_is_exact_after_its_time_is_straightened(spec: str) -> None:
    made = law(spec)
    assert isinstance(made, Sine | Crowd)
    unit = np.diff(made.count(times_s(spec)))
    assert stats.kstest(unit, stats.expon().cdf).statistic < 1.7 / np.sqrt(len(unit))


@pytest.mark.parametrize("spec", EVERY)
def test_counts_are_as_expected_within_half_a_percent(spec: str) -> None:
    made, times = law(spec), times_s(spec)
    assert np.all(np.diff(times) >= 0)
    tolerance = BURSTY.get(spec, 0.005)
    for share in (0.5, 1.0):
        until = times[-1] * share
        assert np.searchsorted(times, until) == pytest.approx(made.expected(round(until * 1e9)), rel=tolerance)
    if made.steady:
        assert len(times) / times[-1] == pytest.approx(made.rate_per_s, rel=tolerance)


@pytest.mark.parametrize("spec", CHANGING)
def test_the_integrated_rate_is_the_integral_of_the_rate(spec: str) -> None:
    made = law(spec)
    assert isinstance(made, Sine | Crowd)
    at = np.linspace(0, 90, 90_001)
    rate = made.rate(at)
    summed = np.sum((rate[1:] + rate[:-1]) / 2 * np.diff(at))
    assert made.expected(90 * 10**9) == pytest.approx(summed, rel=1e-4)


def test_a_modulated_process_has_both_its_rates_and_its_times() -> None:
    spec = "mmpp:500,burst=20000,calm_for=9s,burst_for=1s"
    times = times_s(spec, 20)
    counts = np.histogram(times, np.arange(0, times[-1], 0.1))[0]
    burst = counts > 500  # of 2000 in a burst, 50 in a calm
    assert np.median(counts[burst]) == pytest.approx(2000, rel=0.02) and np.median(counts[~burst]) == pytest.approx(50, rel=0.05)
    changes = np.count_nonzero(burst[1:] & ~burst[:-1])
    assert burst.sum() * 0.1 / changes == pytest.approx(1, rel=0.2) and burst.mean() == pytest.approx(0.1, abs=0.02)
    assert law(spec).rate_per_s == pytest.approx(2450)


@given(st.floats(0.05, 60))
def test_the_shape_of_weibull_gives_the_variation_asked_for(cv: float) -> None:
    assert cv_of(shape_of(cv)) == pytest.approx(cv, rel=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(EVERY), st.integers(1, 200_000))
def test_a_shorter_trace_is_the_beginning_of_a_longer_one(spec: str, rows: int) -> None:
    longer = arrivals_of(open_trace(f"{spec},rows=200000", seed=1))
    assert np.array_equal(arrivals_of(open_trace(f"{spec},rows={rows}", seed=1)), longer[:rows])


def test_a_flash_crowd_is_where_it_is_said_to_be() -> None:
    times = arrivals_of(open_trace("flash:1000,peak=10,at=20s,rise=5s,hold=10s,decay=15s,for=2m")) / 1e9
    per_s = np.histogram(times, np.arange(0, 121))[0]
    assert per_s[:20].mean() == pytest.approx(1000, rel=0.02) and per_s[25:35].mean() == pytest.approx(10_000, rel=0.01)
    assert per_s[50] == pytest.approx(1000 + 9000 * np.exp(-15.5 / 15), rel=0.1) and per_s[115:].mean() < 1100


def test_a_modulated_process_draws_its_states_by_number() -> None:
    quick = Modulated(1000.0, 5000.0, 0.001, 0.002)  # many visits in each lot
    times = np.concatenate(list(islice(quick.lots(3), 3)))
    assert len(times) == 3 * BATCH_ROWS and np.all(np.diff(times) >= 0)
    assert len(times) / times[-1] * 1e9 == pytest.approx(quick.rate_per_s, rel=0.01)
