"""The native module `agent._engine` (crate agent/engine). Rust paces, stamps and counts; policy stays in Python.

All times are nanoseconds of CLOCK_MONOTONIC. Every function releases the GIL while it runs.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

__version__: str

class ArrowStream(Protocol):
    """Anything with the Arrow PyCapsule stream interface: pyarrow.RecordBatchReader, pyarrow.Table, polars frames."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

class Interval:
    """What became of the requests due in one second (second 0 starts at T0), one op. Counts obey
    scheduled == completed + sum(errors.values()) + timed_out + dropped + unsent when the run has ended."""

    second: int
    op: str
    scheduled: int
    sent: int
    completed: int
    misses: int  # completed, but the store had no such key (redis nil, http 404 when told to expect it)
    timed_out: int
    dropped: int
    unsent: int
    errors: dict[str, int]  # kind -> n; kinds: connect reset closed protocol server status_4xx status_5xx stopped
    bytes_sent: int
    bytes_received: int
    slip: bytes  # HDR V2 (uncompressed cookie), nanoseconds, 3 significant digits
    service: bytes
    response: bytes

class EngineSecond:
    """Self-check inputs of one wall second of one engine thread."""

    second: int
    core: int  # -1: not pinned
    pinned: bool
    cpu_ns: int  # thread CPU time (CLOCK_THREAD_CPUTIME_ID) spent in this second
    run_delay_ns: int  # waiting for the core, /proc/thread-self/schedstat field 2
    steal_ns: int  # /proc/stat steal of that core
    inflight: int  # at the end of the second
    inflight_max: int
    backlog: int  # due but not yet written (send buffers full or not connected)
    send_buffer_full: int  # writes that the kernel took only in part
    reconnects: int

class Totals:
    scheduled: int
    sent: int
    completed: int
    misses: int
    timed_out: int
    dropped: int
    unsent: int
    errors: dict[str, int]
    first_send_ns: int  # CLOCK_MONOTONIC of the first request that left, 0 if none
    last_due_ns: int
    stopped: bool  # ended by stop(), not by the end of the schedule
    feed_starved: int  # times the engine found no parsed rows although rows were due: the feed was late
    notes: list[str]  # fall-backs taken, in words: "not pinned: EPERM", ...

class Replay:
    """One replay: connect() arms it, run() paces the stream, stop() may come from any thread.

    `slip` is our own lateness: from the moment when a request was both due and free to go (a connection could take it) to its first
    byte's write. What waits because every connection is busy (pipeline full, send buffer full, reconnecting) waits on the
    system: that is in `response`, which always counts from the due time, and in `backlog`."""

    def __init__(
        self,
        *,
        driver: str,  # "redis" | "http" | "tcp"
        host: str,
        port: int,
        ops: Sequence[str] | None = None,  # names by which intervals are split; None: as met in the stream
        connections: int = 8,  # in all, spread over the threads
        cores: Sequence[int] = (),  # one pinned thread a core; empty: one unpinned thread
        timeout_ms: int = 1000,
        late: str = "send",  # "send" | "drop" | "abort"
        late_after_us: int = 0,  # drop/abort only: what counts as late
        window: int = 0,  # 0: open loop. n > 0: closed window, at most n in flight, arrival ignored (preload, capacity)
        pipeline: int = 1024,  # most requests in flight on one connection
        spin_us: int = 60,  # wake this long before a deadline and spin
        host_header: str | None = None,
        path: str = "/",  # http: used where the row has no target
        expect_bytes: bool = False,  # tcp: echo length comes from resp_bytes, else req_bytes
    ) -> None: ...
    def connect(self, timeout_ms: int = 5000) -> None:
        """Opens all connections. Raises ConnectionError naming host, port and errno."""

    def run(
        self,
        rows: ArrowStream,
        t0_ns: int,
        on_interval: Callable[[list[Interval]], None] | None = None,
        on_second: Callable[[EngineSecond], None] | None = None,
    ) -> Totals:
        """Replays rows sorted by arrival_ns; request i is due at t0_ns + arrival_ns. Columns used, by name:
        arrival_ns int64 (required); op utf8 or dictionary; key_id uint64; key_bytes uint32; req_bytes, resp_bytes
        int64; ttl_ms int64; target utf8 or dictionary. Others are ignored. Raises ValueError naming column and row
        for a stream that it cannot use. on_interval gets the closed seconds (called on a collector thread)."""

    def stop(self) -> None:
        """Ends the replay within 100 ms: nothing more is sent, the rest of the schedule is counted unsent."""

def hdr_merge(parts: Sequence[bytes]) -> bytes: ...
def hdr_quantiles(hdr: bytes, quantiles: Sequence[float]) -> list[int]: ...
def hdr_count(hdr: bytes) -> int: ...
def hdr_counts_below(hdr: bytes, bounds: Sequence[int]) -> list[int]:
    """How many recorded values are at or below each bound."""

def hdr_mean(hdr: bytes) -> float: ...
def monotonic_ns() -> int: ...
def key_text(key_id: int, key_bytes: int) -> str:
    """Hex of key_id, zero-padded on the left to key_bytes (never shorter than the hex itself)."""

def serve_resp(
    *,
    host: str,
    port: int,
    mode: str,
    core: int | None,
    stop_fd: int,
    ready: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Runs the built-in RESP server (real hash table) until stop_fd is readable or closed. mode "spin" busy-polls its
    pinned core; "block" sleeps in epoll, asks the scheduler for a short slice, and pins nothing by itself."""

def antagonist_cpu(*, core: int | None, stop_fd: int) -> None:
    """Spins with integer work until stop_fd closes. The dose is made by the cgroup around it."""

def antagonist_membw(*, gb_per_s: float, threads: int, buffer_bytes: int, counter_path: str, stop_fd: int) -> None:
    """Paced streaming reads and writes; 8-byte little-endian count of bytes moved at counter_path, updated at least
    every 10 ms. gb_per_s is 1e9 bytes per second, 0 means unpaced."""
