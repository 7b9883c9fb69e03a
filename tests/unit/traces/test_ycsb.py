"""YCSB's workloads, executed."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.traces.rows import arrivals, column, table, variation
from tests.unit.traces.test_formats import refused, write
from traces.source import open_trace
from traces.stream import Trace
from traces.ycsb.keys import fnv, zeta
from traces.ycsb.workload import properties_of

A = """# Yahoo! Cloud System Benchmark
# Workload A: Update heavy workload

recordcount=1000
operationcount=20000
workload=site.ycsb.workloads.CoreWorkload

readallfields=true

readproportion=0.5
updateproportion=0.5
scanproportion=0
insertproportion=0

requestdistribution=zipfian
"""
KINDS = {
    "readproportion": "0", "updateproportion": "0", "scanproportion": "0", "insertproportion": "0", "readmodifywriteproportion": "0",
}  # fmt: skip


def ycsb(folder: Path, **options: str) -> Trace:
    return open_trace(write(folder / "workloada", A), options=options)


def only(**shares: str) -> dict[str, str]:
    return {**KINDS, **{f"{name}proportion": share for name, share in shares.items()}}


def test_workload_a_reads_whole_records_and_updates_one_field(tmp_path: Path) -> None:
    trace = ycsb(tmp_path)
    ops = Counter(column(trace, "op"))
    assert trace.meta.importer == "ycsb" and trace.meta.arrival_model == "none" and trace.rows_hint == 20_000
    assert abs(ops["get"] - 10_000) < 300 and ops.total() == 20_000
    assert set(column(trace, "resp_bytes")) == {1000, None} and set(column(trace, "req_bytes")) == {100, None}
    assert set(column(ycsb(tmp_path, writeallfields="true"), "req_bytes")) == {1000, None}
    assert set(column(ycsb(tmp_path, readallfields="false"), "resp_bytes")) == {100, None}


def test_names_of_keys_are_those_that_ycsb_loads() -> None:
    assert fnv(np.array([0, 1, 2])).tolist() == [6284781860667377211, 8517097267634966620, 1820151046732198393]


def test_zipfian_popularity_is_that_of_its_law(tmp_path: Path) -> None:
    trace = ycsb(tmp_path, operationcount="200000", recordcount="100000")
    counts = [n for _, n in Counter(column(trace, "key_id")).most_common(2)]
    first = 200_000 / 26.46902820178302
    assert abs(counts[0] - first) < 5 * first**0.5 and abs(counts[1] - first * 0.5**0.99) < 5 * first**0.5


@given(st.integers(1, 60_000))
def test_zeta_is_the_sum_that_it_stands_for(count: int) -> None:
    exact = float((np.arange(1, count + 1, dtype=np.float64) ** -0.99).sum())
    assert zeta(np.array([count]))[0] == pytest.approx(exact, rel=1e-12)


def test_the_same_seed_gives_the_same_requests_and_another_others(tmp_path: Path) -> None:
    one, again, other = (table(ycsb(tmp_path, seed=seed, rate="1000/s")) for seed in ("7", "7", "8"))
    assert one.equals(again) and not one["key_id"].equals(other["key_id"]) and not one["arrival_ns"].equals(other["arrival_ns"])


def test_times_are_made_only_for_a_rate(tmp_path: Path) -> None:
    poisson, constant = arrivals(ycsb(tmp_path, rate="1000/s")), arrivals(ycsb(tmp_path, rate="1000/s", law="constant"))
    assert poisson[-1] / 1e9 == pytest.approx(20, rel=0.05) and variation(poisson) == pytest.approx(1, abs=0.05) and poisson[0] > 0
    assert constant.tolist() == [n * 1_000_000 for n in range(20_000)]
    assert arrivals(ycsb(tmp_path, target="500"))[1] == 2_000_000, "YCSB's own property paces constantly"


def test_inserts_add_records_that_latest_then_prefers(tmp_path: Path) -> None:
    options = only(read="0.9", insert="0.1") | {"requestdistribution": "latest", "insertorder": "ordered"}
    rows = table(ycsb(tmp_path, **options))
    ids, is_set = rows["key_id"].to_numpy(), np.array(rows["op"].to_pylist()) == "set"
    inserted = int(is_set.sum())
    assert ids[is_set].tolist() == list(range(1000, 1000 + inserted)), "one after another"
    newest = 999 + np.cumsum(is_set)
    assert (ids <= newest).all(), "nothing is read before it is there"
    share = float((ids[~is_set] == newest[~is_set]).mean())
    assert share == pytest.approx(1 / zeta(np.array([2000]))[0], rel=0.1)
    assert set(column(ycsb(tmp_path, **options), "req_bytes")) == {1000, None}, "an insert has all fields"


def test_a_read_modify_write_is_a_get_and_then_a_set_of_the_same_key(tmp_path: Path) -> None:
    rows = table(ycsb(tmp_path, rate="100/s", **only(readmodifywrite="1")))
    assert rows.num_rows == 40_000 and rows["op"].to_pylist() == ["get", "set"] * 20_000
    ids, stamps = rows["key_id"].to_numpy(), rows["arrival_ns"].to_numpy()
    assert (ids[0::2] == ids[1::2]).all() and (stamps[0::2] == stamps[1::2]).all()


def test_a_scan_is_a_get_of_each_record_that_is_there(tmp_path: Path) -> None:
    options = only(scan="1") | {"insertorder": "ordered", "maxscanlength": "100", "operationcount": "500", "requestdistribution": "uniform"}
    trace = ycsb(tmp_path, rate="1000/s", law="constant", **options)
    rows = table(trace)
    lengths = np.unique(rows["arrival_ns"].to_numpy(), return_counts=True)[1]
    assert len(lengths) == 500 and lengths.max() <= 100 and lengths.mean() == pytest.approx(48, abs=4)
    first = rows["key_id"].to_numpy()[: lengths[0]]
    assert (np.diff(first.astype(np.int64)) == 1).all() and rows["key_id"].to_numpy().max() == 999
    assert "a scan is a get of each" in trace.meta.loss_notes and set(rows["op"].to_pylist()) == {"get"}


def test_hotspots_uniform_and_exponential_keys_have_their_shares(tmp_path: Path) -> None:
    def ids(**options: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        found = table(ycsb(tmp_path, insertorder="ordered", **options))["key_id"].to_numpy().astype(np.int64)
        assert found.min() >= 0 and found.max() < 1000
        return found  # type: ignore[no-any-return]

    hot = ids(requestdistribution="hotspot", hotspotdatafraction="0.1", hotspotopnfraction="0.7")
    assert (hot < 100).mean() == pytest.approx(0.7, abs=0.02)
    assert ids(requestdistribution="uniform").mean() == pytest.approx(499.5, abs=10)
    late = ids(**{"requestdistribution": "exponential", "exponential.frac": "0.1"})
    assert (late >= 900).mean() == pytest.approx(0.95, abs=0.01)
    assert ids(requestdistribution="sequential")[:1002].tolist() == [*range(1000), 0, 1]


@pytest.mark.parametrize(("law", "least", "most"), [("uniform", 480, 530), ("zipfian", 10, 400)])
def test_records_of_random_fields_keep_their_size(tmp_path: Path, law: str, least: int, most: int) -> None:
    rows = table(ycsb(tmp_path, fieldlengthdistribution=law))
    sizes: dict[int, set[int]] = {}
    for key, size in zip(rows["key_id"].to_pylist(), rows["resp_bytes"].to_pylist(), strict=True):
        if size is not None:
            sizes.setdefault(key, set()).add(size)
    assert all(len(each) == 1 for each in sizes.values()), "each time that a record is read"
    every = [size for each in sizes.values() for size in each]
    assert len(set(every)) > 50 and least < np.mean(every) < most


def test_key_names_are_as_long_as_ycsbs(tmp_path: Path) -> None:
    assert set(column(ycsb(tmp_path, insertorder="ordered", zeropadding="8"), "key_bytes")) == {12}
    assert max(column(ycsb(tmp_path), "key_bytes")) == 23 == len("user6284781860667377211")


def test_properties_are_read_as_java_does() -> None:
    text = "a=1\n b : 2 \n# c=3\n!d=4\ne 5\nf=x\\\n   y\ng=\n"
    assert properties_of(text) == {"a": "1", "b": "2", "e": "5", "f": "xy", "g": ""}


def test_what_cannot_be_executed_is_refused_by_its_property(tmp_path: Path) -> None:
    path = write(tmp_path / "w", A)
    assert "requestdistribution=normal: expected one of uniform" in refused(path, requestdistribution="normal")
    assert "workload=site.ycsb.workloads.TimeSeriesWorkload" in refused(path, workload="site.ycsb.workloads.TimeSeriesWorkload")
    assert "operationcount=0" in refused(path, operationcount="0") and "fieldlengthdistribution=histogram" in refused(
        path, fieldlengthdistribution="histogram"
    )
    assert "some proportion above 0" in refused(path, **KINDS)
    assert "option rate" in refused(path, rate="fast") and "option law" in refused(path, law="bursty")
    assert "over a century" in refused(path, rate="0.000001/s")
