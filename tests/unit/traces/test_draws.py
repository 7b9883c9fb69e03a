import numpy as np
import pytest

from tests.unit.traces.rows import facts
from traces.draws import draw, draw_all, mix, mix_all, scale_all, service_ns, slot_offsets, stream

ENTITY = "b9386d10c889ce4ca90550f25debd35474be8d8ec0dce2cfaf3824a3276ee505"


def offsets(seed: int, entity: str, slot: int, count: int, slot_ns: int, mode: str) -> list[int]:
    places = slot_offsets(
        stream(seed, entity, "arrival"),
        np.full(count, slot, dtype=np.uint64),
        np.arange(count, dtype=np.uint64),
        np.full(count, count, dtype=np.uint64),
        slot_ns,
        mode,
    )
    return sorted(places.tolist())


def test_draws_reproduce_the_published_vectors() -> None:
    assert mix(0) == 0xE220A8397B1DCDAF
    assert stream(42, ENTITY, "arrival") == 0x3193D42C0681928B
    assert draw(stream(42, ENTITY, "arrival"), 481, 0) == 0x1AA3253DBC859D06
    minute = 60 * 10**9
    assert offsets(42, ENTITY, 481, 5, minute, "poisson") == [
        6243114141, 25103309512, 39215348006, 43685221361, 46987866345,
    ]  # fmt: skip
    assert offsets(42, ENTITY, 481, 4, minute, "equidistant") == [
        12986612987, 27986612987, 42986612987, 57986612987,
    ]  # fmt: skip
    assert offsets(7, "x", 0, 3, 10**9, "poisson") == [309300417, 373450498, 545399242]
    assert offsets(7, "x", 0, 3, 10**9, "start") == [0, 0, 0]


def test_draws_reproduce_every_vector_that_comes_with_the_traces() -> None:
    vectors = facts("_expand_test_vectors")
    entity, seed = vectors["entity"], vectors["seed"]
    assert offsets(seed, entity, 481, 5, 60 * 10**9, "poisson") == vectors["poisson slot=481 count=5 60s"]
    assert offsets(seed, entity, 481, 4, 60 * 10**9, "equidistant") == vectors["equidistant slot=481 count=4 60s"]
    points = [(0, 10**6), (500_000, 10**7), (1_000_000, 10**8)]
    said = vectors["service idx=0..2 pts(0:1ms,500000ppm:10ms,1000000ppm:100ms)"]
    assert [service_ns(seed, entity, index, points) for index in range(3)] == said


def test_vectorised_draws_equal_the_scalar_ones() -> None:
    values = [0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1]
    array = np.array(values, dtype=np.uint64)
    assert mix_all(array).tolist() == [mix(value) for value in values]
    key = stream(3, "e", "p")
    assert draw_all(key, array, array[::-1]).tolist() == [draw(key, slot, index) for slot, index in zip(values, values[::-1], strict=True)]
    for width in (1, 10**9, 60 * 10**9, 2**62 + 12345):
        assert scale_all(array, width).tolist() == [(value * width) >> 64 for value in values]


def test_an_unknown_mode_is_an_error() -> None:
    with pytest.raises(ValueError, match="poisson"):
        offsets(1, "x", 0, 1, 10**9, "exponential")
