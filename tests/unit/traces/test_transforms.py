from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.unit.traces.rows import arrivals, column, table, trace_of, variation
from traces.draws import stream
from traces.errors import InvalidInput
from traces.source import open_trace
from traces.stream import Trace
from traces.transforms import TransformSpec, apply, transforms

CONTENT = ("kind", "op", "key_id", "key_bytes", "req_bytes", "resp_bytes")


def bent(trace: Trace, name: str, value: float | str | None = None, seed: int = 1, **options: str) -> Trace:
    return apply(trace, [TransformSpec(name, value, options)], seed)


def contents(trace: Trace) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table(trace).select(list(CONTENT)).to_pylist()
    return rows


@pytest.fixture
def made() -> Trace:
    return open_trace("poisson:10000,keys=500,zipf=0.9,size=lognormal:200:1,rows=100000", seed=3)


def test_every_promised_transform_is_registered() -> None:
    promised = {"speedup", "rate_scale", "burst", "window", "loop", "spread", "shard", "op_mix", "clamp"}
    assert promised <= transforms().keys()


def test_each_transform_stands_in_the_metadata(made: Trace) -> None:
    twice = apply(
        made,
        [TransformSpec("speedup", 2.0), TransformSpec("rate_scale", 0.5), TransformSpec("rate_scale", 0.5)],
        9,
    )
    assert [record["name"] for record in twice.meta.transforms] == ["speedup", "rate_scale", "rate_scale"]
    first, second = twice.meta.transforms[1:]
    assert first["seed"] == 9 and second["seed"] != 9, "a second thinning must not keep the very rows of the first"
    assert table(twice).num_rows == pytest.approx(25_000, rel=0.03)


def test_unknown_transforms_options_and_values_are_refused(made: Trace) -> None:
    for name, value, options in [
        ("frob", 1, {}),
        ("speedup", 0, {}),
        ("speedup", "fast", {}),
        ("speedup", 2, {"index": "1"}),
        ("burst", -1, {}),
        ("window", "20s..10s", {}),
        ("window", "10s", {}),
        ("loop", "0s", {}),
        ("spread", "even", {}),
        ("shard", 0, {}),
        ("shard", 2, {"index": "2"}),
        ("op_mix", 1.5, {}),
        ("clamp", None, {}),
        ("rate_scale", None, {}),
    ]:
        with pytest.raises(InvalidInput) as error:
            list(bent(made, name, value, **options).batches())
        assert name in str(error.value) and "expected" in str(error.value) and "\n" not in str(error.value)


def test_speedup_changes_times_alone(made: Trace) -> None:
    faster = bent(made, "speedup", 4.0)
    assert contents(faster) == contents(made) and column(faster, "seq") == column(made, "seq")
    assert np.abs(arrivals(faster) * 4 - arrivals(made)).max() <= 2


@pytest.mark.parametrize("cv", [0, 0.3, 1, 2.5, 8, 30])
def test_burst_hits_its_variation_and_keeps_count_order_and_span(made: Trace, cv: float) -> None:
    bursty = bent(made, "burst", cv)
    times, before = arrivals(bursty), arrivals(made)
    assert variation(times) == pytest.approx(cv, rel=0.05, abs=0.01)
    assert (np.diff(times) >= 0).all() and times[0] == before[0]
    assert abs(int(times[-1]) - int(before[-1])) <= 1
    assert contents(bursty) == contents(made)


def test_burst_gaps_come_in_no_order(made: Trace) -> None:
    gaps = np.diff(arrivals(bent(made, "burst", 2.0))).astype(float)
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 0.02
    assert not np.array_equal(gaps, np.diff(arrivals(bent(made, "burst", 2.0, seed=2))))


def test_burst_refuses_what_few_requests_cannot_show() -> None:
    few = trace_of({"key_id": np.arange(20, dtype=np.uint64)})
    with pytest.raises(InvalidInput, match="cannot be shown with 19 gaps"):
        bent(few, "burst", 8)


@pytest.mark.parametrize("factor", [0.1, 0.5, 1, 2, 2.5, 7])
def test_rate_scale_changes_the_count_alone(made: Trace, factor: float) -> None:
    scaled = bent(made, "rate_scale", factor)
    times, before = arrivals(scaled), arrivals(made)
    assert len(times) == pytest.approx(len(before) * factor, rel=0.02)
    assert (np.diff(times) >= 0).all()
    assert times[-1] - times[0] == pytest.approx(int(before[-1] - before[0]), rel=0.001)
    assert variation(times) == pytest.approx(variation(before), rel=0.15)
    assert column(scaled, "seq") == sorted(set(column(scaled, "seq")))
    one, other = (Counter(column(trace, "key_id")) for trace in (made, scaled))
    assert other[0] / len(times) == pytest.approx(one[0] / len(before), rel=0.1), "popularity stays"
    gets = Counter(column(scaled, "op"))["get"] / len(times)
    assert gets == pytest.approx(Counter(column(made, "op"))["get"] / len(before), abs=0.01)


def test_whole_rate_factors_ask_for_everything_as_often_again() -> None:
    trace = trace_of({"key_id": np.arange(1000, dtype=np.uint64), "req_bytes": np.arange(1000)}, lot=64)
    tripled = bent(trace, "rate_scale", 3)
    assert Counter(column(tripled, "key_id")) == {key: 3 for key in range(1000)}
    assert set(zip(column(tripled, "key_id"), column(tripled, "req_bytes"), strict=True)) == {(n, n) for n in range(1000)}
    keys = column(tripled, "key_id")
    assert sum(a == b for a, b in pairwise(keys)) < 10, "a copy is not the request beside it"
    gaps = np.diff(arrivals(tripled))
    assert gaps[:-3].min() >= 333_332 and gaps[:-3].max() <= 333_335


def test_added_requests_have_sessions_of_their_own_and_no_parents() -> None:
    trace = trace_of(
        {
            "session_id": np.zeros(100, dtype=np.uint64),
            "parent_seq": pa.array([None, *range(99)], pa.uint64()),
        },
        kind="llm",
        op="chat",
        causality="session",
    )
    doubled = bent(trace, "rate_scale", 2)
    assert sorted(Counter(column(doubled, "session_id")).values()) == [100, 100]
    assert set(column(doubled, "parent_seq")) == {None} and "causal" in doubled.meta.loss_notes
    halved = bent(trace, "rate_scale", 0.5)
    kept = set(column(halved, "seq"))
    assert all(parent is None or parent in kept for parent in column(halved, "parent_seq"))


def test_window_cuts_and_moves_to_zero() -> None:
    trace = trace_of({"key_id": np.arange(100, dtype=np.uint64)}, lot=7, source_offset_ns=5)
    cut = bent(trace, "window", "10ms..20ms")
    assert column(cut, "key_id") == list(range(10, 20)) and arrivals(cut).tolist() == [n * 10**6 for n in range(10)]
    assert cut.meta.source_offset_ns == 5 + 10 * 10**6
    assert column(bent(trace, "window", None, **{"from": "95ms"}), "key_id") == [95, 96, 97, 98, 99]


def test_loop_repeats_with_a_recorded_seam() -> None:
    trace = trace_of({"key_id": np.arange(4, dtype=np.uint64), "session_id": np.array([1, 1, 2, 2], dtype=np.uint64)})
    looped = bent(trace, "loop", "10ms")
    assert arrivals(looped).tolist() == [n * 10**6 for n in range(10)]
    assert column(looped, "key_id") == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1] and column(looped, "seq") == list(range(10))
    assert len(set(column(looped, "session_id"))) == 5, "a session of another round is another session"
    record = looped.meta.transforms[0]
    assert record["rounds"] == 3 and record["period_ns"] == 4 * 10**6 and record["seam_ns"] == 10**6


def test_spread_places_requests_inside_their_second_by_the_integer_rule() -> None:
    stamps = np.repeat(np.array([0, 1, 5], dtype=np.int64) * 10**9, [3, 4, 3])
    trace = trace_of(
        {"arrival_ns": stamps, "key_id": np.arange(10, dtype=np.uint64)},
        lot=2,
        name="x",
        arrival_resolution_ns=10**9,
        source_offset_ns=0,
    )
    spread = bent(trace, "spread", "poisson", seed=7)
    times = arrivals(spread)
    assert times[:3].tolist() == [309300417, 373450498, 545399242], "the published vector"
    assert (times // 10**9).tolist() == (stamps // 10**9).tolist() and column(spread, "key_id") == list(range(10))
    assert spread.meta.arrival_model == "dithered" and spread.meta.expand_seed == 7
    assert spread.meta.arrival_resolution_ns == 1
    even = arrivals(bent(trace, "spread", "equidistant", seed=7))
    assert set(np.diff(even[3:7]).tolist()) == {250_000_000}
    assert arrivals(bent(trace, "spread", "start")).tolist() == stamps.tolist()
    assert stream(7, "x", "arrival") != stream(8, "x", "arrival")


def test_spread_gives_the_same_however_the_rows_come_in_lots() -> None:
    stamps = np.sort(np.random.default_rng(1).integers(0, 20, 500)) * 10**9
    given = {"arrival_ns": stamps, "key_id": np.arange(500, dtype=np.uint64)}
    ways = [arrivals(bent(trace_of(given, lot=lot, arrival_resolution_ns=10**9), "spread", "poisson")).tolist() for lot in (1, 3, 64, 500)]
    assert all(way == ways[0] for way in ways)


def test_requests_without_times_are_placed_at_a_rate() -> None:
    trace = trace_of({"arrival_ns": np.zeros(5000, dtype=np.int64)}, lot=99, arrival_model="none")
    with pytest.raises(InvalidInput, match="no times at all"):
        bent(trace, "spread", "poisson")
    even = arrivals(bent(trace, "spread", "equidistant", rate="1000/s"))
    assert even.tolist() == [n * 10**6 for n in range(5000)]
    free = arrivals(bent(trace, "spread", "poisson", rate="1000/s"))
    assert variation(free) == pytest.approx(1, abs=0.05) and free[-1] == pytest.approx(5 * 10**9, rel=0.05)


def test_shards_hold_each_row_once_and_each_key_in_one(made: Trace) -> None:
    parts = [bent(made, "shard", 3, index=str(index)) for index in range(3)]
    seqs = [column(part, "seq") for part in parts]
    assert sorted(seq for part in seqs for seq in part) == column(made, "seq")
    keys = [set(column(part, "key_id")) for part in parts]
    assert not keys[0] & keys[1] and not keys[0] & keys[2] and not keys[1] & keys[2]


def test_op_mix_draws_ops_and_keeps_sizes_with_their_keys(made: Trace) -> None:
    mixed = bent(made, "op_mix", 0.25)
    ops = Counter(column(mixed, "op"))
    assert ops["get"] / ops.total() == pytest.approx(0.25, abs=0.01)
    assert column(mixed, "key_id") == column(made, "key_id") and (arrivals(mixed) == arrivals(made)).all()
    assert table(mixed)["req_bytes"].null_count == ops["get"] and table(mixed)["resp_bytes"].null_count == ops["set"]
    with pytest.raises(InvalidInput, match="expected kv"):
        bent(trace_of({"prompt_tokens": np.array([1], dtype=np.int32)}, kind="llm", op="chat"), "op_mix", 0.5)


def test_clamp_cuts_sizes_alone() -> None:
    trace = trace_of({"req_bytes": np.array([1, 5000, 70_000]), "resp_bytes": pa.array([None, 9, 70_000])})
    cut = bent(trace, "clamp", "4KiB")
    assert column(cut, "req_bytes") == [1, 4096, 4096] and column(cut, "resp_bytes") == [None, 9, 4096]
    assert column(bent(trace, "clamp", None, resp_bytes="8"), "req_bytes") == [1, 5000, 70_000]


def test_adding_a_transform_moves_no_draw_of_the_others(made: Trace) -> None:
    alone = bent(made, "op_mix", 0.5)
    beside = apply(made, [TransformSpec("speedup", 3.0), TransformSpec("op_mix", 0.5)], 1)
    assert column(alone, "op") == column(beside, "op")
