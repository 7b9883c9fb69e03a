import numpy as np
import pyarrow as pa
import pytest

from tests.unit.traces.rows import arrivals, column, trace_of
from traces.compile import compose
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


def test_images_are_posts_over_http_and_no_chats() -> None:
    images = trace_of({"media_items": np.array([1, 8], np.int32)}, kind="llm", op="image")
    assert column(project(images, "http"), "req_bytes") == [64, 64]
    with pytest.raises(InvalidInput, match="op image: expected chat or completion"):
        column(project(images, "openai"), "op")


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


def calls() -> StreamTrace:
    columns = {"op": pa.array(["rpc", "mc"]), "target": pa.array(["cart", None]), "req_bytes": pa.array([None, 9], pa.int64())}
    return trace_of(columns, kind="rpc")


def test_calls_become_posts_to_who_is_called_and_unary_calls() -> None:
    http = project(calls(), "http", default_bytes=100)
    assert column(http, "op") == ["POST", "POST"] and column(http, "target") == ["cart", None]
    assert column(http, "req_bytes") == [100, 9] and "else 100 bytes" in http.meta.loss_notes
    grpc = project(calls(), "grpc")
    assert column(grpc, "target") == [None, None], "only a path names a method"
    assert column(grpc, "req_bytes") == [64, 9] and "unknown size have 64 bytes" in grpc.meta.loss_notes
    assert column(project(calls(), "tcp"), "op") == ["send", "send"]


def test_flows_become_sends_posts_and_unary_calls() -> None:
    flows = trace_of({"req_bytes": np.array([10, 2_000]), "target": pa.array(["3", "4"])}, kind="flow", op="send")
    assert column(project(flows, "tcp"), "req_bytes") == [10, 2_000] == column(project(flows, "grpc"), "req_bytes")
    assert column(project(flows, "http"), "op") == ["POST", "POST"] and project(flows, "http").meta.kinds == ("http",)


@pytest.mark.parametrize("driver", ["tcp", "http", "grpc", "redis", "block", "openai"])
def test_jobs_feed_interference_and_not_the_request_engine(driver: str) -> None:
    jobs = trace_of({"cpu_milli": np.array([1000])}, kind="job", op="submit", arrival_resolution_ns=10**9)
    with pytest.raises(InvalidInput, match="feed interference, not the request engine"):
        project(jobs, driver)
    # Said before any of the choices that a replay of coarse stamps would ask for.
    with pytest.raises(InvalidInput, match="feed interference"):
        compose(jobs, [], driver=driver, duration_ns=1, rate_per_s=None, seed=0, projection={}, spread=None, rate_over="trace")
    assert column(project(jobs, "null"), "op") == ["submit"]


def test_unknown_options_are_refused() -> None:
    with pytest.raises(InvalidInput, match="option 'colour'"):
        project(block(), "redis", colour="red")
