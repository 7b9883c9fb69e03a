"""Calls between microservices, flows between ports, and images made for users."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property import trace_samples_of_clusters as samples
from tests.unit.traces.rows import column, facts, real, table
from tests.unit.traces.test_formats import refused, write
from traces.characterise import describe
from traces.formats.call_records import grouped, parents, redundant
from traces.formats.call_trees import whole_traces
from traces.source import open_trace

MS = 1_000_000


def test_a_call_that_both_sides_recorded_is_one_and_what_only_the_callee_recorded_stays(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "MSCallGraph_0.csv", samples.CALLS_2021))
    assert (trace.meta.importer, trace.meta.causality, trace.meta.arrival_resolution_ns) == ("alibaba_microservices_2021", "tree", MS)
    assert "1 of callees whose callers recorded the same call" in trace.meta.loss_notes
    assert column(trace, "arrival_ns") == [219360 * MS, 219361 * MS, 219363 * MS, 219365 * MS, 219365 * MS]
    assert column(trace, "op") == ["http", "rpc", "rpc", "mc", "mc"], "two calls to a cache under one rpcid are two"
    assert column(trace, "parent_seq") == [None, None, 0, 2, 2]
    assert column(trace, "observed_ns") == [20 * MS, MS, 13 * MS, 0, 0]
    assert column(trace, "tenant") == [None, "x", "a", "b", "b"] and column(trace, "target") == ["a", "a", "b", "c", "c"]
    sessions = column(trace, "session_id")
    assert len(set(sessions)) == 2 and sessions[0] == sessions[2]
    assert [dict(row or ()).get("side") for row in column(trace, "labels")] == ["callee", None, None, None, None]
    assert "line 4: an unknown rpctype" in refused(
        write(tmp_path / "a.csv", samples.CALLS_2021.replace("b,rpc", "b,rpc").replace(",rpc,b,i1,-11", ",tea,b,i1,-11"))
    )
    assert "line 5: column rt: 'fast'" in refused(write(tmp_path / "b.csv", samples.CALLS_2021.replace("c,,0\n4", "c,,fast\n4")))


def test_calls_of_2022_have_services_instances_and_parts_of_a_millisecond(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "CallGraph_0.csv", samples.CALLS_2022))
    assert trace.meta.importer == "alibaba_microservices_2022"
    assert column(trace, "observed_ns") == [2_500_000, 250_000] and column(trace, "parent_seq") == [None, 0]
    assert column(trace, "client") == ["MS_1_POD_0", "MS_2_POD_244"]
    assert dict(column(trace, "labels")[0]) == {"interface": "xOuy", "service": "S_1", "callee": "MS_2_POD_244"}


def test_the_real_call_graph_loses_only_callees_records() -> None:
    known = facts("alibaba_ms_v2021_callgraph")
    trace = open_trace(real("alibaba_microservices_v2021_head/Callgraph.csv"))
    rows = table(trace)
    assert len(set(column(trace, "session_id"))) == known["traces"]
    assert trace.meta.source_offset_ns + int(rows["arrival_ns"][0].as_py()) == known["arrival"]["first_ns"]
    said = describe(trace)
    assert said["arrival"]["span_s"] == known["arrival"]["span_s"]
    for kind in ("mc", "db"):
        assert said["ops"][kind] == known["rpctype"][kind], "only remote calls are recorded twice"
    sides = [dict(row or ()).get("side") for row in column(trace, "labels")]
    callers = known["arrival"]["rows"] - known["negative_rt"]
    assert sides.count(None) == callers and 0 < sides.count("callee") < known["negative_rt"]
    seqs, arrivals = column(trace, "seq"), dict(zip(column(trace, "seq"), column(trace, "session_id"), strict=True))
    for seq, session, parent in zip(seqs, column(trace, "session_id"), column(trace, "parent_seq"), strict=True):
        assert parent is None or (parent != seq and arrivals[parent] == session)


@given(st.lists(st.integers(0, 6), max_size=120), st.integers(1, 9), st.integers(2, 30))
def test_a_trace_is_whole_where_its_records_are_near_and_no_record_is_lost(traces: list[int], lot: int, quiet: int) -> None:
    records = pa.record_batch({"trace": pa.array([f"t{each}" for each in traces], pa.utf8()), "row": np.arange(len(traces))})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("traces.formats.call_trees.QUIET", quiet)
        lots = list(whole_traces(records.slice(at, lot) for at in range(0, len(traces), lot)))
    assert sorted(row for found in lots for row in found["row"].to_pylist()) == list(range(len(traces)))
    assert all(found.num_rows <= 4 * quiet + lot for found in lots), "memory is bounded"
    for trace in set(traces):
        rows = [at for at, each in enumerate(traces) if each == trace]
        near = max(np.diff(rows), default=0) <= quiet
        assert not near or len(rows) > 2 * quiet or sum(f"t{trace}" in found["trace"].to_pylist() for found in lots) == 1


SIDES = st.lists(st.tuples(st.booleans(), st.integers(0, 1), st.integers(0, 1), st.integers(0, 2)), min_size=1, max_size=30)


@given(SIDES)
def test_no_callers_record_is_ever_left_out_and_each_takes_at_most_one_callees(rows: list[tuple[bool, int, int, int]]) -> None:
    callee = np.array([row[0] for row in rows])
    caller, service, stamp = (np.array([row[at] for row in rows]) for at in (1, 2, 3))
    call = grouped(caller, service)
    gone = redundant(callee, call, caller, grouped(call, stamp))
    assert not (gone & ~callee).any()
    for each in set(caller.tolist()):
        here = caller == each
        different = len({row[1:] for row in rows if row[0] and row[1] == each})
        assert (callee & here & ~gone).sum() == max(0, different - (~callee & here).sum())


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["0", "0.1", "0.1.1", "0.2", "0.1.1.7"])), min_size=1, max_size=25))
def test_a_parent_is_in_the_same_trace_one_step_above(rows: list[tuple[int, str]]) -> None:
    trace = np.array([row[0] for row in rows])
    names = [row[1] for row in rows]
    codes = {name: at for at, name in enumerate(["", "0", "0.1", "0.1.1", "0.2", "0.1.1.7"])}
    place, above = np.array([codes[name] for name in names]), np.array([codes[name.rpartition(".")[0]] for name in names])
    one = np.zeros(len(rows), dtype=np.int64)
    for at, parent in enumerate(parents(trace, place, above, one, one).tolist()):
        there = [row for row in range(len(rows)) if trace[row] == trace[at] and place[row] == above[at]]
        assert parent == (there[0] if there else -1)


def test_a_coflow_is_a_flow_for_each_pair_of_ports_and_no_byte_is_lost(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "FB.txt", samples.COFLOW))
    assert (trace.meta.importer, trace.meta.kinds, trace.meta.arrival_resolution_ns) == ("coflow", ("flow",), MS)
    assert column(trace, "arrival_ns") == [0, 10833 * MS, 10833 * MS] + [13122 * MS] * 6
    assert column(trace, "client") == ["4", "0", "1", "0", "1", "2", "0", "1", "2"]
    assert column(trace, "target") == ["3", "4", "4", "3", "3", "3", "4", "4", "4"] and column(trace, "session_id")[-1] == 3
    sizes = column(trace, "req_bytes")
    assert sizes[0] == 2**20 and sizes[1] + sizes[2] == round(48.5 * 2**20) and sum(sizes[3:6]) == 4 * 2**20
    assert max(sizes[3:6]) - min(sizes[3:6]) <= 1


def test_a_coflow_file_that_was_cut_or_names_no_port_is_refused(tmp_path: Path) -> None:
    assert "the file ends after 2 coflows; expected 3" in refused(write(tmp_path / "a.txt", samples.COFLOW.rsplit("3 13122", 1)[0]))
    assert "line 3" in refused(write(tmp_path / "b.txt", samples.COFLOW.replace(" 4:48.5", " 5:48.5")))
    assert "expected ports from 0 to 4" in refused(tmp_path / "b.txt")
    assert "line 4" in refused(write(tmp_path / "c.txt", samples.COFLOW.replace("3:4.0 4:1", "3:4.0 4:nan")))


def test_the_real_coflows_give_their_facts() -> None:
    known = facts("coflow_fb2010")
    trace = open_trace(real("coflow_fb2010/FB2010-1Hr-150-0.txt"))
    said = describe(trace)
    assert said["arrival"]["rows"] == known["flows_per_coflow"]["sum"] and said["arrival"]["span_s"] == known["arrival"]["span_s"]
    assert said["req_bytes"]["sum"] == known["coflow_mb"]["sum"] * 2**20
    rows = table(trace)
    sessions, first = np.unique(rows["session_id"].to_numpy(), return_index=True)
    assert len(sessions) == known["declared"]
    gaps = np.diff(np.sort(rows["arrival_ns"].to_numpy()[first]))
    assert round(float(gaps.std() / gaps.mean()), 5) == round(known["arrival"]["iat_cv"], 5)


def test_images_are_inferences_without_tokens(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "lora_request_trace.csv", samples.IMAGES))
    assert (trace.meta.importer, trace.meta.kinds) == ("alibaba_genai_2026", ("llm",)) and set(column(trace, "op")) == {"image"}
    assert column(trace, "media_items") == [1, 8, None] and column(trace, "prompt_tokens") == [None, None, None]
    assert column(trace, "status") == [200, 500, None] and column(trace, "target") == ["M0000", "M0001", None]
    assert dict(column(trace, "labels")[2]) == {"type": "INPAINTING", "state": "PENDING", "loras": "1"}
    assert trace.meta.t0_unix_ns is None, "its clock was shifted by its owner"


def test_the_real_images_give_their_facts() -> None:
    known = facts("alibaba_genai_2026_lora")
    trace = open_trace(real("alibaba_genai_2026/lora_request_trace.csv"))
    said = describe(trace)
    for key in ("rows", "span_s", "mean_rate_per_s", "iat_cv", "zero_gaps", "rate_max", "resolution_ns"):
        assert said["arrival"][key] == known["arrival"][key], key
    assert said["service_s"] == known["exec_time_s"] and trace.meta.source_offset_ns == known["arrival"]["first_ns"]
    assert sum(each or 0 for each in column(trace, "media_items")) == known["images"]["sum"]
    assert len(set(column(trace, "target")) - {None}) == known["model_popularity"]["unique_keys"]
    assert column(trace, "status").count(500) == known["status"]["FAILED"]
