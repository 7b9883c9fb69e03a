"""Transforms that change when requests come, and how many."""

import numpy as np
import pyarrow as pa
import pytest

from tests.unit.traces.rows import arrivals, column, table, trace_of, variation
from tests.unit.traces.transforms.bending import bent, dose, held, same_but
from traces.errors import InvalidInput
from traces.transforms import TransformSpec, apply


@pytest.mark.parametrize("cv", [1.2, 2, 5, 12])
@pytest.mark.parametrize("dwell", ["1s", "50ms"])
def test_mmpp_hits_its_variation_and_changes_times_alone(cv: float, dwell: str) -> None:
    before = held()
    modulated = bent(before, "mmpp", cv, dwell=dwell)
    times = arrivals(modulated)
    assert variation(times) == pytest.approx(cv, rel=0.02)
    assert (np.diff(times) >= 0).all() and (times[0], times[-1]) == (arrivals(before)[0], arrivals(before)[-1])
    same_but(before, modulated, ["arrival_ns"])


def test_bursts_of_mmpp_last_and_those_of_burst_do_not() -> None:
    def clustering(name: str) -> float:
        gaps = np.diff(arrivals(bent(held(), name, 4.0)))
        short = (gaps < gaps.mean()).astype(float)
        return float(np.corrcoef(short[:-1], short[1:])[0, 1])

    assert clustering("mmpp") > 0.1 > 0.03 > abs(clustering("burst"))


def test_mmpp_refuses_what_it_cannot_show() -> None:
    few = trace_of({"key_id": np.arange(200, dtype=np.uint64)})
    with pytest.raises(InvalidInput, match="quiet state"):
        bent(few, "mmpp", 30)
    with pytest.raises(InvalidInput, match="above 1"):
        bent(few, "mmpp", 0.5)


@pytest.mark.parametrize("amplitude", [0, 0.3, 1])
def test_diurnal_swings_by_its_amplitude_and_keeps_count_and_span(amplitude: float) -> None:
    before = held()
    swinging = bent(before, "diurnal", amplitude, period="2s", phase="0.25")
    same_but(before, swinging, ["arrival_ns"])
    times = arrivals(swinging)
    assert (np.diff(times) >= 0).all() and (times[0], times[-1]) == (arrivals(before)[0], arrivals(before)[-1])
    assert dose(swinging, before, "diurnal", period="2s") == pytest.approx(amplitude, abs=0.02)
    begins = times - times[0] < 100_000_000  # at phase a quarter the rate is at its highest
    assert begins.sum() / 1000 == pytest.approx(1 + amplitude, rel=0.12)


def test_a_phase_shift_and_the_rest_of_its_round_give_the_trace_back() -> None:
    before = trace_of({"arrival_ns": np.array([3, 9, 9, 20, 41]) * 10**6, "key_id": np.arange(5, dtype=np.uint64)}, lot=2)
    there = bent(before, "phase_shift", "10ms", period="50ms")
    assert arrivals(there).tolist() == [n * 10**6 for n in (10, 31, 43, 49, 49)] and column(there, "key_id") == [3, 4, 0, 1, 2]
    back = bent(there, "phase_shift", "40ms", period="50ms")
    assert table(back).equals(table(before))
    assert there.meta.transforms[-1]["period_ns"] == 50 * 10**6
    with pytest.raises(InvalidInput, match="more than the last arrival"):
        bent(before, "phase_shift", "10ms", period="20ms")
    for wrong in ("120%", "-3s", None, "10"):
        with pytest.raises(InvalidInput, match="expected"):
            bent(before, "phase_shift", wrong)


def test_superposed_copies_add_up_and_ask_for_the_same_as_often() -> None:
    before = trace_of({"key_id": np.arange(1000, dtype=np.uint64), "session_id": np.zeros(1000, np.uint64)}, lot=64)
    tripled = bent(before, "superpose", 3)
    assert sorted(column(tripled, "key_id")) == sorted(3 * list(range(1000)))
    assert (np.diff(arrivals(tripled)) >= 0).all() and column(tripled, "seq") == list(range(3000))
    assert len(set(column(tripled, "session_id"))) == 3
    assert dose(tripled, before, "superpose") == 3
    assert table(bent(before, "superpose", 1)).equals(table(before))


def test_equal_arrivals_of_copies_come_out_the_same_however_the_rows_come_in_lots() -> None:
    stamps = np.sort(np.random.default_rng(1).integers(0, 20, 500)) * 10**6
    given = {"arrival_ns": stamps, "key_id": np.arange(500, dtype=np.uint64)}
    ways = [column(bent(trace_of(given, lot=lot), "superpose", 4), "key_id") for lot in (1, 3, 64, 500)]
    assert all(way == ways[0] for way in ways)


def test_mix_brings_the_share_and_keeps_rate_and_keys_apart() -> None:
    before = held()
    mixed = bent(before, "mix", "poisson:300,keys=50,get=0,for=3s", share="0.3")
    assert table(mixed).num_rows == pytest.approx(100_000, rel=0.02)
    keys, largest = np.array(column(mixed, "key_id")), max(column(before, "key_id"))
    other = keys > largest
    assert other.mean() == pytest.approx(0.3, abs=0.01)
    assert (np.diff(arrivals(mixed)) >= 0).all() and column(mixed, "seq") == list(range(len(keys)))
    assert set(np.array(column(mixed, "op"))[other]) == {"set"}
    halves = np.array_split(other, 2)
    assert halves[0].mean() == pytest.approx(halves[1].mean(), abs=0.02), "all along, not at its start"
    shared = np.array(column(bent(before, "mix", "poisson:300,keys=50,for=3s", share="0.3", keys="shared"), "key_id"))
    assert shared.max() == largest


def test_mix_refuses_another_kind() -> None:
    with pytest.raises(InvalidInput, match="of kind http; expected that of"):
        bent(held(1000), "mix", "poisson:300,kind=http,for=3s")


@pytest.mark.parametrize(("by", "owner"), [("key", "key_id"), ("client", "client"), ("session", "session_id")])
def test_thinning_by_owner_takes_whole_owners(by: str, owner: str) -> None:
    rows = 20_000
    who = np.random.default_rng(1).integers(0, 500, rows)
    trace = trace_of(
        {
            "key_id": who.astype(np.uint64),
            "client": pa.array([f"c{n}" for n in who]).dictionary_encode(),
            "session_id": who.astype(np.uint64),
        },
        lot=777,
    )
    left = bent(trace, "rate_scale", 0.5, by=by)
    kept, all_of = set(column(left, owner)), column(trace, owner)
    assert column(left, owner) == [each for each in all_of if each in kept]
    assert len(kept) / 500 == pytest.approx(0.5, abs=0.08)
    with pytest.raises(InvalidInput, match="what is thinned"):
        bent(trace, "rate_scale", 2, by=by)


def test_thinning_by_what_requests_do_not_say_is_refused() -> None:
    with pytest.raises(InvalidInput, match="name no client"):
        list(bent(held(1000), "rate_scale", 0.5, by="client").batches())


def test_shuffled_gaps_keep_their_law_and_lose_their_order() -> None:
    before = bent(held(), "mmpp", 4)
    shuffled = bent(before, "shuffle", "gaps")
    same_but(before, shuffled, ["arrival_ns"])
    old, new = np.diff(arrivals(before)), np.diff(arrivals(shuffled))
    # The first row's gap is the one from the start, and takes part.
    assert sorted(np.append(old, 0).tolist()) == sorted(np.append(new, arrivals(shuffled)[0] - arrivals(before)[0]).tolist())
    assert abs(np.corrcoef(new[:-1] < new.mean(), new[1:] < new.mean())[0, 1]) < 0.02


def test_shuffled_order_moves_whole_requests_and_leaves_the_arrivals() -> None:
    before = held(3000)
    shuffled = bent(before, "shuffle", "order")
    assert (arrivals(shuffled) == arrivals(before)).all()
    pairs = [sorted(zip(column(each, "key_id"), column(each, "op"), strict=True)) for each in (before, shuffled)]
    assert pairs[0] == pairs[1] and column(before, "key_id") != column(shuffled, "key_id")


def test_a_chain_is_applied_in_order_and_stands_in_the_metadata() -> None:
    chain = [TransformSpec("zipf", 1.2), TransformSpec("burst", 4.0), TransformSpec("size_scale", 2.0)]
    made = apply(held(), chain, 5)
    assert [record["name"] for record in made.meta.transforms] == ["zipf", "burst", "size_scale"]
    assert made.meta.transforms[0]["objects"] == 2000
    assert table(made).equals(table(apply(held(), chain, 5))), "same seed, same rows"
    assert variation(arrivals(made)) == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize(
    ("name", "value", "options"),
    [
        ("burst", 2, {}), ("mmpp", 2, {}), ("diurnal", 0.5, {}), ("loop", "10s", {}), ("phase_shift", "1s", {}), ("grow", 0.5, {}),
        ("churn", 0.5, {}), ("hotset_shift", 0.5, {"hot": "0.1"}), ("correlated_burst", 0.5, {}),
    ],
)  # fmt: skip
def test_requests_at_one_instant_have_no_time_to_bend(name: str, value: float | str, options: dict[str, str]) -> None:
    keys = (np.arange(1000) % 100).astype(np.uint64)
    at_once = trace_of({"arrival_ns": np.full(1000, 7), "key_id": keys})
    with pytest.raises(
        InvalidInput, match=rf"^transform {name}: all 1,000 requests of held are at one instant; expected times between"
    ) as raised:
        bent(at_once, name, value, **options)
    assert "spread=poisson" in str(raised.value) and "\n" not in str(raised.value)
    times = np.full(1000, 7)
    times[-1] = 10**9
    next(iter(bent(trace_of({"arrival_ns": times, "key_id": keys}), name, value, **options).batches()))
