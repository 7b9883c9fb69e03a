"""Counts per minute become invocations by the published rule, bit for bit, whichever days are read."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.traces.rows import arrivals, column, facts, real, table
from traces.draws import quantiles_all, service_ns, slot_offsets, stream
from traces.errors import InvalidInput
from traces.formats.azure_functions_2019 import DURATION_PPM
from traces.formats.minute_counts import arrivals_of, counts_of
from traces.source import open_trace

MINUTE_NS = 60 * 10**9
DURATIONS = "HashOwner,HashApp,HashFunction,Average,Count,Minimum,Maximum," + ",".join(
    f"percentile_Average_{p}" for p in (0, 1, 25, 50, 75, 99, 100)
)
MEMORY = "HashOwner,HashApp,SampleCount,AverageAllocatedMb," + ",".join(
    f"AverageAllocatedMb_pct{p}" for p in (1, 5, 25, 50, 75, 95, 99, 100)
)


def day(folder: Path, number: int, counts: dict[str, dict[int, int]], *, memory: bool = True) -> None:
    """The owner's three files of a day: functions f1, f2 of the application a."""
    header = "HashOwner,HashApp,HashFunction,Trigger," + ",".join(map(str, range(1, 1441)))
    rows = [f"o,a,{name},http," + ",".join(str(by_minute.get(m, 0)) for m in range(1, 1441)) for name, by_minute in counts.items()]
    (folder / f"invocations_per_function_md.anon.d{number:02}.csv").write_text("\n".join([header, *rows]) + "\n")
    took = [f"o,a,{name},5,9,1,9,1,2,3,5,7,9,{100 + number}" for name in counts if name != "unknown"]
    (folder / f"function_durations_percentiles.anon.d{number:02}.csv").write_text("\n".join([DURATIONS, *took]) + "\n")
    if memory:
        (folder / f"app_memory_percentiles.anon.d{number:02}.csv").write_text(f"{MEMORY}\no,a,9,100,64,64,80,100,120,128,128,256\n")


@pytest.fixture
def days(tmp_path: Path) -> Path:
    folder = tmp_path / "azure"
    folder.mkdir()
    day(folder, 1, {"f1": {1: 3, 2: 1, 1440: 2}, "f2": {2: 4}})
    day(folder, 2, {"f2": {1: 2}, "f1": {1: 3}, "unknown": {700: 1}}, memory=False)
    return folder


def test_a_minute_is_the_rules_arrivals_and_services(days: Path) -> None:
    trace = open_trace(days, options={"seed": "42"})
    assert (trace.meta.importer, trace.meta.arrival_model, trace.meta.expand_seed) == ("azure_functions_2019", "expanded", 42)
    rows = table(trace).to_pylist()
    mine = [row for row in rows if row["target"] == "f1" and row["arrival_ns"] < 1440 * MINUTE_NS]
    key, one = stream(42, "f1", "arrival"), np.arange(3, dtype=np.uint64)
    places = slot_offsets(key, np.full(3, 1, np.uint64), one, np.full(3, 3, np.uint64), MINUTE_NS, "poisson")
    assert [row["arrival_ns"] for row in mine[:3]] == sorted(places.tolist())
    points = list(zip(DURATION_PPM, [ms * 10**6 for ms in (1, 2, 3, 5, 7, 9, 101)], strict=True))
    assert [row["service_ns"] for row in mine] == [service_ns(42, "f1", index, points) for index in range(6)]
    assert {row["tenant"] for row in rows} == {"a"} and {row["op"] for row in rows} == {"invoke"}
    assert all(row["labels"] == [("trigger", "http")] for row in rows)


def test_a_second_day_follows_the_first_and_is_the_same_when_read_alone(days: Path) -> None:
    both, alone = table(open_trace(days)).to_pylist(), open_trace(days, options={"days": "2"})
    second = [row for row in both if row["arrival_ns"] >= 1440 * MINUTE_NS]
    assert len(both) == 16 and len(second) == 6
    assert alone.meta.source_offset_ns == 1440 * MINUTE_NS
    names = ("target", "service_ns")
    kept = [(row["arrival_ns"], *(row[name] for name in names)) for row in table(alone).to_pylist()]
    assert kept == [(row["arrival_ns"] - 1440 * MINUTE_NS, *(row[name] for name in names)) for row in second]
    by_file = open_trace(days / "invocations_per_function_md.anon.d02.csv")
    assert [row["arrival_ns"] for row in table(by_file).to_pylist()] == [row[0] for row in kept]


def test_other_functions_move_no_arrival(tmp_path: Path, days: Path) -> None:
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    day(fewer, 1, {"f1": {1: 3, 2: 1, 1440: 2}})
    of_f1 = [row["arrival_ns"] for row in table(open_trace(days, options={"days": "1"})).to_pylist() if row["target"] == "f1"]
    assert of_f1 == column(open_trace(fewer), "arrival_ns")


def test_memory_is_shared_by_an_applications_functions_and_what_is_not_said_is_null(days: Path) -> None:
    trace = open_trace(days)
    rows = table(trace).to_pylist()
    first = [row["mem_bytes"] for row in rows if row["arrival_ns"] < 1440 * MINUTE_NS]
    assert all(32 * 2**20 <= each <= 128 * 2**20 for each in first), "64 to 256 MB over two functions"
    assert {row["mem_bytes"] for row in rows[10:]} == {None}
    assert [row["service_ns"] for row in rows if row["target"] == "unknown"] == [None]
    assert "no file of memory beside day 2" in trace.meta.loss_notes and "equal parts" in trace.meta.loss_notes


def test_modes_place_the_same_counts_otherwise(days: Path) -> None:
    start = arrivals(open_trace(days, options={"mode": "start"}))
    assert (start % MINUTE_NS == 0).all() and Counter((start // MINUTE_NS).tolist()) == {0: 3, 1: 5, 1439: 2, 1440: 5, 2139: 1}
    even = [
        row["arrival_ns"]
        for row in table(open_trace(days, options={"mode": "equidistant", "days": "1"})).to_pylist()
        if row["target"] == "f2"
    ]
    assert set(np.diff(even).tolist()) == {15 * 10**9}
    assert (np.diff(arrivals(open_trace(days))) >= 0).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "burst"}, "option mode: 'burst'; expected one of poisson"),
        ({"days": "2-3"}, "option days: '2-3'; expected 1 or 1-3, of days 1, 2 that are there"),
        ({"seed": "-1"}, "option seed"),
        ({"day": "1"}, "option 'day' is unknown"),
    ],
)
def test_options_that_cannot_be_are_refused(days: Path, options: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        open_trace(days, options=options)
    assert said in str(refused.value)


def test_what_is_wrong_in_a_day_is_named(days: Path) -> None:
    file = days / "invocations_per_function_md.anon.d01.csv"
    whole = file.read_text()

    def says(text: str) -> str:
        file.write_text(text)
        with pytest.raises(InvalidInput) as refused:
            table(open_trace(file))
        return str(refused.value)

    assert "line 3: column 2: -4; expected 0 to" in says(whole.replace("o,a,f2,http,0,4", "o,a,f2,http,0,-4"))
    assert "line 2: column 1: 99999999999" in says(whole.replace("f1,http,3", "f1,http,99999999999"))
    assert "column 2 is empty" in says(whole.replace("o,a,f2,http,0,4,", "o,a,f2,http,0,,"))
    assert "minute 1: 16000000 invocations" in says(whole.replace("http,3", "http,8000000").replace("f2,http,0", "f2,http,8000000"))
    assert "ascend to at most 1440" in says(whole.replace("Trigger,1,2,", "Trigger,2,1,"))
    assert "no rows" in says(whole.splitlines()[0] + "\n")


@given(
    st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=6),
    st.sampled_from(["poisson", "equidistant", "start"]),
)
def test_as_many_requests_as_counted_each_in_its_slot_and_numbered_by_time(table_: list[list[int]], mode: str) -> None:
    counts, slots = np.array(table_, dtype=np.int64), np.array([4, 7, 9], dtype=np.int64)
    keys = np.array([stream(1, str(row), "arrival") for row in range(len(counts))], dtype=np.uint64)
    found = list(arrivals_of(counts_of([counts[:2], counts[2:]], slots), keys, MINUTE_NS, mode))
    got = Counter((int(row), int(at) // MINUTE_NS) for lot in found for row, at in zip(lot.row, lot.arrival_ns, strict=True))
    assert got == {(row, int(slot)): int(n) for row, each in enumerate(counts) for slot, n in zip(slots, each, strict=True) if n}
    for row in range(len(counts)):
        numbers = [int(n) for lot in found for n in lot.nth[lot.row == row]]
        assert numbers == list(range(int(counts[row].sum())))
    times = [int(at) for lot in found for at in lot.arrival_ns]
    assert times == sorted(times)


@given(st.integers(0, 2**40), st.lists(st.integers(0, 4 * 10**14), min_size=7, max_size=7))
def test_many_services_equal_each(index: int, durations: list[int]) -> None:
    """Also where (high - low) * into passes 2^63."""
    values = sorted(durations)
    key = np.array([stream(5, "f", "service")], dtype=np.uint64)
    many = quantiles_all(key, np.array([index], np.uint64), DURATION_PPM, np.array([values]), np.zeros(1, np.int64))
    assert many.tolist() == [service_ns(5, "f", index, list(zip(DURATION_PPM, values, strict=True)))]


@pytest.mark.parametrize(("mode", "count"), [("poisson", 5), ("equidistant", 4)])
def test_the_published_vectors_come_out_of_a_file(tmp_path: Path, mode: str, count: int) -> None:
    vectors = facts("_expand_test_vectors")
    day(tmp_path, 1, {vectors["entity"]: {481: count}, "f2": {480: 1, 481: 7}})
    trace = open_trace(tmp_path, options={"seed": str(vectors["seed"]), "mode": mode})
    found = [row["arrival_ns"] - 480 * MINUTE_NS for row in table(trace).to_pylist() if row["target"] == vectors["entity"]]
    assert found == vectors[f"{mode} slot=481 count={count} 60s"]


def test_the_real_functions_give_their_facts() -> None:
    known = facts("azure_functions_2019_500x480")
    trace = open_trace(real("azure_functions_2019_500x480min"))
    assert trace.meta.source_offset_ns == (int(known["first_minute_col"]) - 1) * MINUTE_NS
    minutes, targets, triggers, rows, timed = Counter[int](), Counter[str](), Counter[str](), 0, 0
    for batch in trace.batches():
        arrival = batch.column("arrival_ns").to_numpy()
        minutes.update(dict(zip(*(each.tolist() for each in np.unique(arrival // MINUTE_NS, return_counts=True)), strict=True)))
        names = batch.column("target")
        for value in names.value_counts().to_pylist():
            targets[value["values"]] += value["counts"]
        for value in batch.column("labels").items.value_counts().to_pylist():
            triggers[value["values"]] += value["counts"]
        rows, timed = rows + batch.num_rows, timed + batch.num_rows - batch.column("service_ns").null_count
    per_minute = np.array(sorted(minutes.values()))
    assert rows == known["invocations"] == timed and len(minutes) == known["minutes"]
    assert (per_minute.min(), per_minute.max()) == (known["per_minute_total"]["p0"], known["per_minute_total"]["p100"])
    assert round(per_minute.max() / 60, 3) == round(known["peak_minute_rate_per_s"], 3)
    assert len(targets) == known["functions"] and max(targets.values()) == known["per_function_total"]["p100"]
    assert dict(triggers) == known["trigger_invocations"]
