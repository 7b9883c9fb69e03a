"""Arrivals of each law are known again, with its figures."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.linalg import expm

from tests.unit.traces.rows import trace_of
from traces.fit.arrivals import arrivals
from traces.fit.modulated import log_likelihood
from traces.fit.sample import sample_of
from traces.source import open_trace
from traces.stream import Trace
from traces.synthesis.spec import given


def learnt(trace: Trace) -> tuple[str, dict[str, float]]:
    said = given(arrivals(sample_of(trace))[0][0].spec)
    units = {"s": 1.0, "ms": 1e-3, "ns": 1e-9}
    figures = {"rate": said.rate_per_s()}
    for name, text in said.values.items():
        unit = next((unit for unit in ("ms", "ns", "s") if text.endswith(unit)), "")
        figures[name] = float(text.removesuffix(unit)) * units.get(unit, 1.0)
    return said.head, figures


@pytest.mark.parametrize(
    ("spec", "figures", "tolerance"),
    [
        ("constant:777", {"rate": 777}, 1e-6),
        ("poisson:1000", {"rate": 1000}, 0.02),
        ("gamma:1000,cv=3", {"rate": 1000, "cv": 3}, 0.08),
        ("gamma:1000,cv=0.5", {"rate": 1000, "cv": 0.5}, 0.02),
        ("weibull:1000,cv=2.5", {"rate": 1000, "cv": 2.5}, 0.08),
        ("gpareto:50000,shape=0.3", {"rate": 50_000, "shape": 0.3}, 0.06),
        ("mmpp:1000,burst=10000,calm_for=100ms,burst_for=20ms", {"rate": 1000, "burst": 10_000, "calm_for": 0.1, "burst_for": 0.02}, 0.2),
        ("diurnal:1000,period=10s,amplitude=0.7,phase=0.25", {"rate": 1000, "period": 10, "amplitude": 0.7, "phase": 0.25}, 0.05),
        ("flash:500,peak=10,at=5s,rise=1s,hold=2s,decay=2s", {"rate": 500, "peak": 10, "at": 5, "hold": 2, "decay": 2}, 0.12),
    ],
)
def test_a_law_and_its_figures_are_recovered(spec: str, figures: dict[str, float], tolerance: float) -> None:
    rows = 2000 if spec.startswith("constant") else 25_000 if spec.startswith("flash") else 12_000
    law, found = learnt(open_trace(f"{spec},rows={rows}", seed=3))
    assert law == spec.split(":")[0]
    for name, value in figures.items():
        assert found[name] == pytest.approx(value, rel=tolerance), name


def test_the_likelihood_of_a_modulated_process_is_the_product_of_its_matrices() -> None:
    gaps = np.random.default_rng(1).exponential(0.01, 37)
    calm, burst, calm_s, burst_s = 20.0, 300.0, 0.5, 0.1
    rates = np.diag([calm, burst])
    generator = np.array([[-1 / calm_s, 1 / calm_s], [1 / burst_s, -1 / burst_s]])
    row = np.array([calm_s, burst_s]) / (calm_s + burst_s)
    for gap in gaps:
        row = row @ expm((generator - rates) * gap) @ rates
    assert log_likelihood(gaps, calm, burst, calm_s, burst_s) == pytest.approx(math.log(row.sum()), rel=1e-9)


def test_a_modulated_process_of_one_rate_is_as_likely_as_poisson() -> None:
    gaps = np.random.default_rng(2).exponential(0.01, 5000)
    assert log_likelihood(gaps, 90.0, 90.0, 1.0, 3.0) == pytest.approx(stats.expon(scale=1 / 90).logpdf(gaps).sum(), rel=1e-9)


def test_coarse_stamps_are_spread_and_that_is_said() -> None:
    stamps = np.sort(np.random.default_rng(3).uniform(0, 200, 8000)).astype(np.int64) * 10**9
    candidates, notes = arrivals(sample_of(trace_of({"arrival_ns": stamps}, arrival_resolution_ns=10**9)))
    assert candidates[0].law == "poisson" and notes == ["stamps of 1 s were spread at random within themselves"]


def test_a_source_without_times_gets_a_rate_that_is_said_to_be_made_up() -> None:
    trace = trace_of({"arrival_ns": np.zeros(500, dtype=np.int64)}, arrival_model="none")
    candidates, notes = arrivals(sample_of(trace))
    assert candidates[0].spec == "poisson:1000" and "made up" in notes[0]
