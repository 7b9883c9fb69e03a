"""Workloads that have a name: YCSB's and Facebook's ETC."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.unit.traces.rows import column, table
from tests.unit.traces.test_formats import write
from traces.errors import InvalidInput
from traces.source import open_trace

MIXES = {
    "a": {"get": 0.5, "set": 0.5}, "b": {"get": 0.95, "set": 0.05}, "c": {"get": 1.0}, "d": {"get": 0.95, "set": 0.05},
    "f": {"get": 2 / 3, "set": 1 / 3},
}  # fmt: skip


@pytest.mark.parametrize("letter", MIXES)
def test_core_workloads_have_their_ops(letter: str) -> None:
    ops = Counter(column(open_trace(f"ycsb:{letter},records=1000,operations=20000"), "op"))
    for op, share in MIXES[letter].items():
        assert ops[op] / ops.total() == pytest.approx(share, abs=0.01)


def test_workload_e_scans_up_to_a_hundred_records() -> None:
    made = column(open_trace("ycsb:E,records=1000,operations=2000"), "op")
    assert len(made) / 2000 == pytest.approx(0.95 * 49 + 0.05, rel=0.1)  # some scans end at the last record


def test_a_spec_and_the_workload_file_that_it_stands_for_make_the_same_requests(tmp_path: Path) -> None:
    file = write(
        tmp_path / "workloadd",
        "recordcount=500\noperationcount=9000\nworkload=site.ycsb.workloads.CoreWorkload\nreadallfields=true\n"
        "readproportion=0.95\nupdateproportion=0\nscanproportion=0\ninsertproportion=0.05\nrequestdistribution=latest\n",
    )
    read = table(open_trace(file, options={"rate": "1000/s", "seed": "5"}))
    made = table(open_trace("ycsb:d,records=500,operations=9000,rate=1000,seed=5"))
    assert made.equals(read)


def test_ycsb_properties_are_parameters_and_a_length_may_be_a_time() -> None:
    trace = open_trace("ycsb:a,records=100,requestdistribution=uniform,fieldcount=2,rate=5000,for=2s,writeallfields=true")
    made = table(trace)
    assert made.num_rows == pytest.approx(10_000, rel=0.05) and made.column("arrival_ns").to_numpy()[-1] < 2 * 10**9
    assert set(made.column("req_bytes").drop_null().to_pylist()) == {200}
    counts = np.array(sorted(Counter(made.column("key_id").to_pylist()).values()))
    assert len(counts) == 100 and stats.chisquare(counts).pvalue > 1e-4
    assert open_trace("ycsb:a,records=100,operations=10").meta.arrival_model == "none"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("ycsb:g,rows=10", "expected a to f"),
        ("ycsb:a", "it has no end"),
        ("ycsb:a,rate=10", "it has no end"),
        ("ycsb:a,rows=10,fieldcount=x", "fieldcount=x: expected a whole number"),
        ("ycsb:a,rows=10,records=5,recordcount=6", "are the same"),
        ("ycsb:a,rows=10,zipf=1", "is not known"),
    ],
)
def test_a_wrong_ycsb_spec_is_refused(spec: str, said: str) -> None:
    with pytest.raises(InvalidInput) as error:
        open_trace(spec)
    assert said in str(error.value) and spec in str(error.value)


def test_etc_has_the_published_gaps_ops_and_sizes() -> None:
    trace = open_trace("etc:52715,rows=100000")
    made = table(trace)
    gaps_us = np.diff(made.column("arrival_ns").to_numpy()) / 1000
    assert stats.kstest(gaps_us, stats.genpareto(0.154971, scale=16.0292).cdf).statistic < 0.006
    ops = Counter(made.column("op").to_pylist())
    assert ops["get"] / ops["set"] == pytest.approx(30, rel=0.06) and len(ops) == 2
    lengths = dict(zip(made.column("key_id").to_pylist(), made.column("key_bytes").to_pylist(), strict=True))
    assert np.mean(list(lengths.values())) == pytest.approx(stats.genextreme(-0.078688, 30.7984, 8.20449).mean(), rel=0.01)
    assert "deletes are left out" in trace.meta.loss_notes


def test_etc_can_have_deletes_which_carry_no_bytes() -> None:
    made = table(open_trace("etc:52715,rows=1000,ops=get:0.6/set:0.1/delete:0.3"))
    deleted = [row for row in made.select(["op", "req_bytes", "resp_bytes"]).to_pylist() if row["op"] == "delete"]
    assert 200 < len(deleted) < 400 and all(row["req_bytes"] is None and row["resp_bytes"] is None for row in deleted)
