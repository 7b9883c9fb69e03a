"""The search for the highest rate, against thresholds that are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.capacity import Probe, search
from tests.integration import queueing


@given(st.floats(2, 1e6))
def test_a_sharp_edge_is_found_from_below(edge: float) -> None:
    found = search(lambda rate: Probe(rate, rate <= edge, ""), 1000, 2e6)
    assert found.rate_per_s is not None
    assert edge * 0.95 <= found.rate_per_s <= edge
    assert len(found.probes) < 80


@given(st.integers(0, 1000))
def test_one_lucky_probe_is_not_believed(seed: int) -> None:
    dice = np.random.default_rng(seed)
    found = search(lambda rate: Probe(rate, rate <= 1000 or (rate <= 1200 and dice.random() < 0.2), ""), 100, 1e5)
    assert found.rate_per_s is not None
    assert found.rate_per_s <= 1200


def test_nothing_that_holds_and_nothing_that_fails_are_told() -> None:
    assert search(lambda rate: Probe(rate, False, ""), 1000, 1e6).rate_per_s is None
    found = search(lambda rate: Probe(rate, True, ""), 1000, 5e3)
    assert (found.rate_per_s, found.at_least) == (5e3, True)
    with pytest.raises(ValueError, match="start"):
        search(lambda rate: Probe(rate, True, ""), 10, 5)


def test_a_disturbed_probe_does_not_become_the_capacity() -> None:
    dice = np.random.default_rng(7)
    for _ in range(20):
        found = search(lambda rate: Probe(rate, rate <= 10_000 and dice.random() < 0.9, ""), 1000, 1e6)
        assert found.rate_per_s == pytest.approx(10_000, rel=0.05)


def test_the_knee_of_a_simulated_queue_is_that_of_its_closed_form() -> None:
    service_s, objective_s = 2e-4, 2e-3
    dice = np.random.default_rng(1)

    def probe(rate: float) -> Probe:
        arrivals = np.cumsum(dice.exponential(1 / rate, int(rate * 20)))
        # Lindley's recursion, unrolled: the response is the service and how far the work done lags the arrivals at most.
        lag = arrivals - service_s * np.arange(len(arrivals))
        response = (np.maximum.accumulate(lag) - lag) + service_s
        return Probe(rate, float(np.quantile(response, 0.99)) < objective_s, "")

    found = search(probe, 500, 1e5)
    low, high = 0.1 / service_s, 0.999 / service_s
    while high - low > 1:
        middle = (low + high) / 2
        low, high = (middle, high) if queueing.md1_response_quantile(middle, service_s, 0.99) < objective_s else (low, middle)
    assert found.rate_per_s == pytest.approx(low, rel=0.05)
