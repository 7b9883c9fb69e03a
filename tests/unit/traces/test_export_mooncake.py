"""What is written as Mooncake's jsonl reads back as it was, to the millisecond."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.unit.traces.rows import column, real, table, trace_of
from traces.errors import InvalidInput
from traces.exports import export_trace
from traces.source import open_trace
from traces.stream import StreamTrace


def held(**meta: object) -> StreamTrace:
    columns = {
        "arrival_ns": np.array([0, 1_500_000, 27_000_000]),
        "prompt_tokens": pa.array([600, 20, 1030], pa.int32()),
        "output_tokens": pa.array([5, 6, 7], pa.int32()),
        "prefix_hashes": pa.array([[1, 2], None, [1, 2, 3]], pa.list_(pa.field("item", pa.uint64(), nullable=False))),
    }
    return trace_of(columns, kind="llm", op="completion", **meta)


def test_it_reads_back_as_it_was(tmp_path: Path) -> None:
    assert export_trace(held(llm_block_tokens=512), tmp_path / "a.jsonl", "mooncake", {}) == 3
    assert '"timestamp": 1, "input_length": 20, "output_length": 6, "hash_ids": []' in (tmp_path / "a.jsonl").read_text()
    back = open_trace(tmp_path / "a.jsonl")
    assert back.meta.importer == "mooncake" and column(back, "arrival_ns") == [0, 1_000_000, 27_000_000]
    assert column(back, "prompt_tokens") == [600, 20, 1030] and column(back, "prefix_hashes") == [[1, 2], [], [1, 2, 3]]


def test_mooncakes_own_trace_comes_out_as_it_went_in(tmp_path: Path) -> None:
    trace = open_trace(real("mooncake_fast25/conversation_trace.jsonl"))
    export_trace(trace, tmp_path / "a.jsonl", "mooncake", {})
    assert table(open_trace(tmp_path / "a.jsonl")).equals(table(trace))


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        (held(llm_block_tokens=16), "prefix blocks of 16 tokens; expected 512"),
        (held(arrival_model="none"), "has no times"),
        (trace_of({"key_id": np.arange(2, dtype=np.uint64)}), "a trace of kind kv; expected LLM requests"),
        (trace_of({"prompt_tokens": pa.array([1], pa.int32())}, kind="llm", op="chat"), "request 0 (from 0): no number of output tokens"),
    ],
)
def test_what_mooncakes_form_cannot_hold_is_refused(tmp_path: Path, trace: StreamTrace, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        export_trace(trace, tmp_path / "a.jsonl", "mooncake", {})
    assert said in str(refused.value) and not (tmp_path / "a.jsonl").exists()
