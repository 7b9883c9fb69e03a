"""Recordings of disks: of clouds' volumes, of fio, of blktrace."""

from pathlib import Path

import pytest

from tests.property import trace_samples_of_clusters as samples
from tests.unit.traces.rows import column
from tests.unit.traces.test_formats import refused, write
from traces.source import open_trace


def test_volumes_of_alibaba_are_read_by_the_microsecond(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "io_traces.csv", samples.ALIBABA_BLOCK))
    assert (trace.meta.importer, trace.meta.arrival_resolution_ns) == ("alibaba_block", 1_000)
    assert trace.meta.t0_unix_ns == 1577808144360767 * 1_000 and column(trace, "arrival_ns") == [0, 46_000, 10_046_000]
    assert column(trace, "op") == ["write", "read", "read"] and column(trace, "target") == ["419", "725", "419"]
    assert column(trace, "req_bytes") == [16384, None, None] and column(trace, "resp_bytes") == [None, 360448, 4096]
    assert "line 2: an unknown opcode" in refused(write(tmp_path / "a.csv", samples.ALIBABA_BLOCK.replace("R", "T", 1)))
    assert "line 3: 4 fields" in refused(write(tmp_path / "b.csv", samples.ALIBABA_BLOCK.replace("0,4096,", "0,")))


def test_volumes_of_tencent_count_in_sectors_and_seconds(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "1538323199", samples.TENCENT_BLOCK))
    assert (trace.meta.importer, trace.meta.arrival_resolution_ns) == ("tencent_block", 1_000_000_000)
    assert column(trace, "offset_bytes") == [105352008 * 512, 0, 64 * 512] and column(trace, "op") == ["write", "read", "write"]
    assert column(trace, "req_bytes") == [584 * 512, None, 16 * 512] and column(trace, "target") == ["1576", "1576", "1283"]
    bad = write(tmp_path / "b", samples.TENCENT_BLOCK.replace("8,0,1576", "8,2,1576"))
    assert "line 2: an unknown ioType" in refused(bad, format="tencent_block")


def test_waits_of_fio_add_up_and_those_below_its_least_are_none(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "job.log", samples.IOLOG_2))
    assert trace.meta.importer == "fio_iolog" and trace.meta.arrival_model == "recorded"
    assert column(trace, "arrival_ns") == [0, 1_000_000, 1_000_000, 1_200_000]
    assert column(trace, "op") == ["write", "read", "flush", "trim"] and set(column(trace, "target")) == {"/tmp/f"}
    assert column(trace, "req_bytes") == [4096, None, None, 4096] and column(trace, "resp_bytes") == [None, 8192, None, None]
    assert column(trace, "offset_bytes") == [0, 4096, None, 8192]


def test_a_log_of_fio_without_waits_has_an_order_but_no_times(tmp_path: Path) -> None:
    without = "".join(line for line in samples.IOLOG_2.splitlines(keepends=True) if " wait " not in line)
    trace = open_trace(write(tmp_path / "job.log", without))
    assert trace.meta.arrival_model == "none" and column(trace, "op") == ["write", "read", "flush", "trim"]


def test_stamps_of_fios_third_version_are_microseconds_of_the_run(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "job.log", samples.IOLOG_3))
    assert column(trace, "arrival_ns") == [878_000, 888_000, 891_000] and trace.meta.source_offset_ns == 0
    assert "line 4: '878 Nvme1n1 write 0'; expected timestamp" in refused(
        write(tmp_path / "a", samples.IOLOG_3.replace("write 0 16384", "write 0"))
    )
    waits = write(tmp_path / "b", samples.IOLOG_3.replace("read 512", "wait 512"))
    assert "line 5" in refused(waits) and "stamps instead of waits" in refused(waits)


def test_what_fio_does_besides_is_counted_or_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "job.log", samples.IOLOG_3.replace("datasync", "sync_file_range"))
    trace = open_trace(path)
    assert column(trace, "op") == ["write", "read"] and "1 of other actions" in trace.meta.loss_notes
    assert "line 6" in refused(path, other="refuse")
    assert "line 1: 'fio version 9 iolog'; expected 'fio version 2 iolog'" in refused(
        write(tmp_path / "b", samples.IOLOG_3.replace("version 3", "version 9")), format="fio_iolog"
    )


def test_a_request_of_blktrace_stands_when_it_is_queued(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "sda.txt", samples.BLKPARSE))
    assert (trace.meta.importer, trace.meta.arrival_resolution_ns) == ("blkparse", 1)
    assert column(trace, "arrival_ns") == [2197, 4197, 5197, 6197, 9197]
    assert column(trace, "op") == ["write", "write", "flush", "read", "trim"], "a flush before a write is part of it"
    assert column(trace, "key_id") == [223490, 223500, None, 4096, 8192] and column(trace, "tenant")[1] == "my proc"
    assert column(trace, "req_bytes") == [4096, 8192, None, None, 32768] and column(trace, "resp_bytes")[3] == 4096
    assert "of 11 lines left out: 6 of other events" in trace.meta.loss_notes


def test_another_event_may_stand_for_a_request_and_a_completion_has_no_process(tmp_path: Path) -> None:
    path = write(tmp_path / "sda.txt", samples.BLKPARSE)
    done = open_trace(path, options={"event": "C"})
    assert column(done, "arrival_ns") == [100_006_197] and column(done, "tenant") == [None]
    assert "option event: 'Z'; expected one of Q, I, D, C" in refused(path, event="Z")


@pytest.mark.parametrize("line", ["8,0 3 4 0.5 697 Q W 1 + 8 [x]\n", "what is this\n", "8,0 3 4\n"])
def test_a_line_that_is_no_event_is_refused_and_the_summary_ends_the_trace(tmp_path: Path, line: str) -> None:
    events, mark, summary = samples.BLKPARSE.partition("CPU0")
    assert "line 12" in refused(write(tmp_path / "a.txt", events + line + mark + summary))
    assert len(column(open_trace(write(tmp_path / "b.txt", events + mark + summary + line)), "op")) == 5
