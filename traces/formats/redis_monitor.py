"""What `redis-cli MONITOR` prints (https://redis.io/docs/latest/commands/monitor/): one line a command,

    1339518083.107412 [0 127.0.0.1:60866] "set" "key" "va\\x00lue" "EX" "10"

as key-value requests: see traces.formats.redis_commands for which. A get's size is not printed and stays unknown; a write's is its value's.
What scripts call (client `lua`) is left out: their own request was the EVAL.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traces.errors import InvalidInput
from traces.formats.columns import key_ids, nanoseconds
from traces.formats.left_out import LINES, Tally, left_out, skips_others
from traces.formats.reading import Chunk, check_options, file_trace
from traces.formats.redis_commands import COMMANDS, FOLDS, arguments, key_text, operations, unescaped
from traces.formats.text_lines import text_lines
from traces.schema import TraceMeta
from traces.stream import Trace

_TEXT = r'"((?:[^"\\]|\\.)*)"'
_LINE = (
    rf"^(?P<stamp>\d{{1,10}}\.\d{{6}}) \[(?P<db>\d+) (?P<client>[^\]\s]+|\[\S+)\] {_TEXT.replace('(', '(?P<command>', 1)}"
    r'(?P<arguments>(?: "(?:[^"\\]|\\.)*")*)$'
)
_PLAIN = r'^ "(?P<key>[^"\\]*)"(?: "(?P<value>[^"\\]*)")?$'
_PLAIN_OPS = {"GET": "get", "SET": "set", "INCR": "incr", "DECR": "decr", "DEL": "delete", "UNLINK": "delete", "SETNX": "add"}
_WITH_VALUE = ("SET", "SETNX")
"""The usual commands in their usual form, without escapes or options, are read in columns; the rest one by one."""


class RedisMonitor:
    name = "redis_monitor"
    summary = "redis-cli MONITOR: key-value requests with microsecond stamps; option other=refuse for commands that are none"

    def sniff(self, path: Path, head: bytes) -> int:
        lines = [line for line in head.split(b"\n")[:20] if line.strip() and line.strip() != b"OK"]
        found = bool(lines) and pc.match_substring_regex(pa.scalar(lines[0].rstrip(b"\r").decode(errors="replace")), _LINE).as_py()
        return 3 if found else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort", "other"), self.name)
        skip = skips_others(path, options)
        note = left_out(lambda tally: _read(path, skip, tally))
        meta = TraceMeta(
            kinds=("kv",),
            importer=self.name,
            arrival_resolution_ns=1_000,
            loss_notes="; ".join(filter(None, (FOLDS, "databases stand as tenants", note))),
        )
        return file_trace(path, meta, lambda: _read(path, skip, Tally()), options, clock="unix", sort="1s")


def _read(path: Path, skip: bool, tally: Tally) -> Iterator[Chunk]:
    for lot in text_lines(path, "MONITOR lines", b"OK"):
        parts = pc.extract_regex(lot.lines, _LINE)
        if parts.null_count:
            row = pc.index(pc.is_null(parts), True).as_py()
            raise InvalidInput(
                f"{path}: line {lot.numbers[row]}: {lot.lines[row].as_py()[:60]!r}; expected seconds.microseconds [db client] "
                '"command" "argument" ... as MONITOR prints; the line is damaged or cut short: take it out'
            )
        tally[LINES] += len(lot.numbers)
        commands = pc.utf8_upper(pc.struct_field(parts, "command"))
        scripted = pc.equal(pc.struct_field(parts, "client"), "lua")
        known = pc.and_not(pc.is_in(commands, pa.array(list(COMMANDS))), scripted)
        left = {"called by scripts": scripted, "commands that are no key-value requests": pc.invert(pc.or_(known, scripted))}
        for reason, which in left.items():
            count = pc.sum(which).as_py() or 0
            if count and not skip:
                row = pc.index(which, True).as_py()
                raise InvalidInput(
                    f"{path}: line {lot.numbers[row]}: command {commands[row].as_py()[:40]}: one of those {reason}; expected "
                    f"{', '.join(COMMANDS)}; give the option other=skip to leave such out"
                )
            if count:
                tally[reason] += count
        yield _chunk(parts.filter(known), commands.filter(known))


def _chunk(parts: pa.Array, commands: pa.Array) -> Chunk:
    given = pc.struct_field(parts, "arguments")
    plain = pc.extract_regex(given, _PLAIN)
    has_value = pc.match_substring_regex(given, r'^ "[^"\\]*" "')
    wants_value = pc.is_in(commands, pa.array(_WITH_VALUE))
    usual = pc.and_(pc.and_(pc.is_in(commands, pa.array(list(_PLAIN_OPS))), pc.is_valid(plain)), pc.equal(has_value, wants_value))
    rows = np.flatnonzero(usual.to_numpy(zero_copy_only=False))
    taken = pa.array(rows)
    words = commands.take(taken).dictionary_encode()
    ops = pa.array([_PLAIN_OPS[word] for word in words.dictionary.to_pylist()], pa.utf8()).take(words.indices)
    keys = pc.struct_field(plain, "key").take(taken)
    lengths = pc.binary_length(pc.struct_field(plain, "value").take(taken)).cast(pa.int64())
    values = pc.if_else(wants_value.take(taken), lengths, pa.scalar(None, pa.int64()))
    others = _one_by_one(commands, given, np.flatnonzero(~usual.to_numpy(zero_copy_only=False)))
    every = np.concatenate((rows, others.rows))
    order = np.argsort(every, kind="stable")
    at, place = pa.array(every[order]), pa.array(order)
    return {
        "arrival_ns": nanoseconds(pc.struct_field(parts, "stamp").take(at).cast(pa.decimal128(38, 18)), "s"),
        "kind": "kv",
        "op": pa.concat_arrays([ops, others.ops]).take(place),
        "tenant": pc.struct_field(parts, "db").take(at),
        "client": pc.struct_field(parts, "client").take(at),
        "key_id": key_ids(pa.concat_arrays([keys, others.keys]).take(place)),
        "key_bytes": pa.concat_arrays([pc.binary_length(keys).cast(pa.uint32()), others.key_bytes]).take(place),
        "req_bytes": pa.concat_arrays([values, others.value_bytes]).take(place),
        "ttl_ms": pa.concat_arrays([pa.nulls(len(rows), pa.int64()), others.ttl_ms]).take(place),
    }


class _Others:
    """Operations of the commands that are read one by one; `rows` are those of their lines."""

    def __init__(self, found: list[tuple[int, str, str, int, int | None, int | None]]) -> None:
        columns = list(zip(*found, strict=True)) or [()] * 6
        self.rows: npt.NDArray[np.int64] = np.array(columns[0], dtype=np.int64)
        self.ops = pa.array(columns[1], pa.utf8())
        self.keys = pa.array(columns[2], pa.utf8())
        self.key_bytes = pa.array(columns[3], pa.uint32())
        self.value_bytes = pa.array(columns[4], pa.int64())
        self.ttl_ms = pa.array(columns[5], pa.int64())


def _one_by_one(commands: pa.Array, given: pa.Array, rows: npt.NDArray[np.int64]) -> _Others:
    found = []
    taken = pa.array(rows)
    for row, command, text in zip(rows.tolist(), commands.take(taken).to_pylist(), given.take(taken).to_pylist(), strict=True):
        for each in operations(command, arguments(text)):
            value = None if each.value is None else len(unescaped(each.value))
            found.append((row, each.op, key_text(each.key), len(unescaped(each.key)), value, each.ttl_ms))
    return _Others(found)


FORMAT = RedisMonitor()
