"""The native module `agent._engine` (crate agent/engine). Rust paces, stamps, counts; policy stays in Python.

All times are nanoseconds of CLOCK_MONOTONIC. Every function that takes time releases the GIL while it runs.

Three stamps of a request, due, sent and done, and what is made of them:

    response = done - due      what a user would have seen; no coordinated omission
    service  = done - sent     `sent` is taken just before the write that carries the request's first byte
    slip     = sent - ready    our own lateness, and ours alone: `ready` is when the request was both due and
                               allowed to go

A request may not go while every connection is down, has `pipeline` requests in flight, or has a full send
buffer. That is the system's doing: such waiting is in `response` and not in `slip`, and EngineSecond.backlog
shows how many wait. `service` and `response` hold the completed requests only; `slip` holds all that were
sent.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

__version__: str

class ArrowStream(Protocol):
    """Anything with the Arrow PyCapsule stream: pyarrow.RecordBatchReader, pyarrow.Table, polars frames."""

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
    errors: dict[str, int]
    """kind -> n. connect: nobody listened; reset, closed: the connection broke after the request had left (or
    was given up by us, see Replay); protocol: an answer that cannot be read; server: an error in the
    protocol's own terms (-ERR); status_4xx, status_5xx; stopped: on its way when stop() was called."""
    bytes_sent: int
    bytes_received: int  # whole answers to requests that had not timed out
    output_tokens: int  # of streamed answers: the server's own count, else chunks with text
    slip: bytes  # HDR V2 (uncompressed cookie), nanoseconds, 3 significant digits
    service: bytes
    response: bytes
    ttft: bytes  # due to first token; empty bytes where no answer was streamed
    tpot: bytes  # per token after the first

class EngineSecond:
    """Self-check inputs of one wall second of one engine thread."""

    second: int
    core: int  # -1: not pinned
    pinned: bool
    cpu_ns: int  # thread CPU time (CLOCK_THREAD_CPUTIME_ID) spent in this second
    run_delay_ns: int  # waiting for the core, /proc/self/task/TID/schedstat field 2
    steal_ns: int  # /proc/stat steal of that core; of all cores if not pinned
    inflight: int  # sent or partly sent and without an end, when the second ended
    inflight_max: int
    backlog: int  # due but not yet written (send buffers full or not connected)
    send_buffer_full: int  # writes that the kernel took only in part
    reconnects: int
    gap_due: bytes  # HDR V2 of 2 digits: gaps of the schedule between requests that left one after the other; empty bytes in a closed loop
    gap_sent: bytes  # the same pairs as they left; none that the server kept waiting
    kernel_sent: bytes  # HDR V2 of 2 digits: from our stamp before a write to the kernel's (SO_TIMESTAMPING); empty: not asked
    kernel_read: bytes  # from the kernel's stamp of bytes come in to ours after the read

class RequestLog:
    """Requests that have ended, by column: buffers of native numbers."""

    rows: int
    row: bytes  # uint64, place in the stream
    due_ns: bytes  # int64 from T0, as the two below; their least value: never
    sent_ns: bytes
    done_ns: bytes
    op: bytes  # int8, place in ops
    end: bytes  # int8, place in ENDS
    ops: list[str]

ENDS: list[str]

class Request:
    """One request, as a driver in Python sees it."""

    op: str
    key_id: int
    key_bytes: int
    req_bytes: int
    resp_bytes: int
    ttl_ms: int
    target: str | None

class Worker:
    """One worker's place in a replay with driver "python"; for one thread."""

    def take(self) -> Request | None:
        """Waits for the next request; None: there will be no more. `sent` is stamped as this returns."""

    def finish(self, answer: str = "ok", bytes: int = 0) -> None:
        """ok, miss, server (an error in the server's words), reset, closed, connect. `done` is stamped here."""

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

    Requests are dealt to the connections in turn, passing over those that may not take one. A request times
    out at due + timeout_ms wherever it is. Its late answer is still read, in its place; a connection whose
    oldest request has timed out and left more than twice the timeout ago is closed and opened again (1 ms to
    1 s apart), and what had left on it ends as `closed`. What had not left, and what an HTTP server declines
    to answer by `Connection: close`, goes to another connection. While nobody listens, what is due ends as
    `connect`.
    """

    def __init__(
        self,
        *,
        driver: str,  # redis memcached http http2 grpc openai tcp udp block null, or python (see workers())
        host: str,  # block: the path
        port: int,
        ops: Sequence[str] | None = None,  # split intervals by these and "other"; None: as met, 63 at most
        connections: int = 8,  # in all, spread over the threads; of a cluster to each server
        cores: Sequence[int] = (),  # a pinned thread each, spinning for answers; empty: one, unpinned
        timeout_ms: int = 1000,
        late: str = "send",  # "send" | "drop" | "abort"
        late_after_us: int = 0,  # drop/abort only: how late we may take a request up ourselves
        window: int = 0,  # n > 0: closed loop from T0 with n users, arrival ignored
        think_us: int = 0,  # closed loop: from an answer to the user's next request
        think: str = "constant",  # or "exponential", of that mean
        pipeline: int = 1024,  # most requests in flight on one connection; most HTTP clients keep to 1
        spin_us: int = 60,  # wake this long before a deadline and spin
        options: Mapping[str, str] | None = None,  # the driver's own, see run()
        tls: str | None = None,  # "system" | "anybody" | path of a PEM file
        cluster: tuple[Sequence[tuple[str, int]], Sequence[int]] | None = None,  # redis: servers, and each slot's place among them
        log_requests: bool = False,  # tell on_requests of each
        kernel_stamps: int = 0,  # n > 0: the kernel stamps one in n writes and reads of a plain TCP connection
        seed: int = 1,  # of exponential thinking
    ) -> None:
        """Raises ValueError, one line, for what the driver does not have."""

    def workers(self) -> list[Worker]:
        """After connect(), with driver "python": one for each connection."""

    def connect(self, timeout_ms: int = 5000) -> None:
        """Opens all connections. Raises ConnectionError naming host, port and errno. Left out, run() opens
        them as it goes, and requests wait for that."""

    def run(
        self,
        rows: ArrowStream,
        t0_ns: int,
        on_interval: Callable[[list[Interval]], None] | None = None,
        on_second: Callable[[EngineSecond], None] | None = None,
        on_requests: Callable[[RequestLog], None] | None = None,
    ) -> Totals:
        """Replays rows sorted by arrival_ns; request i is due at t0_ns + arrival_ns. A t0_ns in the past
        makes requests late. Columns used, by name: arrival_ns int64 (required); op text or dictionary; key_id
        uint64; key_bytes uint32; req_bytes, resp_bytes, ttl_ms int64; target text or dictionary. Others are
        ignored. Raises ValueError naming column and row for a stream that it cannot use; what was sent until
        then is sent.

        on_interval gets each second once, in order, when all its requests have ended. Callbacks run on the
        thread that called run(). If one raises, the run is stopped and raises the same; so it is with Ctrl-C.

        Requests with a session_id keep to one connection each, in order. Of a driver's options, with their defaults first:

        redis: get gets -> GET; set cas write -> SET (PX ttl_ms); add, replace -> SET NX, XX; append prepend ->
        APPEND; delete trim -> DEL; incr; decr; touch -> TOUCH, PEXPIRE with a ttl; others -> GET. resp=2|3, user,
        password, db. memcached: each by its own name; cas -> set. protocol=text|meta. http, http2: an op that is a
        method is sent so; read -> GET; set write -> PUT; others POST if req_bytes > 0, else GET. path=/ (used where the
        row has no target; "{key}" at its end becomes the row's key), headers ("Name: value" lines). grpc: unary; target
        or path is the method; one protobuf field of bytes makes the body req_bytes long. headers. openai: streamed
        chat, or completion by op; prompt_tokens words, output_tokens as max_tokens, prefix_hashes share text. path=/v1,
        model=default, key, usage=ask|leave, block_tokens=512, headers. tcp: req_bytes (at least 1) out, as many back.
        answer=echo|resp_bytes. udp: req_bytes (at least 8) out, the first 8 of them a number that must come back; what
        does not is lost: timed_out. block: read write trim flush at offset_bytes. engine=auto|io_uring|threads,
        direct=auto|yes|no, access=rw|ro, size (makes or extends a file). null: answered as it leaves."""

    def disarm(self) -> None:
        """Closes what connect() opened and run() has not used; workers that wait are let go."""

    def stop(self) -> None:
        """Within 100 ms nothing more is sent; the rest of the stream is read and counted unsent; run()
        returns."""

def hdr_merge(parts: Sequence[bytes]) -> bytes:
    """Adds histograms of 3 digits from 1 exactly; no parts: an empty one. Raises ValueError naming the
    part."""

def hdr_quantiles(hdr: bytes, quantiles: Sequence[float]) -> list[int]:
    """Values at quantiles (0 to 1); zeros for an empty histogram."""

def hdr_count(hdr: bytes) -> int: ...
def hdr_counts_below(hdr: bytes, bounds: Sequence[int]) -> list[int]:
    """How many recorded values are at or below each bound."""

def hdr_mean(hdr: bytes) -> float: ...
def hdr_ks(a: bytes, b: bytes, floor: int) -> float:
    """Largest difference of two cumulative distributions, values below `floor` taken as one; 0 where one is empty."""

def monotonic_ns() -> int: ...
def key_text(key_id: int, key_bytes: int) -> str:
    """Hex of key_id, zero-padded on the left to key_bytes (never shorter than the hex itself)."""

def value(key_id: int, bytes: int) -> bytes:
    """The payload that a store of this key carries."""

def serve(
    *,
    kind: str,  # "echo" | "udp-echo" | "resp" | "http"
    host: str,
    port: int,  # 0: any free one
    mode: str,  # "spin": never sleeps; "block": sleeps in the kernel, asks the scheduler for a short slice
    core: int | None,  # pinned to it; None: pins nothing
    stop_fd: int,
    ready: Callable[[int], None] | None = None,
    service: tuple[str, Sequence[float]] | None = None,
    seed: int = 0,
    stalls: Sequence[tuple[int, int]] = (),  # (after the first request, for), nanoseconds
    frame_bytes: int = 0,  # echo: length of a request; 0: whatever has arrived at once
    body_bytes: int = 128,  # http: length of the answer's body
) -> dict[str, Any]:
    """Runs one built-in target until stop_fd is readable or closed; `ready` gets its port once it listens.

    `service` is the law of the service time and its parameters in nanoseconds: ("constant", [ns]),
    ("exponential", [mean]), ("bimodal", [p, low, high]), ("request", []). All connections feed one queue, first
    come first served. Returns connections, jobs, busy_mean_ns, busy_second_moment_ns2 (a job is busy from when it
    was seen and the server free until its answer was written, so reading and writing are in it), drawn_mean_ns
    (of the law alone), first_ns and last_ns (CLOCK_MONOTONIC of the first job seen and the last answered).

    Without it, resp only: the plain store, which answers each connection's commands as it comes to it; seed and
    stalls are not used. Returns connections, commands, slice_ns.

    Raises OSError for an address or core that it cannot have, ValueError for anything else."""

def relay_ways(
    *, routes: Sequence[tuple[int, int, str, int, bool]], page_path: str, stop_fd: int, most_held: int = ..., lost: float = ...
) -> None:
    """Each route is (listening stream, datagram socket or -1, onward address, onward port, whether it is held back); the descriptors are
    given away. A flow holds at most `most_held` bytes (16 MiB); the sockets of what is held back lose the share `lost` of what arrives (0).
    The page is a file of 16 numbers of 64 bits: delay each way in ns, jitter, bytes per second, two that are the caller's, packets that
    arrived where some are lost and those that were, one spare; then bytes each way, datagrams each way, dropped, refused, connections, and
    how late something ever was, in ns.
    """

def measure_round_trips(*, page_path: str, every_us: int, await_way: Callable[[], tuple[str, int]], stop_fd: int) -> None:
    """The page is a file of numbers of 64 bits: the port of the echo, how many round trips have ended by the way of `await_way` and
    directly, then the last 1024 of each, in ns.
    """

def serve_slow_disk(*, folder_fd: int, fuse_fd: int, page_path: str, stop_fd: int) -> None:
    """Serves the FUSE mount of `fuse_fd`, which shows the folder of `folder_fd`, until it is gone; both are given away. The page is a file
    of 8 numbers of 64 bits: ns to hold each request that reaches the disk, how many there were, the latest that one was done after it was
    due; five that are the caller's.
    """

def antagonist_cpu(*, core: int | None, stop_fd: int) -> None:
    """Spins with integer work until stop_fd closes. The dose is made by the cgroup around it."""

def antagonist_paced(
    *,
    kind: str,  # membw lines pages faults hold disk fsync pagecache packets calls switches locks called
    page_path: str,  # agent/antagonist_page.py: the rate asked for, what was done
    stop_fd: int,
    threads: int = 1,  # the rate is of all together
    numbers: Mapping[str, float] = {},
    path: str | None = None,  # disk, fsync, pagecache: the folder for their files
    address: str | None = None,  # packets: one of this node's
    step: Callable[[int], int] | None = None,  # called: does about so many units on a thread of its own, returns how many it did
) -> None:
    """Paced work until stop_fd closes. Units and numbers: membw bytes read and written (buffer_bytes); lines, pages: touches (set_bytes);
    faults; hold: the rate is bytes to hold (most_bytes, grow_bytes_per_s, 0: at once); disk: operations (file_bytes, block_bytes,
    write_share), one in flight a thread; fsync: write and fdatasync; pagecache: bytes (file_bytes, write_share); packets (payload_bytes);
    calls; switches; locks: hand-overs; called: whatever `step` counts (quantum, most: the bounds
    of what it is asked). Raises OSError where it cannot be prepared, ValueError for what is missing."""

def chase_load_ns(*, set_bytes: int, each_ms: int) -> float:
    """Nanoseconds per dependent load over a working set, the best of three rounds of about each_ms."""
