"""Traces of clusters' jobs, in the forms in which their owners publish them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.property import trace_samples_of_clusters as samples
from tests.unit.traces.rows import column, facts, real
from tests.unit.traces.test_formats import refused, write
from traces.characterise import describe
from traces.source import open_trace
from traces.stream import Trace

ARRIVAL = ("rows", "span_s", "mean_rate_per_s", "iat_mean_s", "iat_cv", "zero_gaps", "resolution_ns")
SECOND = 1_000_000_000


def labels(trace: Trace, name: str) -> list[str | None]:
    return [dict(row or ()).get(name) for row in column(trace, "labels")]


def assert_arrivals(said: dict[str, Any], known: dict[str, Any]) -> None:
    for key in ARRIVAL:
        assert said["arrival"][key] == known["arrival"][key], key


def test_a_pod_runs_from_when_it_was_scheduled_and_has_the_gpus_it_asks_for(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "pods.csv", samples.POD_LIST))
    assert (trace.meta.importer, trace.meta.kinds, trace.meta.arrival_resolution_ns) == ("alibaba_gpu_2023", ("job",), SECOND)
    assert column(trace, "arrival_ns") == [0, 427061 * SECOND, 2759674 * SECOND]
    assert column(trace, "gpu_milli") == [1000, 460, 8000] and column(trace, "cpu_milli") == [12000, 6000, 20000]
    assert column(trace, "service_ns") == [12537496 * SECOND, (12902960 - 427070) * SECOND, None], "one never scheduled never ran"
    assert column(trace, "observed_ns")[2] == 6 * SECOND and column(trace, "mem_bytes")[0] == 16 * 2**30
    assert labels(trace, "gpu_spec") == [None, "T4|P100", None] and labels(trace, "phase") == ["Running", "Failed", "Pending"]
    quoted = samples.POD_LIST.replace("name,cpu_milli", '"name","cpu_milli"')
    assert column(open_trace(write(tmp_path / "quoted.csv", quoted)), "cpu_milli") == [12000, 6000, 20000]
    assert "line 3: column num_gpu is empty" in refused(write(tmp_path / "a.csv", samples.POD_LIST.replace("12288,1,", "12288,,")))


def test_the_real_pods_give_their_facts() -> None:
    known = facts("alibaba_gpu_v2023_pods")
    trace = open_trace(real("alibaba_gpu_v2023/openb_pod_list_default.csv"))
    assert_arrivals(describe(trace), known)
    life, run = column(trace, "observed_ns"), column(trace, "service_ns")
    assert sum(life) == known["duration_s"]["sum"] * SECOND
    waits = [whole - ran for whole, ran in zip(life, run, strict=True) if ran is not None]
    assert (len(waits), sum(waits)) == (known["queue_s"]["n"], known["queue_s"]["sum"] * SECOND)
    assert sum(column(trace, "cpu_milli")) == known["cpu_milli"]["sum"]
    assert sum(column(trace, "mem_bytes")) == known["memory_mib"]["sum"] * 2**20
    assert sum(each == 8000 for each in column(trace, "gpu_milli")) == known["num_gpu"]["8"]
    assert {name: labels(trace, "qos").count(name) for name in known["qos"]} == known["qos"]


def test_jobs_of_pai_without_a_start_are_left_out_and_counted(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "pai_job_table.csv", samples.PAI_JOBS))
    assert trace.meta.importer == "alibaba_gpu_2020" and "of 3 lines left out: 1 without a start" in trace.meta.loss_notes
    assert column(trace, "service_ns") == [537 * SECOND, None] and labels(trace, "status") == ["Terminated", "Failed"]
    assert column(trace, "tenant") == ["58540f191766"] * 2


def test_tasks_of_pai_ask_for_percent_of_cores_and_of_gpus(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "pai_task_table.csv", samples.PAI_TASKS))
    assert column(trace, "cpu_milli") == [6000, 4000] and column(trace, "gpu_milli") == [500, None]
    assert column(trace, "mem_bytes") == [round(29.296875 * 2**30), None] and column(trace, "instances") == [1, 2]
    sessions = column(trace, "session_id")
    assert sessions[0] == sessions[1] and column(trace, "target") == ["tensorflow", "ps"]
    wrong = write(tmp_path / "b.csv", samples.PAI_TASKS.replace(",400.0,", ",1e300,"))
    assert "line 2: column plan_cpu: '1e+300'" in refused(wrong)
    assert "5 columns" in refused(write(tmp_path / "c.csv", "a,b,c,d,e\n"), format="alibaba_gpu_2020")


def test_tasks_of_2017_are_put_in_order_and_one_that_ends_before_it_begins_has_no_run_time(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "batch_task.csv", samples.BATCH_2017))
    assert trace.meta.importer == "alibaba_cluster_2017" and trace.meta.source_offset_ns == -5 * SECOND
    assert column(trace, "arrival_ns") == [0, 6462 * SECOND, 6464 * SECOND]
    assert column(trace, "service_ns") == [15 * SECOND, None, 65 * SECOND] and column(trace, "cpu_milli") == [1000, None, 500]
    assert column(trace, "session_id") == [4, 3, 3] and column(trace, "instances") == [393, 1, 15740]
    assert "request 1 (from 0) is earlier" in refused(write(tmp_path / "b.csv", samples.BATCH_2017), sort="false")


def test_the_real_tasks_of_2017_give_their_facts() -> None:
    known = facts("alibaba_cluster_v2017")
    trace = open_trace(real("alibaba_cluster_v2017/batch_task.csv"))
    said = describe(trace)
    assert_arrivals(said, known)
    assert said["service_s"] == known["duration_s"] and trace.meta.source_offset_ns == known["arrival"]["first_ns"]
    assert sum(column(trace, "instances")) == known["instances"]["sum"]
    assert sum(each or 0 for each in column(trace, "cpu_milli")) == 10 * known["cpu_raw"]["sum"]
    assert len(set(column(trace, "session_id"))) == known["jobs"]
    assert {name: labels(trace, "status").count(name) for name in known["status"]} == known["status"]


def test_tasks_of_2018_keep_their_place_in_their_jobs_graph(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "batch_task.csv", samples.BATCH_2018))
    assert trace.meta.importer == "alibaba_cluster_2018"
    assert labels(trace, "after") == [None, "1_2", None] and column(trace, "instances") == [1, 20, 1]
    assert column(trace, "service_ns") == [SECOND, 20 * SECOND, None] and column(trace, "cpu_milli") == [1000, 500, None]
    assert column(trace, "tenant") == ["j_1", "j_1", "j_2"]
    bad = write(tmp_path / "b.csv", samples.BATCH_2018.replace("419400", "soon"))
    assert "line 2: column end_time: 'soon'" in refused(bad)


def test_instances_from_before_the_trace_are_left_out_and_counted(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "disaggregated_DLRM_trace.csv", samples.DLRM))
    assert trace.meta.importer == "alibaba_dlrm_2025" and "1 from before the trace" in trace.meta.loss_notes
    assert column(trace, "arrival_ns") == [7 * SECOND, 1435629 * SECOND], "in the order of time, not of names"
    assert column(trace, "gpu_milli") == [2000, 0] and column(trace, "mem_bytes") == [40 * 2**30, 320 * 2**30]
    assert column(trace, "service_ns") == [None, 130 * SECOND] and column(trace, "observed_ns") == [None, 131 * SECOND]


@pytest.mark.parametrize("table", [samples.BORG, samples.BORG_INSTANCES])
def test_events_of_borg_stand_from_the_traces_start_and_only_submissions_are_jobs(tmp_path: Path, table: str) -> None:
    trace = open_trace(write(tmp_path / "events", table))
    assert trace.meta.importer == "google_borg_2019" and trace.meta.source_offset_ns == 600 * SECOND
    assert column(trace, "arrival_ns")[0] == 0 and set(labels(trace, "event")) == {"SUBMIT"}
    assert "of 3 lines left out: 1 " in trace.meta.loss_notes
    assert column(open_trace(tmp_path / "events", options={"event": "schedule"}), "session_id") == [
        330587160470 if table is samples.BORG else 330587160469
    ]


def test_resources_of_borg_are_parts_of_a_machine_and_no_cores(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "instance_events.csv", samples.BORG_INSTANCES), options={"event": "all"})
    assert labels(trace, "cpus") == ["0.0206", "0.0206"] and column(trace, "cpu_milli") == [None, None]
    assert "1 after the trace" in trace.meta.loss_notes
    nested = samples.BORG.replace('"user":"u1"', '"resource_request":{"cpus":0.5,"memory":0.25}')
    assert labels(open_trace(write(tmp_path / "i.json", nested)), "memory") == ["0.25", "0.25"]
    assert "line 2: an unknown event type" in refused(write(tmp_path / "a.csv", samples.BORG_INSTANCES.replace(",SUBMIT,", ",WON,", 1)))
    below = samples.BORG_INSTANCES.replace("SCHEDULE,330587160469", "SUBMIT,-7")
    assert "line 3: column collection_id: '-7'" in refused(write(tmp_path / "b.csv", below))
    assert "line 3: column time: 'late'" in refused(write(tmp_path / "a.json", samples.BORG.replace('"700000005"', '"late"')))


def test_the_real_slice_of_borg_gives_its_facts() -> None:
    known = facts("google_borg_2019_slice")
    path = real("google_borg_2019_slice/slice.csv")
    trace = open_trace(path, options={"event": "all", "sort": "true"})
    assert len(column(trace, "arrival_ns")) == known["rows"] and len(set(column(trace, "session_id"))) == known["collections"]
    assert column(trace, "arrival_ns").count(0) == known["time_zero"]
    asked, said = np.array([float(each or "nan") for each in labels(trace, "cpus")]), known["cpu_request_norm"]
    assert len(asked) == said["n"] and asked.sum() == pytest.approx(said["sum"], rel=1e-11)
    assert [np.percentile(asked, level) for level in (25, 50, 99)] == pytest.approx([said["p25"], said["p50"], said["p99"]], rel=1e-5)
    assert len(set(labels(trace, "machine"))) == known["machines"]
    assert "sort=true" in refused(path), "its rows are in no order"


def test_a_job_of_swim_reads_shuffles_and_writes(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "FB.tsv", samples.SWIM))
    assert trace.meta.importer == "swim" and column(trace, "arrival_ns") == [49 * SECOND, 101 * SECOND]
    assert column(trace, "req_bytes") == [740773, 736346] and column(trace, "resp_bytes") == [627471, 432269]
    assert labels(trace, "shuffle_bytes") == ["2339561", "0"] and column(trace, "key_id") == [None, None]
    with_paths = "job0\t1\t1\t2267942\t0\t1937944\tinputPath1\t\t\njob1\t2\t1\t5\t6\t7\tinputPath1\toutputPath2\t\n"
    paths = open_trace(write(tmp_path / "paths.tsv", with_paths))
    assert len(set(column(paths, "key_id"))) == 1 and labels(paths, "output_path") == [None, "outputPath2"]
    assert "line 2: column submit_s: 'x'" in refused(write(tmp_path / "b.tsv", samples.SWIM.replace("101", "x")), format="swim")


@pytest.mark.parametrize("which", ["FB-2009_samples_24_times_1hr_0", "FB-2009_samples_24_times_1hr_1"])
def test_the_real_jobs_of_swim_give_their_facts(which: str) -> None:
    known = facts(f"swim_{which}")
    trace = open_trace(real(f"swim_facebook/{which}.tsv"))
    said = describe(trace)
    assert_arrivals(said, known)
    assert said["req_bytes"] == known["map_input_bytes"] and said["resp_bytes"] == known["reduce_output_bytes"]
    assert sum(int(each or 0) for each in labels(trace, "shuffle_bytes")) == known["shuffle_bytes"]["sum"]
