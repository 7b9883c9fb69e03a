"""Transforms that change what requests are for: which keys, how often, and when."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.unit.traces.rows import arrivals, column, table, trace_of
from tests.unit.traces.transforms.bending import IDENTITY, bent, dose, held, same_but
from traces.characterise import describe
from traces.errors import InvalidInput
from traces.objects import objects_of, occurrence
from traces.source import open_trace
from traces.transforms import TransformSpec, transforms
from traces.transforms.hotset_shift import _Shifting


@pytest.fixture(scope="module")
def million():  # type: ignore[no-untyped-def]
    from traces.source import open_trace

    return open_trace("poisson:100000,keys=50000,zipf=0.9,rows=1000000", seed=3)


@pytest.mark.parametrize("exponent", [0.6, 1.2])
def test_zipf_hits_its_exponent_on_a_million_rows_by_slope_and_by_likelihood(million, exponent: float) -> None:  # type: ignore[no-untyped-def]
    remapped = bent(million, "zipf", exponent)
    assert describe(remapped)["popularity"]["zipf_ols"] == pytest.approx(exponent, abs=0.03)
    assert dose(remapped, million, "zipf") == pytest.approx(exponent, abs=0.03)


@pytest.mark.parametrize("exponent", [0, 0.9, 2.5])
def test_zipf_changes_keys_alone(exponent: float) -> None:
    before = held()
    remapped = bent(before, "zipf", exponent)
    same_but(before, remapped, IDENTITY)
    assert set(column(remapped, "key_id")) <= set(column(before, "key_id")), "no key that the trace has not"


def test_zipf_moves_no_request_of_a_trace_that_follows_the_law() -> None:
    ideal = bent(held(), "zipf", 1.1)
    again = bent(ideal, "zipf", 1.1, seed=2)
    moved = sum(a != b for a, b in zip(column(ideal, "key_id"), column(again, "key_id"), strict=True))
    # Objects without a request are no longer known, so the law ends earlier: next to nothing moves.
    assert moved < 0.01 * 100_000
    assert again.meta.transforms[-1]["requests_moved"] == moved


def test_zipf_of_zero_asks_for_all_alike_and_keeps_who_is_popular_above_it() -> None:
    counts = Counter(column(bent(held(), "zipf", 0), "key_id")).values()
    assert max(counts) - min(counts) <= 1
    first = Counter(column(held(), "key_id")).most_common(1)[0][0]
    assert Counter(column(bent(held(), "zipf", 1.5), "key_id")).most_common(1)[0][0] == first


def test_zipf_renames_paths_where_requests_have_no_keys() -> None:
    paths = pa.array([f"/{n % 7}" for n in range(7000)]).dictionary_encode()
    trace = trace_of({"target": paths, "resp_bytes": np.arange(7000)}, kind="http", op="GET", lot=512)
    steep = bent(trace, "zipf", 2)
    same_but(trace, steep, ["target"])
    assert Counter(column(steep, "target")).most_common(1)[0][1] == pytest.approx(7000 / sum(n**-2.0 for n in range(1, 8)), abs=2)


def test_rows_without_a_key_stay_as_they_are() -> None:
    keys = pa.array([None if n % 3 == 0 else n % 5 for n in range(300)], pa.uint64())
    remapped = bent(trace_of({"key_id": keys}, lot=64), "zipf", 3)
    assert [key is None for key in column(remapped, "key_id")] == [n % 3 == 0 for n in range(300)]


def test_requests_for_nothing_have_no_popularity() -> None:
    with pytest.raises(InvalidInput, match="name no key, path or function"):
        bent(trace_of({"req_bytes": np.arange(9)}, kind="flow", op="send"), "zipf", 1)


def test_objects_are_the_same_however_the_rows_come_in_lots() -> None:
    keys = np.random.default_rng(1).zipf(1.4, 5000).astype(np.uint64)
    ways = [objects_of(trace_of({"key_id": keys}, lot=lot), "it") for lot in (1, 63, 5000)]
    assert all(way.columns["key_id"].equals(ways[0].columns["key_id"]) for way in ways)
    assert ways[0].rows == 5000 and (np.diff(ways[0].counts) <= 0).all()


def test_occurrence_counts_equal_values_before() -> None:
    assert occurrence(np.array([5, 3, 5, 5, 3])).tolist() == [0, 0, 1, 2, 1]
    assert occurrence(np.array([], dtype=np.int64)).tolist() == []


def test_amplified_keys_are_that_many_times_as_many_and_only_they_change() -> None:
    before = held()
    wide = bent(before, "key_amplify", 8)
    same_but(before, wide, ["key_id"])
    assert dose(wide, before, "key_amplify") == pytest.approx(8, rel=0.05)
    keys, copies = np.array(column(before, "key_id")), np.array(column(wide, "key_id"))
    stride = int(keys.max()) + 1
    assert (copies % stride == keys).all() and set((copies // stride).tolist()) == set(range(8))


def test_copies_of_keys_that_are_hashes_are_hashes_that_meet_none() -> None:
    keys = np.array([2**64 - 1, 5, 2**63] * 400, dtype=np.uint64)
    wide = column(bent(trace_of({"key_id": keys}), "key_amplify", 4), "key_id")
    assert len(set(wide)) == 12 and {2**64 - 1, 5, 2**63} <= set(wide)


def test_copies_of_paths_have_a_suffix() -> None:
    trace = trace_of({"target": pa.array(["/a", "/b"] * 300).dictionary_encode()}, kind="http", op="GET")
    assert set(column(bent(trace, "key_amplify", 3), "target")) == {"/a", "/a~1", "/a~2", "/b", "/b~1", "/b~2"}


def test_a_device_has_no_second_set_of_sectors() -> None:
    trace = trace_of({"offset_bytes": np.arange(9) * 512}, kind="block", op="read")
    with pytest.raises(InvalidInput, match="second set of sectors"):
        bent(trace, "key_amplify", 2)


def test_the_working_set_grows_by_the_asked_share_in_a_period() -> None:
    before = held()
    grown = bent(before, "grow", 0.5, period="2s")
    same_but(before, grown, ["key_id"])
    assert dose(grown, before, "grow", period="2s") == pytest.approx(0.5, rel=0.25)
    keys, seconds = np.array(column(grown, "key_id")), arrivals(grown) // 10**9
    distinct = [len(set(keys[seconds == second].tolist())) for second in (0, 9)]
    assert distinct[1] > 1.5 * distinct[0]


def test_the_hot_set_moves_and_popularity_within_a_period_stays() -> None:
    before = held()
    moved = bent(before, "hotset_shift", 0.25, period="1s")
    same_but(before, moved, IDENTITY)
    assert dose(moved, before, "hotset_shift", period="1s") == pytest.approx(0.25, abs=0.08)
    second = arrivals(before) // 10**9
    old, new = (np.array(column(each, "key_id")) for each in (before, moved))
    for each in (0, 5):
        counts = [sorted(Counter(keys[second == each].tolist()).values()) for keys in (old, new)]
        assert counts[0] == counts[1], "a permutation of the objects"
    assert (old[second == 0] == new[second == 0]).all()


def test_churn_deletes_and_inserts_each_key_that_it_replaces() -> None:
    before = held(50_000)
    churned = bent(before, "churn", 0.2, period="1s")
    ops, born = Counter(column(churned, "op")), set(column(churned, "key_id")) - set(column(before, "key_id"))
    rows = table(churned).select(["op", "key_id", "req_bytes", "resp_bytes"]).to_pylist()
    first: dict[int, str] = {}
    deleted: set[int] = set()
    for row, after in zip(rows, [*rows[1:], None], strict=True):
        key = row["key_id"]
        first.setdefault(key, row["op"])
        assert key not in deleted, "nobody asks for what was deleted"
        if row["op"] == "delete":
            deleted.add(key)
            assert row["req_bytes"] is None and row["resp_bytes"] is None
            assert after is not None and after["op"] == "set" and after["key_id"] in born
    assert {first[key] for key in born} == {"set"} and ops["delete"] == len(born)
    assert table(churned).num_rows == 50_000 + ops["delete"]
    assert column(churned, "seq") == list(range(50_000 + ops["delete"])) and (np.diff(arrivals(churned)) >= 0).all()


def test_churn_without_ops_changes_keys_alone_by_the_asked_share() -> None:
    before = held()
    churned = bent(before, "churn", 0.2, period="1s", ops="none")
    same_but(before, churned, ["key_id"])
    assert dose(churned, before, "churn", period="1s") == pytest.approx(0.2, abs=0.04)


def test_a_crowd_takes_its_share_of_the_requests_in_its_moments_alone() -> None:
    before = held()
    crowded = bent(before, "correlated_burst", 0.6, every="2s", keys="3", **{"for": "500ms"})
    same_but(before, crowded, IDENTITY)
    assert dose(crowded, before, "correlated_burst", every="2s", keys="3", **{"for": "500ms"}) == pytest.approx(0.6, abs=0.03)
    place = (arrivals(before) - arrivals(before)[0]) % (2 * 10**9)
    inside = (place >= 75 * 10**7) & (place < 125 * 10**7)
    old, new = (np.array(column(each, "key_id")) for each in (before, crowded))
    assert (old[~inside] == new[~inside]).all()


def test_a_crowd_with_a_rate_comes_in_time_too() -> None:
    before = held()
    crowded = bent(before, "correlated_burst", 0, every="2s", rate="3", **{"for": "500ms"})
    times = arrivals(crowded) - arrivals(crowded)[0]
    assert len(times) == 100_000 and (np.diff(times) >= 0).all()
    whole = times[times < 8 * 10**9] % (2 * 10**9)
    inside = ((whole >= 75 * 10**7) & (whole < 125 * 10**7)).sum()
    assert inside / 0.5 / ((len(whole) - inside) / 1.5) == pytest.approx(3, rel=0.05)


def test_shuffled_keys_keep_popularity_and_lose_their_order() -> None:
    keys = np.repeat(np.arange(100, dtype=np.uint64), 50)
    before = trace_of({"key_id": keys, "resp_bytes": np.arange(5000)}, lot=300)
    shuffled = bent(before, "shuffle", "keys")
    same_but(before, shuffled, ["key_id"])
    after = np.array(column(shuffled, "key_id"))
    assert Counter(after.tolist()) == Counter(keys.tolist())
    assert (after[1:] == after[:-1]).mean() < 0.03
    near = np.array(column(bent(before, "shuffle", "keys", window="100"), "key_id"))
    assert (np.sort(near.reshape(-1, 100), axis=1) == keys.reshape(-1, 100)).all(), "order beyond the window stays"


def test_objects_are_counted_by_the_paths_that_rows_use_whatever_their_dictionary_holds_besides() -> None:
    paths = pa.array(["/a", "/b", "/a", None, "/c", "/a"]).dictionary_encode()
    ways = [objects_of(trace_of({"target": paths}, kind="http", op="GET", lot=lot), "it") for lot in (1, 2, 6)]
    for each in ways:
        assert each.columns["target"].to_pylist() == ways[0].columns["target"].to_pylist()
        assert each.counts.tolist() == [3, 1, 1] and each.columns["target"][0].as_py() == "/a"


@pytest.mark.parametrize(
    ("share", "period", "where"),
    [
        (0.1, "2s", "keys=500,zipf=0.9"),
        (0.3, "2s", "keys=500,zipf=0.9"),
        (0.5, "5s", "keys=500,zipf=0.9"),
        (0.3, "2s", "keys=10000,zipf=1.1"),
    ],
)
def test_a_moved_hot_set_is_read_back_object_by_object(share: float, period: str, where: str) -> None:
    trace = open_trace(f"poisson:10000,{where},for=10s", seed=5)
    slack = max(0.25 * share, 0.05)
    assert dose(bent(trace, "hotset_shift", share, period=period), trace, "hotset_shift", period=period) == pytest.approx(share, abs=slack)
    assert dose(trace, trace, "hotset_shift", period=period) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", ["hotset_shift", "churn"])
def test_what_changes_between_periods_is_not_read_where_there_are_no_two_whole_ones(name: str) -> None:
    trace = open_trace("poisson:2000,keys=200,for=10s", seed=5)
    spec = TransformSpec(name, None, {"period": "7s"})
    made = bent(trace, name, 0.3, period="7s")
    assert transforms()[name].dose(made, trace, spec) is None  # type: ignore[attr-defined]
    assert transforms()[name].dose(made, trace, TransformSpec(name, None, {"period": "5s"})) is not None  # type: ignore[attr-defined]


@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
def test_a_hot_set_shifts_over_periods_in_which_nobody_asks_without_walking_them(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, year_ns = 2000, 365 * 86_400 * 10**9
    times = np.concatenate((np.arange(rows) * 10**6, year_ns + np.arange(rows) * 10**6))
    trace = trace_of({"arrival_ns": times, "key_id": (np.arange(2 * rows) % 97 % 40).astype(np.uint64)}, lot=256)
    shifts: list[tuple[int, int]] = []
    shift = _Shifting._shift

    def counted(self: _Shifting, stands_for: Any, ring: Any, before: int, period: int) -> None:
        shifts.append((before, period))
        shift(self, stands_for, ring, before, period)

    monkeypatch.setattr(_Shifting, "_shift", counted)
    made = bent(trace, "hotset_shift", share, period="10s")
    keys = np.array(column(made, "key_id"))
    assert shifts == [(0, year_ns // 10**10)]
    assert Counter(keys[:rows]) == Counter(column(trace, "key_id")[:rows]), "the first period is as it was"
    hottest = {key for key, _ in Counter(keys[:rows].tolist()).most_common(10)}
    assert not hottest & {key for key, _ in Counter(keys[rows:].tolist()).most_common(10)}, "after a year none is hot that was"


@pytest.mark.parametrize("growth", [0.1, 0.5, 2.0])
def test_growth_is_read_back_from_the_different_keys_of_each_period(growth: float) -> None:
    trace = open_trace("poisson:5000,keys=300,zipf=0.8,for=10s", seed=5)
    assert dose(bent(trace, "grow", growth, period="2s"), trace, "grow", period="2s") == pytest.approx(growth, rel=0.25)
    assert dose(trace, trace, "grow", period="2s") == 0


def test_growth_of_keys_that_are_asked_for_once_is_not_read() -> None:
    trace = trace_of({"key_id": np.arange(5000, dtype=np.uint64)})
    assert transforms()["grow"].dose(trace, trace, TransformSpec("grow", None, {"period": "1s"})) is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("ops", ["both", "none"])
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_churn_is_read_back_with_its_deletes_left_out(share: float, ops: str) -> None:
    trace = open_trace("poisson:10000,keys=500,zipf=0.9,for=10s", seed=5)
    made = bent(trace, "churn", share, period="2s", ops=ops)
    assert dose(made, trace, "churn", period="2s") == pytest.approx(share, rel=0.25, abs=0.03)
    assert dose(trace, trace, "churn", period="2s") == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_crowd_is_read_back_without_what_chance_brings_together(share: float) -> None:
    trace = open_trace("poisson:10000,keys=1000,zipf=0.6,for=10s", seed=5)
    options = {"every": "2s", "for": "500ms", "keys": "10"}
    assert dose(bent(trace, "correlated_burst", share, **options), trace, "correlated_burst", **options) == pytest.approx(share, abs=0.03)
    assert dose(trace, trace, "correlated_burst", **options) == pytest.approx(0, abs=0.01)


ROWS = 300_000


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0, 5.0, 10.0])
@pytest.mark.parametrize(("keys", "slack"), [(ROWS // 10, 0.002), (ROWS, 0.031)])
def test_zipf_is_read_back_over_all_objects_also_those_that_the_law_leaves_without_a_request(
    exponent: float, keys: int, slack: float
) -> None:
    numbers = np.random.Generator(np.random.PCG64(4)).permutation(np.arange(ROWS) % keys)
    trace = trace_of({"key_id": numbers.astype(np.uint64)})
    assert dose(bent(trace, "zipf", exponent), trace, "zipf") == pytest.approx(exponent, abs=slack)
