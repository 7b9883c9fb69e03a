"""fio's I/O logs, versions 2 and 3 (fio's HOWTO, "Trace file format"): a first line `fio version 3 iolog`, then one action a line.

    version 2   filename action [offset length]; `wait` waits for `offset` microseconds (below 100: not at all) after the wait before
    version 3   timestamp filename action [offset length]; microseconds from the run's start (iolog.c)

One row is one read, write or trim, or a sync or datasync as a flush. Files added, opened and closed are no requests. A log of version 2
without a wait has an order but no times. Other actions are left out and counted, or refused with the option other=refuse.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traces.errors import InvalidInput
from traces.formats.bytes_in import blocks, head_of
from traces.formats.left_out import LINES, Tally, left_out, skips_others
from traces.formats.reading import Chunk, check_options, file_trace
from traces.formats.text_lines import Texts, text_lines
from traces.schema import TraceMeta, masked
from traces.stream import Trace

_VERSIONS = {b"fio version 2 iolog": 2, b"fio version 3 iolog": 3}
_ACTION = r"(?P<file>\S+)[ \t]+(?P<action>\S+)(?:[ \t]+(?P<offset>\d{1,18})[ \t]+(?P<length>\d{1,18}))?\s*$"
_LINES = {2: "^" + _ACTION, 3: r"^(?P<stamp>\d{1,15})[ \t]+" + _ACTION}
_OPS = {"read": "read", "write": "write", "trim": "trim", "sync": "flush", "datasync": "flush"}
_FILES = ("add", "open", "close", "unlink")
_LEAST_WAIT_US = 100
_LATEST_US = 2**63 // 1_000
_SECTOR = 512

Mask = npt.NDArray[np.bool_]


class FioIolog:
    name = "fio_iolog"
    summary = "fio iologs, version 2 (waits) or 3 (stamps): reads, writes, trims and flushes of files, by microseconds"

    def sniff(self, path: Path, head: bytes) -> int:
        return 3 if head.split(b"\n", 1)[0].strip() in _VERSIONS else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort", "other"), self.name)
        skip, version = skips_others(path, options), _version(path)
        timed = version == 3 or any(b" wait " in block.replace(b"\t", b" ") for block in blocks(path))
        note = left_out(lambda tally: _read(path, version, timed, skip, tally))
        meta = TraceMeta(kinds=("block",), importer=self.name, arrival_resolution_ns=1_000, loss_notes=note)
        return file_trace(path, meta, lambda: _read(path, version, timed, skip, Tally()), options, origin_ns=0 if timed else None)


def _version(path: Path) -> int:
    first = head_of(path, 256).split(b"\n", 1)[0].strip()
    if first not in _VERSIONS:
        raise InvalidInput(
            f"{path}: line 1: {first[:60].decode(errors='replace')!r}; expected 'fio version 2 iolog' or 'fio version 3 iolog'; "
            "record again with fio 1.17 or newer, or name another --format"
        )
    return _VERSIONS[first]


def _read(path: Path, version: int, timed: bool, skip: bool, tally: Tally) -> Iterator[Chunk]:
    waited = 0
    for lot in text_lines(path, "fio's actions"):
        if lot.numbers and lot.numbers[0] == 1:
            lot = Texts(lot.numbers[1:], lot.lines[1:])
        actions = _actions(path, lot, version, skip)
        asked = actions.asked
        tally.update({LINES: len(lot.numbers), "of other actions": int(actions.other.sum())})
        chunk: Chunk = {}
        if version == 3:
            chunk["arrival_ns"] = actions.stamp_us[asked] * 1_000
        elif timed:
            after_us = waited + np.cumsum(np.where(actions.waits & (actions.offset >= _LEAST_WAIT_US), actions.offset, 0))
            _refuse(path, lot, (after_us < 0) | (after_us > _LATEST_US), "waits of less than 292 years in all")
            waited = int(after_us[-1]) if len(after_us) else waited
            chunk["arrival_ns"] = after_us[asked] * 1_000
        op = actions.op.filter(pa.array(asked))
        is_op = {word: pc.equal(op, word).to_numpy(zero_copy_only=False) for word in ("read", "write", "flush")}
        offset, length = actions.offset[asked], actions.length[asked]
        yield {
            **chunk,
            "kind": "block",
            "op": op,
            "target": actions.file.filter(pa.array(asked)),
            "key_id": masked((offset // _SECTOR).astype(np.uint64), ~is_op["flush"]),
            "offset_bytes": masked(offset, ~is_op["flush"]),
            "req_bytes": masked(length, ~is_op["read"] & ~is_op["flush"]),
            "resp_bytes": masked(length, is_op["read"]),
        }


@dataclass(frozen=True)
class _Actions:
    """Of some lines, one each: `op` is null for what is no request, numbers are 0 where a line has none."""

    stamp_us: npt.NDArray[np.int64]
    file: pa.Array
    op: pa.Array
    offset: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    asked: Mask
    waits: Mask
    other: Mask


def _actions(path: Path, lot: Texts, version: int, skip: bool) -> _Actions:
    """Raises InvalidInput for a line that is no action of this version."""
    found = pc.extract_regex(lot.lines, _LINES[version])
    action = pc.struct_field(found, "action")
    op = pc.cast(pa.DictionaryArray.from_arrays(pc.index_in(action, pa.array(list(_OPS))), pa.array(list(_OPS.values()))), pa.utf8())
    files, waits = (_masked(pc.is_in(action, pa.array(words))) for words in (_FILES, ("wait",)))
    asked = _masked(op.is_valid())
    numbers = {name: _number(found, name) for name in ("offset", "length", *(("stamp",) if version == 3 else ()))}
    placed = _masked(numbers["length"].is_valid())
    _refuse(path, lot, _masked(found.is_null()) | ((asked | waits) & ~placed), _shape(version))
    if version == 3:
        _refuse(path, lot, waits, "stamps instead of waits in version 3")
    other = ~(files | waits | asked)
    if not skip:
        _refuse(path, lot, other, f"one of {', '.join([*_OPS, *_FILES])}")
    offset, length = (numbers[name].fill_null(0).to_numpy() for name in ("offset", "length"))
    stamp = numbers["stamp"].to_numpy() if version == 3 else np.zeros(len(lot.numbers), dtype=np.int64)
    return _Actions(stamp, pc.struct_field(found, "file"), op, offset, length, asked, waits, other)


def _number(found: pa.Array, name: str) -> pa.Array:
    """A group of digits; one that did not take part is empty."""
    text = pc.struct_field(found, name)
    return pc.if_else(pc.equal(text, ""), None, text).cast(pa.int64())


def _masked(values: pa.Array) -> Mask:
    found: Mask = values.to_numpy(zero_copy_only=False)
    return found


def _shape(version: int) -> str:
    return "filename action, or filename action offset length" if version == 2 else "timestamp filename action [offset length]"


def _refuse(path: Path, lot: Texts, wrong: Mask, expected: str) -> None:
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise InvalidInput(f"{path}: line {lot.numbers[at]}: {lot.lines[at].as_py()[:60]!r}; expected {expected}; correct the line")


FORMAT = FioIolog()
