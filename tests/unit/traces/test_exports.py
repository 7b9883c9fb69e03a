"""Traces written for other tools read back as what they were."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.cli import main
from tests.property import trace_samples_of_clusters as samples
from tests.unit.traces.rows import column, trace_of
from tests.unit.traces.test_formats import write
from traces.errors import InvalidInput
from traces.exports import export_trace, exports
from traces.source import open_trace
from traces.stream import StreamTrace

REQUESTS = st.lists(
    st.tuples(
        st.integers(0, 10**9),
        st.sampled_from(["read", "write", "trim", "flush"]),
        st.sampled_from(["/dev/a", "/dev/b"]),
        st.integers(0, 2**40),
        st.integers(1, 2**32 - 1),
    ),
    min_size=1,
    max_size=30,
)


def block(rows: list[tuple[int, str, str, int, int]]) -> StreamTrace:
    rows = sorted(rows, key=lambda row: row[0])
    arrival, op, target, offset, size = zip(*rows, strict=True)
    columns = {
        "arrival_ns": np.array(arrival) * 1000,
        "op": pa.array(op),
        "target": pa.array(target),
        "offset_bytes": pa.array([at if word != "flush" else None for at, word in zip(offset, op, strict=True)], pa.int64()),
        "req_bytes": pa.array([n if word in ("write", "trim") else None for n, word in zip(size, op, strict=True)], pa.int64()),
        "resp_bytes": pa.array([n if word == "read" else None for n, word in zip(size, op, strict=True)], pa.int64()),
    }
    return trace_of(columns, kind="block", lot=7)


@given(REQUESTS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_fio_would_replay_reads_back_as_it_was(tmp_path: Path, rows: list[tuple[int, str, str, int, int]]) -> None:
    trace, path = block(rows), tmp_path / "job.log"
    assert export_trace(trace, path, "fio_iolog", {}) == len(rows)
    again = open_trace(path)
    assert again.meta.importer == "fio_iolog" and "left out" not in again.meta.loss_notes
    for name in ("arrival_ns", "op", "target", "offset_bytes", "req_bytes", "resp_bytes"):
        assert column(again, name) == column(trace, name), name


def test_each_file_is_added_and_opened_before_it_is_used(tmp_path: Path) -> None:
    export_trace(block([(1, "read", "/dev/a", 0, 512), (9, "write", "/dev/b", 512, 1024)]), tmp_path / "x", "fio_iolog", {})
    assert (tmp_path / "x").read_text() == (
        "fio version 3 iolog\n1 /dev/a add\n1 /dev/a open\n1 /dev/b add\n1 /dev/b open\n1 /dev/a read 0 512\n9 /dev/b write 512 1024\n"
        "9 /dev/a close\n9 /dev/b close\n"
    )


def test_the_command_sends_every_request_to_the_file_that_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = write(tmp_path / "sda.txt", samples.BLKPARSE), tmp_path / "job.log"
    assert main(["trace", "export", str(source), str(out), "--to", "fio_iolog", "--with", "file=/dev/null"]) == 0
    assert "5 requests as fio_iolog" in capsys.readouterr().out
    assert set(column(open_trace(out), "target")) == {"/dev/null"}
    assert column(open_trace(out), "op") == column(open_trace(source), "op")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((0, "read", "/dev/a b", 0, 1), "blank in its name"),
        ((0, "read", "/dev/a", 0, 2**32), "no length up to"),
        ((-5, "read", "/dev/a", 0, 1), "arrives before 0"),
    ],
)
def test_what_fio_cannot_replay_is_refused_and_leaves_no_file(tmp_path: Path, row: tuple[int, str, str, int, int], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        export_trace(block([row]), tmp_path / "x", "fio_iolog", {})
    assert list(tmp_path.iterdir()) == []


def test_other_kinds_forms_and_options_are_refused(tmp_path: Path) -> None:
    kv = trace_of({"key_id": np.array([1], np.uint64)})
    for trace, form, options, said in (
        (kv, "fio_iolog", {}, "expected block requests"),
        (kv, "vdbench", {}, f"expected one of {', '.join(exports())}"),
        (block([(0, "read", "/dev/a", 0, 1)]), "fio_iolog", {"colour": "red"}, "option 'colour' is unknown"),
    ):
        with pytest.raises(InvalidInput, match=said):
            export_trace(trace, tmp_path / "x", form, options)
