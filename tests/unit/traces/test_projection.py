import numpy as np
import pyarrow as pa
import pytest

from tests.unit.traces.rows import arrivals, column, trace_of
from traces.errors import InvalidInput
from traces.projection import project
from traces.stream import StreamTrace


def block() -> StreamTrace:
    return trace_of(
        {
            "op": pa.array(["read", "write", "flush", "trim"]),
            "key_id": pa.array([8, None, None, 16], pa.uint64()),
            "offset_bytes": np.array([4096, 1024, 0, 8192]),
            "req_bytes": pa.array([None, 512, None, None]),
            "resp_bytes": pa.array([4096, None, None, None]),
        },
        kind="block",
    )


def test_disk_reads_and_writes_become_gets_and_sets_of_sectors() -> None:
    kv = project(block(), "redis")
    assert column(kv, "op") == ["get", "set", "delete"] and set(column(kv, "kind")) == {"kv"}
    assert column(kv, "key_id") == [8, 2, 16] and column(kv, "key_bytes") == [16, 16, 16]
    assert column(kv, "req_bytes") == [None, 512, None] and column(kv, "resp_bytes") == [4096, None, None]
    assert arrivals(kv).tolist() == [0, 1_000_000, 3_000_000], "times stay; a flush has no counterpart"
    assert kv.meta.kinds == ("kv",)


def test_inferences_become_posts_sized_by_tokens() -> None:
    tokens = {"prompt_tokens": np.array([10, 20], np.int32), "output_tokens": pa.array([1, None], pa.int32())}
    http = project(trace_of(tokens, kind="llm", op="completion"), "http", bytes_per_token=3)
    assert column(http, "op") == ["POST", "POST"] and column(http, "target") == [None, None]
    assert column(http, "req_bytes") == [30, 60] and column(http, "resp_bytes") == [3, None]


def test_key_value_requests_become_paths() -> None:
    kv = trace_of(
        {
            "op": pa.array(["get", "set", "delete"]),
            "key_id": np.array([255, 255, 1], np.uint64),
            "key_bytes": pa.array([4, None, 2], pa.uint32()),
        }
    )
    http = project(kv, "http", key_bytes=6, default_bytes="1KiB")
    assert column(http, "target") == ["/00ff", "/0000ff", "/01"]
    assert column(http, "op") == ["GET", "PUT", "DELETE"] and column(http, "req_bytes") == [None, 1024, None]


def test_anything_becomes_bytes_over_tcp() -> None:
    assert column(project(block(), "tcp"), "req_bytes") == [4096, 512, 64, 64]
    llm = trace_of({"prompt_tokens": np.array([10], np.int32)}, kind="llm", op="chat")
    assert column(project(llm, "tcp"), "req_bytes") == [40]


def test_what_fits_already_stays() -> None:
    http = trace_of({"target": pa.array(["/a", "/b"])}, kind="http", op="GET")
    assert column(project(http, "http"), "target") == ["/a", "/b"]


@pytest.mark.parametrize(("kind", "op", "driver"), [("llm", "chat", "redis"), ("block", "read", "http"), ("kv", "get", "gopher")])
def test_what_does_not_go_together_is_refused(kind: str, op: str, driver: str) -> None:
    trace = trace_of({"key_id": np.array([1], np.uint64)}, kind=kind, op=op)
    with pytest.raises(InvalidInput, match="expected"):
        project(trace, driver)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(InvalidInput, match="option 'colour'"):
        project(block(), "redis", colour="red")
