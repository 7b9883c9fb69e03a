"""HTTP archives of browsers and proxies, HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec/): one JSON document, read whole, so at
most 64 MiB of it. One row is one entry, in order of `startedDateTime`.

-1 means unknown there. A response's size is that of its body on the wire, or else of its content. Entries that never left the browser
(`_fromCache`, data: and blob: addresses) and web sockets are left out and counted.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa

from traces.errors import InvalidInput
from traces.formats.bytes_in import head_of, one_line
from traces.formats.left_out import skips_others
from traces.formats.reading import Chunk, check_options, file_trace
from traces.schema import BATCH_ROWS, OPS, TraceMeta
from traces.stream import Trace

MOST_BYTES = 64 << 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MARKS = (b'"log"', b'"entries"', b'"creator"', b'"version"', b'"pages"')
Row = tuple[int, str, str, str, str | None, int | None, int | None, int | None, int | None]


class Har:
    name = "har"
    summary = "HTTP archives of browsers (HAR 1.2), at most 64 MiB: requests with status, sizes and times; option other=refuse"

    def sniff(self, path: Path, head: bytes) -> int:
        start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        return 3 if start.startswith(b"{") and start[1:].lstrip().startswith(b'"log"') and sum(m in head for m in _MARKS) >= 2 else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("other",), self.name)
        skip = skips_others(path, options)
        tally: Counter[str] = Counter()
        total = sum(1 for _ in _rows(path, skip, tally))
        counted = ", ".join(f"{count:,} {reason}" for reason, count in sorted(tally.items()))
        notes = ["headers, cookies and bodies are left out"]
        if counted:
            notes.append(f"of {total + tally.total():,} entries left out: {counted}")
        meta = TraceMeta(kinds=("http",), importer=self.name, arrival_resolution_ns=1_000_000, loss_notes="; ".join(notes))
        return file_trace(path, meta, lambda: _read(path, skip), options, total, clock="unix")


def _read(path: Path, skip: bool) -> Iterator[Chunk]:
    rows = sorted(_rows(path, skip, Counter()), key=lambda row: row[0])
    for start in range(0, len(rows), BATCH_ROWS):
        stamp, method, target, host, client, sent, got, took, status = zip(*rows[start : start + BATCH_ROWS], strict=True)
        yield {
            "arrival_ns": np.array(stamp, dtype=np.int64),
            "kind": "http",
            "op": pa.array(method, pa.utf8()),
            "target": pa.array(target, pa.utf8()),
            "tenant": pa.array(host, pa.utf8()),
            "client": pa.array(client, pa.utf8()),
            "req_bytes": pa.array(sent, pa.int64()),
            "resp_bytes": pa.array(got, pa.int64()),
            "observed_ns": pa.array(took, pa.int64()),
            "status": pa.array(status, pa.int32()),
        }


def _entries(path: Path) -> list[Any]:
    data = head_of(path, MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise InvalidInput(
            f"{path}: over {MOST_BYTES >> 20} MiB; expected a HAR document that fits in memory; export it without contents, or in parts"
        )
    try:
        document = json.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: {one_line(error)}; expected one JSON document; it is damaged or cut short: export it again") from error
    log = document.get("log") if isinstance(document, dict) else None
    entries = log.get("entries") if isinstance(log, dict) else None
    if not isinstance(entries, list):
        raise InvalidInput(f"{path}: no list at log.entries; expected a HAR document; name another --format")
    return entries


def _rows(path: Path, skip: bool, tally: Counter[str]) -> Iterator[Row]:
    for number, entry in enumerate(_entries(path)):
        where = f"{path}: log.entries[{number}]"
        request, response = _object(entry, "request", where), _object(entry, "response", where)
        method, url = str(request.get("method", "")), request.get("url")
        if not isinstance(url, str):
            raise InvalidInput(f"{where}: no request.url; expected an address; export the file again")
        reason = _why_not(entry, method, url)
        if reason and not skip:
            raise InvalidInput(
                f"{where}: one of those {reason}; expected requests that were sent; give the option other=skip to leave such out"
            )
        if reason:
            tally[reason] += 1
            continue
        status, content = _whole(response, "status", where), response.get("content")
        got = _whole(response, "bodySize", where)
        if got is None and isinstance(content, dict):
            got = _whole(content, "size", where)
        took = entry.get("time")
        known = isinstance(took, int | float) and not isinstance(took, bool) and 0 <= took < 1e12
        client = entry.get("connection")
        yield (
            _nanoseconds(entry.get("startedDateTime"), where), method, *_target(url, where), _text(str(client)) if client else None,
            _whole(request, "bodySize", where), got, round(took * 1_000_000) if known else None,
            status or None,  # 0: there was no response
        )  # fmt: skip


def _object(entry: object, name: str, where: str) -> dict[str, Any]:
    found = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(found, dict):
        raise InvalidInput(f"{where}: no object {name}; expected one in each entry; export the file again")
    return found


def _why_not(entry: dict[str, Any], method: str, url: str) -> str:
    if entry.get("_fromCache"):
        return "from the browser's cache"
    scheme = url.partition(":")[0].lower()
    if scheme not in ("http", "https"):
        return "web sockets" if scheme in ("ws", "wss") else "of no network address"
    return "" if method in OPS["http"] else "of other methods"


def _target(url: str, where: str) -> tuple[str, str]:
    """(path and query, host)."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidInput(f"{where}: request.url: {one_line(error)}; expected an address; correct the entry") from error
    path = parts.path or "/"
    return _text(f"{path}?{parts.query}" if parts.query else path), _text(parts.netloc.rpartition("@")[2])


def _text(value: str) -> str:
    """JSON can spell halves of characters that no text can hold."""
    return value.encode(errors="backslashreplace").decode()


def _whole(values: Mapping[str, Any], name: str, where: str) -> int | None:
    value = values.get(name)
    if value is None or value == -1:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or not 0 <= value < 2**53:
        raise InvalidInput(f"{where}: {name} of {json.dumps(value)[:40]}; expected a number of 0 or more, or -1; correct the entry")
    return int(value)


def _nanoseconds(text: object, where: str) -> int:
    try:
        stamp = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        stamp = None
    if stamp is None or stamp.tzinfo is None or not 1678 <= stamp.year <= 2261:
        raise InvalidInput(
            f"{where}: startedDateTime {json.dumps(text)[:40]}; expected a date with a zone such as 2009-07-24T19:20:30.45+01:00; "
            "correct the entry"
        )
    return (stamp - _EPOCH) // timedelta(microseconds=1) * 1000


FORMAT = Har()
