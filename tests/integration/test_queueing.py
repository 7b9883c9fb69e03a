"""The formulas of queueing.py against a queue that is simulated arrival by arrival (Lindley's recursion)."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from tests.integration import queueing

COUNT = 1_000_000
Floats = npt.NDArray[np.float64]


def waits(rate: float, services: Floats, seed: int = 1) -> Floats:
    """Waits of Poisson arrivals before one server: W' = max(0, W + S - gap), in closed form as the walk above its minimum so far."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, len(services) - 1)
    walk = np.concatenate([[0.0], np.cumsum(services[:-1] - gaps)])
    return np.asarray(walk - np.minimum.accumulate(walk))


@pytest.mark.parametrize("load", [0.3, 0.7])
@pytest.mark.parametrize("p", [0.5, 0.9, 0.99])
def test_mm1_quantiles_are_those_of_a_simulated_queue(load: float, p: float) -> None:
    services = np.random.default_rng(2).exponential(1.0, COUNT)
    responses = waits(load, services) + services
    assert np.quantile(responses, p) == pytest.approx(queueing.mm1_response_quantile(load, 1.0, p), rel=0.03)
    assert responses.mean() == pytest.approx(queueing.mm1_response_mean(load, 1.0), rel=0.03)


@pytest.mark.parametrize("load", [0.3, 0.7, 0.9])
@pytest.mark.parametrize("p", [0.5, 0.9, 0.99])
def test_md1_quantiles_are_those_of_a_simulated_queue(load: float, p: float) -> None:
    service = 2e-4
    services = np.full(COUNT, service)
    rate = load / service
    responses = waits(rate, services) + services
    assert np.quantile(responses, p) == pytest.approx(queueing.md1_response_quantile(rate, service, p), rel=0.05)
    assert responses.mean() - service == pytest.approx(queueing.md1_wait_mean(rate, service), rel=0.05)


def test_md1_wait_is_a_law_even_where_its_sum_cancels() -> None:
    """At 100 services and a load of 0.9 the terms are 1e30 times the sum."""
    values = [queueing.md1_wait_at_most(0.9, 1.0, t) for t in np.linspace(0, 100, 201)]
    assert values[0] == pytest.approx(0.1)
    assert all(a <= b for a, b in itertools.pairwise(values))
    assert 1 - 1e-8 < values[-1] <= 1
    # The wait's tail is exponential with the root of rate (e^theta - 1) = theta; at load 0.9 that is 0.2071.
    tail = [1 - queueing.md1_wait_at_most(0.9, 1.0, t) for t in (40.0, 50.0)]
    assert tail[1] / tail[0] == pytest.approx(np.exp(-0.207147 * 10), rel=1e-3)


def test_md1_mean_is_the_area_above_its_law() -> None:
    times = np.linspace(0, 60, 2401)
    above = np.array([1 - queueing.md1_wait_at_most(0.8, 1.0, float(t)) for t in times])
    area = float(((above[1:] + above[:-1]) / 2 * np.diff(times)).sum())
    assert area == pytest.approx(queueing.md1_wait_mean(0.8, 1.0), rel=1e-3)


def test_mg1_mean_wait_is_that_of_a_simulated_queue_and_of_its_special_cases() -> None:
    services = np.where(np.random.default_rng(3).random(COUNT) < 0.9, 50e-6, 1e-3)
    mean, square = 0.9 * 50e-6 + 0.1 * 1e-3, 0.9 * 50e-6**2 + 0.1 * 1e-3**2
    rate = 0.6 / mean
    assert waits(rate, services).mean() == pytest.approx(queueing.mg1_wait_mean(rate, mean, square), rel=0.05)
    assert queueing.mg1_wait_mean(0.7, 1.0, 1.0) == pytest.approx(queueing.md1_wait_mean(0.7, 1.0))
    assert queueing.mg1_response_mean(0.7, 1.0, 2.0) == pytest.approx(queueing.mm1_response_mean(0.7, 1.0))


def test_a_stalls_quantile_is_that_of_even_arrivals() -> None:
    assert queueing.stall_quantile(1.0, 10.0, 0.99) == pytest.approx(0.9)
    assert queueing.stall_quantile(1.0, 10.0, 0.5) == 0.0
    due = np.linspace(0, 10, 100_001)
    responses = np.where((due >= 4) & (due < 5), 5 - due, 0.0)
    assert np.quantile(responses, 0.95) == pytest.approx(queueing.stall_quantile(1.0, 10.0, 0.95), abs=1e-3)


def test_a_queue_without_a_stationary_law_is_refused() -> None:
    with pytest.raises(ValueError, match="load"):
        queueing.mg1_wait_mean(1.0, 1.0, 1.0)
