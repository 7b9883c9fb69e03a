"""Stack distances against Mattson's algorithm, which keeps the whole stack; sampled ones near them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces.portrait.reuse import Reuse

BIG = 1 << 40


def mattson(keys: list[int]) -> list[int | None]:
    """None for the first request of a key."""
    stack: list[int] = []
    found: list[int | None] = []
    for key in keys:
        found.append(stack.index(key) if key in stack else None)
        if key in stack:
            stack.remove(key)
        stack.insert(0, key)
    return found


def reuse_of(keys: np.ndarray, most: int, lot: int = 1000) -> Reuse:
    made = Reuse(most)
    for at in range(0, len(keys), lot):
        part = keys[at : at + lot].astype(np.uint64)
        rows = np.arange(at, at + len(part))
        made.add(part, rows * 10, rows)
    return made


@given(st.lists(st.integers(0, 30), min_size=1, max_size=300), st.integers(1, 100))
def test_distances_are_mattsons(keys: list[int], lot: int) -> None:
    exact = mattson(keys)
    again = sorted(d for d in exact if d is not None)
    made = reuse_of(np.array(keys), BIG, lot)
    assert made.first_share() == pytest.approx(exact.count(None) / len(keys))
    for cache in (1, 2, 5, 100):
        assert made.hit_ratio(cache) == pytest.approx(sum(d < cache for d in again) / len(keys), abs=1e-9)
    bins = made.distances()
    if again:
        assert bins is not None
        assert np.repeat(bins.low, bins.total.astype(int)).tolist() == again  # below 100 each has a bin of its own


def test_distances_over_many_lots_go_on_where_the_last_lot_ended() -> None:
    keys = np.tile(np.arange(700), 400)  # 280,000 requests: five lots
    made = reuse_of(keys, BIG, 4096)
    bins = made.distances()
    assert bins is not None and bins.low.tolist() == bins.high.tolist() == [699]
    times = made.times()
    assert times is not None and times.low.tolist() == [7000] and times.total.sum() == len(keys) - 700


@pytest.mark.parametrize("law", ["zipf", "uniform", "scan and hot set"])
def test_sampled_hit_ratios_are_near_the_exact_ones(law: str) -> None:
    rng = np.random.default_rng(4)
    count = 300_000
    keys = {
        "zipf": rng.zipf(1.3, count) % 50_000,
        "uniform": rng.integers(0, 30_000, count),
        "scan and hot set": np.where(rng.random(count) < 0.5, rng.integers(0, 2000, count), 10_000 + np.arange(count) % 60_000),
    }[law]
    exact, sampled = reuse_of(keys, BIG, 8192), reuse_of(keys, 2048, 8192)
    assert exact.share == 1 and sampled.share < 0.5
    for cache in (1, 100, 1000, 2000):
        assert sampled.hit_ratio(cache) == pytest.approx(exact.hit_ratio(cache), abs=1e-9)
    for cache in (3000, 5000, 20_000, 50_000):
        assert sampled.hit_ratio(cache) == pytest.approx(exact.hit_ratio(cache), abs=0.02)
    assert sampled.first_share() == pytest.approx(exact.first_share(), abs=0.01)


def test_only_so_many_keys_are_followed() -> None:
    made = reuse_of(np.arange(500_000), 1000, 65_536)
    assert made.first_share() == pytest.approx(1, abs=0.1)
    assert len(made._near.keys) <= 1000
    assert made._far is not None and len(made._far.keys) <= 1000


def test_a_hot_key_is_never_missed() -> None:
    """A sample of keys that lacks it would see too few short distances: here half of all requests are for one key."""
    rng = np.random.default_rng(9)
    keys = np.where(rng.random(200_000) < 0.5, 1, 10 + rng.integers(0, 50_000, 200_000))
    exact, sampled = reuse_of(keys, BIG, 8192), reuse_of(keys, 512, 8192)
    assert sampled.hit_ratio(1) == pytest.approx(exact.hit_ratio(1), abs=1e-9)
    assert sampled.hit_ratio(25_000) == pytest.approx(exact.hit_ratio(25_000), abs=0.03)


def test_nothing_added_has_no_distances() -> None:
    made = Reuse()
    assert made.distances() is None and made.first_share() == 0 and made.hit_ratio(10) == 0
