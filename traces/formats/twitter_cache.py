"""Twitter's cache traces (OSDI 2020), text without a header: timestamp (s), key, key size, value size, client id, operation, TTL (s).

A key may hold commas, so a line is split once from its left and five times from its right. A value size of 0 on a read was a miss: its
size is unknown, not zero. https://github.com/twitter/cache-trace
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traces.errors import InvalidInput
from traces.formats.bytes_in import line_lots
from traces.formats.columns import key_ids
from traces.formats.reading import Chunk, check_options, file_trace
from traces.schema import NAME, OPS, TraceMeta, masked
from traces.stream import Trace

READS = ("get", "gets")
_FIELDS = ("timestamp", "key", "key size", "value size", "client id", "operation", "TTL")
_MOST = 2**32 - 1
_KNOWN = {name.encode(): name for name in OPS["kv"]}


class TwitterCache:
    name = "twitter_cache"
    summary = "Twitter cache-trace text (time, key, key size, value size, client, op, ttl): one-second stamps"

    def sniff(self, path: Path, head: bytes) -> int:
        lines = head.split(b"\n")[:20]
        whole = lines[:-1] if len(lines) > 1 else lines
        return 3 if whole and all(_looks_right(line.rstrip(b"\r")) for line in whole) else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort",), self.name)
        meta = TraceMeta(
            kinds=("kv",),
            importer=self.name,
            arrival_resolution_ns=1_000_000_000,
            license="CC-BY-4.0",
            shareable="attribution",
            citation="Yang, Yue, Rashmi, A large scale analysis of hundreds of in-memory cache clusters at Twitter, OSDI 2020",
            loss_notes="a read of value size 0 was a miss: its size is unknown",
        )
        return file_trace(path, meta, lambda: _read(path), options)


def _parts(line: bytes) -> list[bytes]:
    stamp, comma, rest = line.partition(b",")
    return [stamp, *rest.rsplit(b",", 5)] if comma else [line]


def _looks_right(line: bytes) -> bool:
    parts = _parts(line)
    return len(parts) == 7 and parts[5] in _KNOWN and all(parts[at].isdigit() for at in (0, 2, 3, 4, 6))


def _read(path: Path) -> Iterator[Chunk]:
    for lot in line_lots(path, "Twitter's cache requests"):
        kept = [(number, line) for number, line in enumerate(lot.lines, lot.first) if line]
        if kept:
            yield _chunk(path, kept)


def _chunk(path: Path, lines: list[tuple[int, bytes]]) -> Chunk:
    rows = [_parts(line) for _, line in lines]
    try:
        columns = list(zip(*rows, strict=True))
        stamps, key_bytes, value, ttl = (np.array(columns[at], dtype="S20").astype(np.int64) for at in (0, 2, 3, 6))
        ops = pa.array([_KNOWN[op] for op in columns[5]]).dictionary_encode()
        keys = key_ids(pa.array([key.decode() for key in columns[1]], pa.utf8()))
        clients = pa.array([client.decode() for client in columns[4]], pa.utf8())
        if any(int(each.min()) < 0 or int(each.max()) > _MOST for each in (stamps, key_bytes, value, ttl)):
            raise ValueError
    except (ValueError, IndexError, KeyError, OverflowError, UnicodeDecodeError) as error:
        raise _bad_line(path, lines) from error
    read = pc.is_in(ops.cast(pa.utf8()), pa.array(READS)).to_numpy(zero_copy_only=False)
    return {
        "arrival_ns": stamps * 1_000_000_000,
        "kind": "kv",
        "op": ops.cast(NAME),
        "client": clients,
        "key_id": keys,
        "key_bytes": key_bytes.astype(np.uint32),
        "req_bytes": masked(value, ~read),
        "resp_bytes": masked(value, read & (value > 0)),
        "ttl_ms": masked(ttl * 1000, ~read & (ttl > 0)),
    }


def _bad_line(path: Path, lines: list[tuple[int, bytes]]) -> InvalidInput:
    for number, line in lines:
        parts = _parts(line)
        if len(parts) != 7:
            return InvalidInput(
                f"{path}: line {number}: {len(parts)} fields; expected {', '.join(_FIELDS)}; it may be cut short: fetch it again"
            )
        for at in (0, 2, 3, 4, 6):
            if at != 4 and not (parts[at].isdigit() and int(parts[at][:20]) <= _MOST):
                shown = parts[at][:40].decode(errors="replace")
                return InvalidInput(
                    f"{path}: line {number}: {_FIELDS[at]} {shown!r}; expected a whole number up to {_MOST}; correct the line"
                )
        if parts[5] not in _KNOWN:
            shown = parts[5][:40].decode(errors="replace")
            return InvalidInput(f"{path}: line {number}: operation {shown!r}; expected one of {', '.join(OPS['kv'])}; correct the line")
    return InvalidInput(f"{path}: lines {lines[0][0]} to {lines[-1][0]}: not UTF-8 or beyond the bounds; expected {', '.join(_FIELDS)}")


FORMAT = TwitterCache()
