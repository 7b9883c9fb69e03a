"""FaaSRail's minutes become invocations of the benchmarks that they are mapped to."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.property.trace_samples import SAMPLES
from tests.unit.traces.rows import arrivals, column, facts, real, table
from traces.errors import InvalidInput
from traces.source import open_trace

MINUTE_NS = 60 * 10**9


def test_minutes_become_invocations_that_take_what_the_function_took(tmp_path: Path) -> None:
    (tmp_path / "spec.csv").write_bytes(SAMPLES["faasrail"].body())
    trace = open_trace(tmp_path / "spec.csv", options={"mode": "start"})
    assert (trace.meta.importer, trace.meta.arrival_model) == ("faasrail", "expanded")
    assert column(trace, "arrival_ns") == [0, 0, 0, MINUTE_NS, MINUTE_NS, MINUTE_NS]
    assert column(trace, "target") == ["pyaes-1", "pyaes-1", "a", "a", "a", "a"]
    assert column(trace, "service_ns") == [1633 * 10**6] * 2 + [2_500_000] * 4


def test_rows_of_one_benchmark_do_not_arrive_alike(tmp_path: Path) -> None:
    body = SAMPLES["faasrail"].body().replace(b'""a""', b'""pyaes-1""').replace(b",1,3", b",2,0")
    (tmp_path / "spec.csv").write_bytes(body)
    assert len(set(column(open_trace(tmp_path / "spec.csv"), "arrival_ns"))) == 4


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"2,0", b"2,-1", "line 2: column 721-1440: -1"),
        (b"2.5", b"-2.5", "line 3: avg -2.5"),
        (b'""bench"": ""a""', b"", "line 3: mapped_wreq"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: bytes, new: bytes, said: str) -> None:
    (tmp_path / "spec.csv").write_bytes(SAMPLES["faasrail"].body().replace(old, new))
    with pytest.raises(InvalidInput) as refused:
        table(open_trace(tmp_path / "spec.csv"))
    assert said in str(refused.value)


def test_the_real_specification_gives_its_facts() -> None:
    known = facts("faasrail_azure_spec")
    trace = open_trace(real("faasrail_azure_spec/azure_spec_15rps_5min.csv"))
    minutes = Counter((arrivals(trace) // MINUTE_NS).tolist())
    assert minutes.total() == known["invocations"] and [minutes[at] for at in range(5)] == known["per_minute"]
    benches = Counter(name.rpartition("-")[0] for name in set(column(trace, "target")))
    assert benches.keys() <= known["benchmarks"].keys()
    assert max(column(trace, "service_ns")) <= known["avg_ms"]["p100"] * 10**6
    assert (np.diff(arrivals(trace)) >= 0).all()
