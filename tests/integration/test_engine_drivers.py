"""Each driver against the real server: what the engine says that it did is what the server saw."""

import subprocess
import sys
import time
from collections import Counter
from concurrent import futures
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from agent import drivers
from agent.cluster import discover
from agent.endpoint import Endpoint
from tests.integration.engine_peers import (
    certificate,
    ended,
    engine,
    free_port,
    memcached_server,
    nginx_server,
    postgresql_server,
    redis_cluster,
    redis_server,
    requests,
)
from tests.integration.test_engine_accounting import assert_adds_up
from tests.integration.test_engine_truth import quantile, redis_command, replay

KV_OPS = ["set", "get", "add", "replace", "append", "incr", "touch", "delete", "get"]


def kv(ops: list[str], keys: list[int], ttl_ms: int | None = None) -> pa.Table:
    n = len(ops)
    return pa.table(
        {
            "arrival_ns": pa.array(np.arange(n) * 1_000_000),
            "op": ops,
            "key_id": pa.array(keys, pa.uint64()),
            "key_bytes": pa.array([8] * n, pa.uint32()),
            "req_bytes": pa.array([100] * n),
            "ttl_ms": pa.array([ttl_ms] * n, pa.int64()),
        }
    )


def by_op(intervals: list[Any]) -> dict[str, tuple[int, int]]:
    """op -> completed, misses."""
    found: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for i in intervals:
        found[i.op] += i.completed
        missed[i.op] += i.misses
    return {op: (found[op], missed[op]) for op in found}


@pytest.mark.parametrize("resp", ["2", "3"])
def test_redis_in_both_versions_of_its_protocol(resp: str) -> None:
    with redis_server() as (port, _):
        totals, intervals, _ = replay(kv(KV_OPS, [1] * 9), driver="redis", port=port, connections=1, options={"resp": resp, "db": "3"})
        told = redis_command(port, "INFO", "keyspace")
    assert totals.errors == {"server": 1}, "INCR of a text"
    assert by_op(intervals) == {
        "set": (1, 0), "get": (2, 1), "add": (1, 1), "replace": (1, 0), "append": (1, 0), "incr": (0, 0), "touch": (1, 0), "delete": (1, 0),
    }  # fmt: skip
    assert "db3" not in told, "all of its keys were deleted again"


def test_redis_that_wants_a_password_says_so_before_the_run() -> None:
    with redis_server() as (port, _):
        assert redis_command(port, "CONFIG", "SET", "requirepass", "secret") == "+OK\r\n"
        run = engine.Replay(driver="redis", host="127.0.0.1", port=port, options={"password": "wrong"})
        with pytest.raises(ConnectionError, match="refused: WRONGPASS"):
            run.connect()
        totals, _, _ = replay(kv(["set"], [1]), driver="redis", port=port, options={"password": "secret"})
    assert totals.completed == 1


@pytest.mark.parametrize("protocol", ["text", "meta"])
def test_memcached_in_both_dialects(protocol: str) -> None:
    ops = ["set", "get", "get", "delete", "delete", "add", "replace", "append", "touch", "gets", "incr", "cas"]
    with memcached_server() as port:
        totals, intervals, _ = replay(
            kv(ops, [1, 1, 2, 1, 1, 3, 4, 3, 3, 3, 3, 3], ttl_ms=60_000),
            driver="memcached", port=port, connections=1, options={"protocol": protocol},
        )  # fmt: skip
    assert totals.errors == {"server": 1}, "INCR of a text"
    assert by_op(intervals) == {
        "set": (1, 0), "get": (2, 1), "delete": (2, 1), "add": (1, 0), "replace": (1, 1), "append": (1, 0), "touch": (1, 0),
        "gets": (1, 0), "incr": (0, 0), "cas": (1, 0),
    }  # fmt: skip


def test_memcached_under_load_loses_nothing() -> None:
    table = requests(20_000, 20_000, ["set", "get"], req_bytes=500)
    with memcached_server() as port:
        totals, intervals, _ = replay(table, driver="memcached", port=port)
    assert_adds_up(table, totals, intervals)
    assert totals.completed == 20_000


def test_a_cluster_is_loaded_whole_and_a_moved_slot_is_followed(tmp_path: Path) -> None:
    with redis_cluster(tmp_path) as ports:
        deadline = time.monotonic() + 20
        while "cluster_state:ok" not in redis_command(ports[0], "CLUSTER", "INFO"):
            assert time.monotonic() < deadline, "the cluster does not become ok"
            time.sleep(0.1)
        nodes, slots = discover(Endpoint("redis", "127.0.0.1", ports[0]))
        assert sorted(port for _, port in nodes) == sorted(ports)
        table = requests(3000, 6000, ["set", "get"])
        totals, _, _ = replay(table, driver="redis", port=ports[0], connections=2, cluster=(nodes, slots))
        assert totals.completed == 3000
        assert all("cmdstat_set:calls=" in redis_command(port, "INFO", "commandstats") for port in ports)
        # Told wrongly where everything lies, it learns by redirections.
        totals, intervals, _ = replay(table, driver="redis", port=ports[0], connections=2, cluster=(nodes[:1], [0] * len(slots)))
        assert_adds_up(table, totals, intervals)
        assert totals.completed == 3000


def test_a_redirection_without_a_cluster_is_an_error_of_the_server(tmp_path: Path) -> None:
    with redis_cluster(tmp_path) as ports:
        totals, _, _ = replay(requests(100, 1000), driver="redis", port=ports[0])
    assert totals.scheduled == ended(totals) == 100
    assert totals.errors.get("server", 0) > 0


@pytest.mark.parametrize(("driver", "listen"), [("http", "ssl"), ("http2", ""), ("http2", "ssl")])
@pytest.mark.parametrize("keepalive", [50, 1_000_000])
def test_nginx_over_tls_and_http2(tmp_path: Path, driver: str, listen: str, keepalive: int) -> None:
    targets = ["/ok", "/ok", "/none at all?x=1", "/ok"]
    table = requests(2000, 4000, ["GET", "HEAD", "GET", "POST"])
    table = table.append_column("target", pa.array([targets[i % 4] for i in range(2000)]).dictionary_encode())
    tls = certificate(tmp_path) if listen else None
    words = f"{listen} http2" if driver == "http2" else listen
    with nginx_server(tmp_path, keepalive, words, tls) as port:
        totals, intervals, _ = replay(
            table, driver=driver, port=port, connections=4, pipeline=1 if driver == "http" else 100, tls=str(tls[0]) if tls else None
        )
    assert_adds_up(table, totals, intervals)
    assert (totals.completed, totals.errors) == (1500, {"status_4xx": 500})


def test_a_certificate_that_nobody_vouches_for_is_refused_in_words(tmp_path: Path) -> None:
    tls = certificate(tmp_path)
    with nginx_server(tmp_path, 100, "ssl", tls) as port:
        run = engine.Replay(driver="http", host="127.0.0.1", port=port, tls="system")
        with pytest.raises(ConnectionError, match="refused: TLS: invalid peer certificate"):
            run.connect()
        totals, _, _ = replay(requests(50, 1000, ["GET"]), driver="http", port=port, pipeline=1, tls="anybody", options={"path": "/ok"})
        assert totals.completed == 50
        plain = engine.Replay(driver="http", host="127.0.0.1", port=free_port(), tls=str(tls[0]))
        with pytest.raises(ConnectionError, match="Connection refused"):
            plain.connect()


def test_http2_keeps_to_windows_with_large_bodies(tmp_path: Path) -> None:
    table = requests(60, 200, ["POST"], req_bytes=300_000)
    with nginx_server(tmp_path, 1_000_000, "http2") as port:
        totals, intervals, _ = replay(table, driver="http2", port=port, connections=2, timeout_ms=10_000, options={"path": "/ok"})
    assert_adds_up(table, totals, intervals)
    assert totals.completed == 60


def test_grpc_against_grpcio() -> None:
    grpc = pytest.importorskip("grpc")
    seen: Counter[int] = Counter()

    def echo(request: bytes, context: Any) -> bytes:
        seen[len(request) + 5] += 1
        if len(request) > 5000:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too large")
        return request

    handler = grpc.method_handlers_generic_handler("test.Echo", {"Say": grpc.unary_unary_rpc_method_handler(echo)})
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        table = requests(400, 800, ["rpc"], req_bytes=100)
        totals, intervals, _ = replay(table, driver="grpc", port=port, connections=2, options={"path": "/test.Echo/Say"})
        assert_adds_up(table, totals, intervals)
        assert totals.completed == 400
        assert seen == {100: 400}
        totals, _, _ = replay(requests(5, 100, ["rpc"], req_bytes=9000), driver="grpc", port=port, options={"path": "/test.Echo/Say"})
        assert totals.errors == {"server": 5}
        totals, _, _ = replay(requests(5, 100, ["rpc"]), driver="grpc", port=port, options={"path": "/test.Echo/None"})
        assert totals.errors == {"server": 5}, "unimplemented"
    finally:
        server.stop(None)


def test_streamed_tokens_have_the_times_that_the_server_gives_them() -> None:
    first_ms, each_ms, tokens = 60, 5, 11
    server = Path(__file__).with_name("token_server.py")
    command = [sys.executable, str(server), str(first_ms), str(each_ms)]
    n = 20
    table = pa.table(
        {
            "arrival_ns": pa.array(np.arange(n) * 50_000_000),
            "op": ["chat", "completion"] * (n // 2),
            "prompt_tokens": pa.array([1000] * n, pa.int32()),
            "output_tokens": pa.array([tokens] * (n - 1) + [13], pa.int32()),
            "prefix_hashes": pa.array([[7, i] for i in range(n)], pa.list_(pa.uint64())),
        }
    )
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        port = int(process.stdout.readline())
        totals, intervals, _ = replay(table, driver="openai", port=port, connections=6, pipeline=1, timeout_ms=5000)
        process.stdin.close()
    assert (totals.completed, totals.errors) == (n - 1, {"server": 1}), "the last one was broken off by an error in its stream"
    assert sum(i.output_tokens for i in intervals) == tokens * (n - 1)
    streamed = [i for i in intervals if i.ttft]
    assert quantile(streamed, "ttft", 0.0) >= first_ms / 1000
    assert quantile(streamed, "ttft", 0.5) == pytest.approx(first_ms / 1000, rel=0.3)
    assert quantile(streamed, "tpot", 0.5) == pytest.approx(each_ms / 1000, rel=0.3)
    assert quantile(streamed, "response", 0.0) >= (first_ms + each_ms * (tokens - 1)) / 1000


def udp_echo() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "agent.targets", "udp-echo", "--until-stdin-closes"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_udp_counts_what_is_lost() -> None:
    table = requests(10_000, 10_000, ["send"], req_bytes=200)
    with udp_echo() as process:
        assert process.stdin and process.stdout
        port = int(process.stdout.readline().split()[1])
        totals, intervals, _ = replay(table, driver="udp", port=port, connections=4, timeout_ms=200)
        assert_adds_up(table, totals, intervals)
        assert totals.completed + totals.timed_out == 10_000
        assert totals.completed > 9000
        process.stdin.close()
    totals, _, _ = replay(requests(200, 1000, ["send"]), driver="udp", port=free_port(), timeout_ms=100)
    assert totals.completed == 0
    assert totals.scheduled == ended(totals) == 200
    assert totals.errors.get("connect", 0) > 0, "the kernel says that nobody is there"


@pytest.mark.parametrize("how", ["io_uring", "threads"])
def test_block_requests_reach_a_file(tmp_path: Path, how: str) -> None:
    file = tmp_path / "disk"
    n, size = 600, 8 << 20
    rng = np.random.default_rng(3)
    table = pa.table(
        {
            "arrival_ns": pa.array(np.arange(n) * 1_000_000),
            "op": [["read", "write", "read", "flush"][i % 4] for i in range(n)],
            "offset_bytes": pa.array(rng.integers(0, 2 * size // 4096, n) * 4096),
            "req_bytes": pa.array([4096] * n),
            "resp_bytes": pa.array([4096] * n),
        }
    )
    try:
        run = engine.Replay(
            driver="block",
            host=str(file),
            port=0,
            connections=4,
            timeout_ms=5000,
            options={"size": str(size), "engine": how, "direct": "auto"},
        )
        run.connect()
    except ConnectionError as error:
        pytest.skip(f"no {how} here: {error}")
    before = file.read_bytes()
    intervals: list[Any] = []
    totals = run.run(table, engine.monotonic_ns() + 10_000_000, intervals.extend)
    assert_adds_up(table, totals, intervals)
    assert (totals.completed, totals.errors) == (n, {})
    assert any("wrapped around" in note for note in totals.notes)
    after = file.read_bytes()
    assert len(before) == len(after) == size
    assert before != after
    assert quantile(intervals, "service", 0.5) > 0


def test_a_block_target_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"No such file or directory.*option size"):
        engine.Replay(driver="block", host=str(tmp_path / "none"), port=0)


def test_the_null_driver_answers_everything() -> None:
    table = requests(50_000, 1.0)
    totals, intervals, _ = replay(table, driver="null", port=0, window=1000)
    assert totals.completed == 50_000 == sum(i.completed for i in intervals)


def test_postgresql_by_a_driver_in_python(tmp_path: Path) -> None:
    psycopg = pytest.importorskip("psycopg")
    with postgresql_server(tmp_path) as url:
        run = engine.Replay(driver="python", host="postgresql", port=0, connections=3, timeout_ms=5000)
        run.connect()
        crew = drivers.Crew(drivers.load("postgresql", url, {"url": url}), run)
        ops = ["set", "get", "get", "delete", "get", "add", "add", "append", "incr"]
        table = kv(ops * 20, [k for i in range(20) for k in ([i] * 9)])
        table = table.append_column("session_id", pa.array(np.repeat(np.arange(20, dtype=np.uint64), 9)))
        intervals: list[Any] = []
        totals = run.run(table, engine.monotonic_ns() + 10_000_000, intervals.extend)
        crew.join(5)
        with psycopg.connect(url) as connection:
            stored = connection.execute("SELECT count(*), min(length(value)), min(number) FROM offspec_kv").fetchone()
    assert_adds_up(table, totals, intervals)
    assert totals.completed == 180, totals.errors
    assert by_op(intervals)["get"] == (60, 20)
    assert by_op(intervals)["add"] == (40, 20)
    assert stored == (20, 200, 1)


def test_a_python_driver_whose_server_goes_away_counts_closed_and_connect(tmp_path: Path) -> None:
    with postgresql_server(tmp_path) as url:
        run = engine.Replay(driver="python", host="postgresql", port=0, connections=2, timeout_ms=2000)
        run.connect()
        crew = drivers.Crew(drivers.load("postgresql", url, {"url": url}), run)
    table = requests(50, 500)
    totals = run.run(table, engine.monotonic_ns())
    crew.join(5)
    assert totals.scheduled == ended(totals) == 50
    assert totals.completed == 0
    assert set(totals.errors) <= {"closed", "connect"}
    assert totals.errors["closed"] == 2


def test_sessions_keep_their_order_on_one_connection() -> None:
    # SET then INCRs of one key in one session: any other order would answer otherwise.
    keys, steps = 40, 25
    rows = [(step, key) for step in range(steps) for key in range(keys)]
    table = pa.table(
        {
            "arrival_ns": pa.array(np.arange(len(rows)) * 1_000),
            "op": ["delete" if step == 0 else "incr" for step, _ in rows],
            "key_id": pa.array([key for _, key in rows], pa.uint64()),
            "session_id": pa.array([key for _, key in rows], pa.uint64()),
        }
    )
    with redis_server() as (port, _):
        totals, _, _ = replay(table, driver="redis", port=port, connections=8, cores=[0, 1], pipeline=2)
        values = {redis_command(port, "GET", engine.key_text(key, 0)) for key in range(keys)}
    assert totals.completed == len(rows)
    assert values == {"$2\r\n24\r\n"}


def test_thinking_users_ask_at_the_pace_that_arithmetic_gives() -> None:
    users, think_us, seconds = 10, 10_000, 2
    n = users * seconds * 1_000_000 // think_us
    with redis_server() as (port, _):
        began = engine.monotonic_ns()
        totals, _, _ = replay(requests(n, 1.0), driver="redis", port=port, window=users, think_us=think_us)
        took_s = (engine.monotonic_ns() - began) / 1e9
    assert totals.completed == n
    assert seconds - 0.05 <= took_s, "nobody asks before the pause is over"


def test_the_log_has_every_request_once() -> None:
    table = requests(20_000, 20_000, ["get", "set"])
    logged: list[Any] = []
    with redis_server() as (port, _):
        run = engine.Replay(driver="redis", host="127.0.0.1", port=port, log_requests=True)
        run.connect()
        run.run(table, engine.monotonic_ns() + 10_000_000, None, None, logged.append)
    rows = np.concatenate([np.frombuffer(log.row, np.uint64) for log in logged])
    due = np.concatenate([np.frombuffer(log.due_ns, np.int64) for log in logged])
    sent = np.concatenate([np.frombuffer(log.sent_ns, np.int64) for log in logged])
    done = np.concatenate([np.frombuffer(log.done_ns, np.int64) for log in logged])
    ends = np.concatenate([np.frombuffer(log.end, np.int8) for log in logged])
    assert sorted(rows.tolist()) == list(range(20_000))
    assert np.array_equal(due, table["arrival_ns"].to_numpy()[rows.astype(np.int64)])
    assert (due <= sent).all()
    assert (sent < done).all()
    assert {engine.ENDS[e] for e in ends} <= {"completed", "miss"}


def test_kernel_stamps_lie_between_ours() -> None:
    table = requests(5000, 5000, ["set", "get"], req_bytes=300)
    with redis_server() as (port, _):
        totals, intervals, seconds = replay(table, driver="redis", port=port, connections=3, kernel_stamps=5)
    assert_adds_up(table, totals, intervals)
    assert totals.completed == 5000
    for kind in ("kernel_sent", "kernel_read"):
        blobs = [blob for s in seconds if (blob := getattr(s, kind))]
        if not blobs:
            pytest.skip("this kernel gives no stamps")
        counts = [engine.hdr_count(blob) for blob in blobs]
        assert 100 <= sum(counts) <= 5000
        middle_us = engine.hdr_quantiles(blobs[counts.index(max(counts))], [0.5])[0] / 1000
        assert 0 < middle_us < quantile(intervals, "service", 0.9) * 1e6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"driver": "redis", "options": {"rsp": "3"}}, "option rsp: the redis driver has none of this name"),
        ({"driver": "redis", "options": {"resp": "4"}}, "option resp=4: expected 2 or 3"),
        ({"driver": "http", "options": {"path": "no"}}, "option path=no: expected a path that begins with /"),
        ({"driver": "http", "options": {"headers": "x"}}, "option headers"),
        ({"driver": "udp", "tls": "system"}, "tls: the udp driver has none"),
        ({"driver": "gopher"}, 'driver "gopher": expected redis, memcached'),
        ({"driver": "redis", "think_us": 5}, "think_us: only a closed loop thinks"),
        ({"driver": "http", "cluster": ([("h", 1)], [0])}, "cluster: only the redis driver"),
    ],
)
def test_wishes_that_cannot_be_met_are_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        engine.Replay(host="127.0.0.1", port=1, **options)
