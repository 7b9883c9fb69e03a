"""Distances between traces: each transform moves its own dimension, and two samples of one workload are not told apart."""

import numpy as np
import pytest

from tests.unit.traces.rows import real, trace_of
from traces.distance import BENT, DIMENSIONS, Comparison, compare, compare_traces
from traces.portrait import Portrait, portrait_of
from traces.source import open_trace
from traces.transforms import TransformSpec, apply, transforms

RECIPE = "poisson:5000,keys=2000,zipf=0.9,size=lognormal:300:1,get=0.8,rows=40000"


def made(seed: int = 1, recipe: str = RECIPE) -> Portrait:
    return portrait_of(open_trace(recipe, seed=seed))


def bent(name: str, value: float | str) -> Comparison:
    trace = open_trace(RECIPE, seed=1)
    return compare(portrait_of(trace), portrait_of(apply(trace, [TransformSpec(name, value)], 3)), same_keys=True)


def off(found: Comparison) -> set[str]:
    return {each.dimension for each in found.distances if each.beyond_noise}


def test_a_trace_lies_at_0_from_itself_in_every_dimension() -> None:
    found = compare(made(), made())
    assert [each.apart.wasserstein for each in found.distances] == [0] * len(found.distances)
    assert {"rate", "gaps", "burstiness", "ops", "popularity", "reuse", "req_bytes", "resp_bytes"} == {
        each.dimension for each in found.distances
    }
    assert found.words == "nothing beyond chance: these may be two samples of one workload"


def test_the_way_round_does_not_matter() -> None:
    a, b = made(), made(2, "constant:900,keys=50,size=pareto:10:1.5,get=0.5,rows=9000")
    there, back = compare(a, b), compare(b, a)
    assert [(each.dimension, each.apart, each.floor) for each in there.distances] == [
        (each.dimension, each.apart, each.floor) for each in back.distances
    ]
    assert [each.a for each in there.distances] == [each.b for each in back.distances]


def test_two_samples_of_one_workload_are_not_told_apart() -> None:
    pairs = [compare(made(seed), made(seed + 100)) for seed in range(4)]
    told = [each.beyond_noise for pair in pairs for each in pair.distances]
    assert sum(told) <= 0.1 * len(told), [each.words for pair in pairs for each in pair.distances if each.beyond_noise]


@pytest.mark.parametrize(
    ("name", "value", "dimensions"),
    [
        ("speedup", 2, {"rate"}),
        ("burst", 4, {"gaps", "burstiness", "rate"}),
        ("op_mix", 0.5, {"ops"}),
    ],
)
def test_a_transform_moves_its_own_dimension_alone(name: str, value: float | str, dimensions: set[str]) -> None:
    found = bent(name, value)
    moved = off(found)
    assert dimensions <= moved
    beside = [each for each in found.distances if each.dimension in moved - dimensions - {"req_bytes", "resp_bytes"}]
    assert not beside, [each.words for each in beside]


def test_a_speedup_of_2_lies_a_third_away_in_rate() -> None:
    found = bent("speedup", 2).in_dimension("rate")
    assert found is not None and found.apart.wasserstein == pytest.approx(1 / 3, abs=0.01)
    assert "requests per second: 0.33" in found.words and "mean 5,0" in found.words


def test_another_exponent_moves_popularity_and_reuse() -> None:
    found = compare(made(), made(recipe=RECIPE.replace("zipf=0.9", "zipf=1.2")))
    assert {"popularity", "reuse"} <= off(found)
    assert not {"rate", "gaps", "burstiness", "ops"} & off(found)


def test_other_names_for_the_keys_change_nothing() -> None:
    keys = np.random.default_rng(1).zipf(1.5, 20_000).astype(np.uint64) % 1000
    named = np.random.default_rng(2).permutation(1 << 20)[keys].astype(np.uint64)
    found = compare_traces(trace_of({"key_id": keys}), trace_of({"key_id": named}))
    assert {each.dimension: each.apart.wasserstein for each in found.distances if each.dimension in ("popularity", "reuse")} == {
        "popularity": 0,
        "reuse": 0,
    }


def test_a_shuffle_moves_reuse_and_leaves_popularity() -> None:
    keys = np.repeat(np.arange(2000, dtype=np.uint64), 10)
    mixed = np.random.default_rng(1).permutation(keys)
    found = compare_traces(trace_of({"key_id": keys}), trace_of({"key_id": mixed}))
    assert off(found) == {"reuse"}


def test_what_only_one_has_is_said() -> None:
    plain = trace_of({"seq": np.arange(100, dtype=np.uint64)})
    found = compare_traces(plain, trace_of({"key_id": np.arange(100, dtype=np.uint64) % 10}))
    assert found.only_b == ("popularity", "reuse") and found.only_a == ()
    assert "only one has popularity" in found.words


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_traces_of_a_few_rows_are_compared_and_all_is_chance(rows: int) -> None:
    few = trace_of({"key_id": np.arange(rows, dtype=np.uint64)})
    found = compare_traces(few, trace_of({"key_id": np.arange(50, dtype=np.uint64)}))
    assert found.distances and all(
        0 <= each.apart.wasserstein <= each.floor.wasserstein for each in found.distances if each.dimension == "ops"
    )


def test_azures_code_and_conversation_services_lie_apart_in_tokens_and_bursts() -> None:
    code, conversation = (portrait_of(open_trace(real(f"azure_llm_2023/AzureLLMInferenceTrace_{which}.csv"))) for which in ("code", "conv"))
    found = compare(code, conversation)
    assert {"gaps", "burstiness", "prompt_tokens", "output_tokens", "rate"} <= off(found)
    assert set(found.distances[0].to_json()) == {"dimension", "what", "unit", "beyond_noise", "words", "distance", "floor", "a", "b"}


def test_every_dimension_says_what_it_is() -> None:
    assert all(what and callable(laws) for what, _, laws in DIMENSIONS.values())


def test_what_every_transform_says_that_it_changes_has_dimensions() -> None:
    unknown = {name: each.changes for name, each in transforms().items() if each.changes.split(" (")[0] not in BENT}
    assert not unknown
    assert all(dimension in DIMENSIONS for dimensions in BENT.values() for dimension in dimensions)
