"""Distances between laws: against scipy, at the ends of their range, and at the noise floor."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from traces.laws import Law, Shares, apart, apart_in_words, floor, law_of, shares_of

POINTS = st.lists(st.integers(1, 5000), min_size=1, max_size=60)


def law(values: list[int] | np.ndarray, stretches: int = 32) -> Law:
    """Of single values, in stretches of equal length."""
    numbers = np.asarray(values, dtype=np.float64)
    held, place = np.unique(numbers, return_inverse=True)
    weights = np.zeros((stretches, len(held)))
    np.add.at(weights, (np.arange(len(numbers)) * stretches // len(numbers), place), 1)
    return law_of(held, held, weights)


@given(POINTS, POINTS)
def test_distances_are_those_of_the_textbook(a: list[int], b: list[int]) -> None:
    found = apart(law(a), law(b))
    assert found.wasserstein == pytest.approx(wasserstein_distance(a, b) / (np.mean(a) + np.mean(b)), abs=2e-3)
    if all(x == y or abs(x - y) > 2e-3 * max(x, y) for x in a for y in b):  # nearer ones count as the same here
        every = np.union1d(a, b)
        shares = [np.searchsorted(np.sort(each), every, side="right") / len(each) for each in (a, b)]
        assert found.ks == pytest.approx(np.abs(shares[0] - shares[1]).max(), abs=1e-9)


@given(POINTS, POINTS)
def test_distances_are_symmetric_and_lie_between_0_and_1(a: list[int], b: list[int]) -> None:
    there, back = apart(law(a), law(b)), apart(law(b), law(a))
    assert there == back
    assert 0 <= there.wasserstein <= 1 and 0 <= there.js <= 1 and there.ks is not None and 0 <= there.ks <= 1


@given(POINTS)
def test_a_law_lies_at_0_from_itself(a: list[int]) -> None:
    found = apart(law(a), law(list(a)))
    assert (found.wasserstein, found.ks, found.js) == (0, 0, 0)


@pytest.mark.parametrize("factor", [1.5, 2, 10])
def test_a_law_scaled_by_f_lies_f_less_one_over_f_more_one_away(factor: float) -> None:
    values = np.random.default_rng(1).lognormal(5, 1, 5000)
    scaled = law(values)
    assert apart(scaled, law(values * factor)).wasserstein == pytest.approx((factor - 1) / (factor + 1), rel=1e-3)


def test_laws_without_a_value_in_common_lie_as_far_apart_as_can_be() -> None:
    found = apart(law([1] * 50), law([10_000] * 50))
    assert found.ks == pytest.approx(1) and found.js == pytest.approx(1) and found.wasserstein == pytest.approx(1, abs=1e-3)


def test_zeros_are_values_like_others() -> None:
    found = apart(law([0] * 50 + [10] * 50), law([10] * 100))
    assert found.ks == pytest.approx(0.5) and found.wasserstein == pytest.approx(5 / 15, abs=1e-3)
    assert apart(law([0] * 9), law([0] * 5)).wasserstein == 0


def test_words_are_compared_by_total_variation_and_by_scipys_jensen_shannon() -> None:
    a, b = Shares(("get", "set"), np.array([80.0, 20.0])), Shares(("delete", "get"), np.array([50.0, 50.0]))
    found = apart_in_words(a, b)
    assert found.wasserstein == pytest.approx(0.5) and found.ks is None
    assert found.js == pytest.approx(jensenshannon([0, 0.8, 0.2], [0.5, 0.5, 0], base=2))


SAMPLES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "exponential": lambda rng, n: rng.exponential(1000, n),
    "heavy": lambda rng, n: 100 * (1 + rng.pareto(1.8, n)),
    "few values": lambda rng, n: rng.choice([64, 512, 4096], n, p=[0.7, 0.2, 0.1]).astype(float),
    "autoregressive": lambda rng, n: np.exp(np.convolve(rng.normal(size=n + 19), np.ones(20) / 20, "valid") * 3),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_two_samples_of_one_law_lie_within_the_floor_and_others_beyond(name: str) -> None:
    rng = np.random.default_rng(7)
    draw = SAMPLES[name]
    beyond, floors = 0, []
    for _ in range(12):
        a, b = law(draw(rng, 3000)), law(draw(rng, 3000))
        by_chance = floor(a, b)
        floors.append(by_chance.wasserstein)
        beyond += apart(a, b).wasserstein > by_chance.wasserstein
        off = law(draw(rng, 3000) * 1.7)
        assert apart(a, off).wasserstein > by_chance.wasserstein
    assert beyond <= 1
    assert np.median(floors) < 0.1, "a floor under which anything goes says nothing"


def test_the_floor_falls_with_the_root_of_the_size() -> None:
    rng = np.random.default_rng(3)
    small, large = (floor(law(rng.exponential(1, n)), law(rng.exponential(1, n))).wasserstein for n in (500, 50_000))
    assert small / large == pytest.approx(10, rel=0.5)


def test_what_cannot_be_split_may_be_all_chance() -> None:
    lone = Law(np.ones(1), np.ones(1), np.ones(1))
    assert floor(lone, law([1, 2, 3])).wasserstein == 1
    assert shares_of(("get",), np.ones((1, 1))).halve is None


def test_a_few_objects_that_decide_widen_the_floor_unless_both_have_the_same() -> None:
    rng = np.random.default_rng(5)
    sizes, keys = rng.lognormal(5, 1.5, 100), rng.integers(0, 100, 20_000)
    values = sizes[keys]
    held, place = np.unique(values, return_inverse=True)
    stretches, groups = np.zeros((32, len(held))), np.zeros((32, len(held)))
    np.add.at(stretches, (np.arange(len(values)) * 32 // len(values), place), 1)
    np.add.at(groups, (keys % 32, place), 1)
    both = law_of(held, held, stretches, groups)
    assert floor(both, both).wasserstein > 5 * floor(both, both, same_objects=True).wasserstein
