"""What GoReplay records (.gor; https://github.com/buger/goreplay, docs/Saving-and-Replaying-from-file.md and protocol.go): payloads apart
by a line of three monkeys, each after a line `type id timestamp [latency]` in nanoseconds. Type 1 is a request, 2 its response, 3 that of
a replay.

One row is one HTTP request. A response gives its request status, size and latency if it comes within the next 65,536 requests, so that
memory stays bounded. With both responses the recorded one is taken, not the replay's.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from traces.errors import InvalidInput
from traces.formats.bytes_in import MOST_LINE_BYTES, blocks
from traces.formats.http_message import Response, request_of, response_of
from traces.formats.left_out import LINES, Tally, left_out, skips_others
from traces.formats.reading import Chunk, check_options, file_trace
from traces.schema import BATCH_ROWS, OPS, TraceMeta
from traces.stream import Trace

SEPARATOR = "\n🐵🙈🙉\n".encode()
MOST_WAITING = BATCH_ROWS
_META = re.compile(rb"([123]) ([!-~]{1,100}) (\d{1,19})(?: (-?\d{1,19}))?\r?")
REQUEST, RESPONSE, REPLAYED = b"1", b"2", b"3"


@dataclass
class Waiting:
    """A request, and what is known of its response so far."""

    stamp_ns: int
    method: str
    target: str
    host: str
    req_bytes: int
    status: int | None = None
    resp_bytes: int | None = None
    observed_ns: int | None = None
    answered_by: bytes = b""

    def answer(self, kind: bytes, stamp_ns: int, latency_ns: int, response: Response) -> None:
        """A recorded response is stamped when it began and says how long it took; a replay's latency is the whole round trip."""
        if self.answered_by == RESPONSE:
            return
        took = latency_ns if kind == REPLAYED else stamp_ns - self.stamp_ns + max(0, latency_ns)
        bodiless = self.method == "HEAD" or response.status in (204, 304)  # whose header may say a length all the same
        self.status, self.resp_bytes, self.answered_by = response.status, 0 if bodiless else response.body_bytes, kind
        self.observed_ns = took if 0 <= took < 2**62 else None


class GoReplay:
    name = "goreplay"
    summary = "GoReplay .gor: HTTP requests, with status, size and latency of their responses; option other=refuse for what is no HTTP"

    def sniff(self, path: Path, head: bytes) -> int:
        line, _, rest = head.partition(b"\n")
        if _META.fullmatch(line) is None:
            return 0
        return 3 if SEPARATOR in head or request_of(rest) is not None or response_of(rest) is not None else 1

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort", "other"), self.name)
        skip = skips_others(path, options)
        note = left_out(lambda tally: _read(path, skip, tally)).replace("lines left out", "payloads left out")
        meta = TraceMeta(
            kinds=("http",),
            importer=self.name,
            loss_notes="; ".join(filter(None, ("headers and bodies are left out", note))),
        )
        return file_trace(path, meta, lambda: _read(path, skip, Tally()), options, clock="unix", sort="10s")


def payloads(path: Path) -> Iterator[tuple[int, bytes]]:
    """(byte at which it begins, payload). Raises InvalidInput for one over 16 MiB."""
    at, rest = 0, b""
    for data in blocks(path):
        seen = max(0, len(rest) - len(SEPARATOR))
        whole = rest + data
        start = 0
        while (end := whole.find(SEPARATOR, max(start, seen))) >= 0:
            yield at + start, whole[start:end]
            start = end + len(SEPARATOR)
        at, rest = at + start, whole[start:]
        if len(rest) > MOST_LINE_BYTES:
            raise InvalidInput(
                f"{path}: byte {at}: over {MOST_LINE_BYTES >> 20} MiB without the line that ends a payload; expected a GoReplay file; "
                "name another --format"
            )
    if rest.strip():
        yield at, rest


def _read(path: Path, skip: bool, tally: Tally) -> Iterator[Chunk]:
    waiting: dict[bytes, Waiting] = {}
    unnamed = 0
    for at, payload in payloads(path):
        tally[LINES] += 1
        line, _, data = payload.partition(b"\n")
        meta = _META.fullmatch(line)
        if meta is None or int(meta[3]) >= 2**63:
            raise InvalidInput(
                f"{path}: byte {at}: {line[:60].decode(errors='replace')!r}; expected `type id timestamp latency` with type 1, 2 or 3; "
                "the file is damaged or cut short: fetch or record it again"
            )
        kind, name, stamp, latency = meta[1], meta[2], int(meta[3]), int(meta[4] or -1)
        if kind == REQUEST:
            request = request_of(data)
            if request is None or request.method not in OPS["http"]:
                if not skip:
                    shown = data[:40].decode(errors="replace")
                    raise InvalidInput(
                        f"{path}: byte {at}: request {shown!r}; expected HTTP/1 with one of {', '.join(OPS['http'])}; give the option "
                        "other=skip to leave such out"
                    )
                tally["without an HTTP request" if request is None else "of other methods"] += 1
                continue
            if name in waiting:  # ids are unique, but nothing that is recorded may be lost if one is not
                unnamed += 1
                waiting[b"%b %d" % (name, unnamed)] = waiting.pop(name)
            waiting[name] = Waiting(stamp, request.method, request.target, request.host, request.body_bytes)
            if len(waiting) >= 2 * MOST_WAITING:
                settled = [waiting.pop(each) for each in list(waiting)[:MOST_WAITING]]
                yield _chunk(settled)
        elif (asked := waiting.get(name)) is None:
            tally["responses without a request near before them"] += 1
        elif (response := response_of(data)) is None:
            tally["responses that are no HTTP"] += 1
        else:
            asked.answer(kind, stamp, latency, response)
    if waiting:
        yield _chunk(list(waiting.values()))


def _chunk(rows: list[Waiting]) -> Chunk:
    return {
        "arrival_ns": np.array([row.stamp_ns for row in rows], dtype=np.int64),
        "kind": "http",
        "op": pa.array([row.method for row in rows], pa.utf8()),
        "tenant": pa.array([row.host or None for row in rows], pa.utf8()),
        "target": pa.array([row.target for row in rows], pa.utf8()),
        "req_bytes": pa.array([row.req_bytes for row in rows], pa.int64()),
        "resp_bytes": pa.array([row.resp_bytes for row in rows], pa.int64()),
        "observed_ns": pa.array([row.observed_ns for row in rows], pa.int64()),
        "status": pa.array([row.status for row in rows], pa.int32()),
    }


FORMAT = GoReplay()
