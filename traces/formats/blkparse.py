"""What blkparse prints of a blktrace by default (blkparse(1), "Default output format"), one event a line:

    8,0    3        1     0.000000000   697  Q   W 223490 + 8 [kjournald]

device, cpu, sequence, seconds, process, action, what it does (R, W, D discards, F flushes, and more), first sector + sectors, [process].
An event of one kind stands for each request: Q, when it is queued (the option event=I, D or C takes its insertion, dispatch, completion).
Events of other kinds, and of neither reads, writes, discards nor flushes, are left out and counted; blkparse's summary ends the trace.
Sectors have 512 bytes. Lines are put in order within a second, for blkparse merges processors in batches.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traces.errors import InvalidInput
from traces.formats.left_out import LINES, Tally, left_out
from traces.formats.reading import Chunk, check_options, file_trace
from traces.formats.text_lines import Texts, text_lines
from traces.schema import TraceMeta, masked
from traces.stream import Trace

EVENTS = ("Q", "I", "D", "C")
SECTOR_BYTES = 512
_EVENT = (
    r"^\s*(?P<device>\d+,\d+)\s+\d+\s+\d+\s+(?P<seconds>\d{1,9})\.(?P<nanos>\d{9})\s+(?P<pid>\d+)\s+(?P<action>[A-Za-z]{1,2})\s+(?P<does>\S+)"
    r"(?:\s+(?P<sector>\d{1,15}) \+ (?P<sectors>\d{1,10})\b)?.*?(?:\[(?P<process>[^\]]*)\])?\s*$"
)
_SUMMARY = r"^(?:CPU\s*\d+ \(.*\)|Total \(.*\)|[^ ]+ \(.*\)):$"

Mask = npt.NDArray[np.bool_]


class Blkparse:
    name = "blkparse"
    summary = "blkparse's default text: block requests by their events (option event=Q, I, D or C), stamps of a nanosecond"

    def sniff(self, path: Path, head: bytes) -> int:
        line = head.split(b"\n", 1)[0].decode(errors="replace")
        return 3 if pc.match_substring_regex(pa.scalar(line), _EVENT).as_py() else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort", "event"), self.name)
        event = options.get("event", "Q")
        if event not in EVENTS:
            raise InvalidInput(f"{path}: option event: {event!r}; expected one of {', '.join(EVENTS)}")
        meta = TraceMeta(
            kinds=("block",),
            importer=self.name,
            arrival_resolution_ns=1,
            loss_notes=left_out(lambda tally: _read(path, event, tally)),
        )
        return file_trace(path, meta, lambda: _read(path, event, Tally()), options, sort="1s", origin_ns=0)


def _read(path: Path, event: str, tally: Tally) -> Iterator[Chunk]:
    for lot in text_lines(path, "blkparse's events"):
        events, ended = _before_summary(lot)
        found = pc.extract_regex(events.lines, _EVENT)
        wrong = np.flatnonzero(found.is_null().to_numpy(zero_copy_only=False))
        if len(wrong):
            raise InvalidInput(
                f"{path}: line {events.numbers[wrong[0]]}: {events.lines[int(wrong[0])].as_py()[:60]!r}; expected an event in blkparse's "
                "default format; print it without -f, or name another --format"
            )
        asked = pc.equal(pc.struct_field(found, "action"), event)
        ours = found.filter(asked)
        op = _ops(ours)
        known = op.is_valid()
        tally.update(
            {
                LINES: len(events.numbers),
                "of other events": len(found) - len(ours),
                f"{event} of neither reads, writes, discards nor flushes": len(op) - pc.sum(known, min_count=0).as_py(),
            }
        )
        chunk = _requests(ours.filter(known), op.filter(known))
        if event == "C":  # it comes in an interrupt, of whatever ran there, with an error in place of a name
            del chunk["tenant"], chunk["client"]
        yield chunk
        if ended:
            return


def _before_summary(lot: Texts) -> tuple[Texts, bool]:
    """The lines before blkparse's summary, and whether it begins among these."""
    summary = np.flatnonzero(pc.match_substring_regex(lot.lines, _SUMMARY).to_numpy(zero_copy_only=False))
    if not len(summary):
        return lot, False
    return Texts(lot.numbers[: summary[0]], lot.lines[: int(summary[0])]), True


def _ops(found: pa.Array) -> pa.Array:
    """The canonical op of each event, null for none. A write with a flush before it is a write; a flush has no sectors."""
    does, placed = pc.struct_field(found, "does"), pc.not_equal(pc.struct_field(found, "sectors"), "")
    # Metadata, synchronous and read-ahead marks follow; the first letter but for the flush before a write says what it does.
    first = pc.utf8_slice_codeunits(pc.replace_substring_regex(does, "^F(.)", r"\1"), 0, 1)
    moved = pc.if_else(
        pc.equal(first, "R"),
        "read",
        pc.if_else(pc.equal(first, "W"), "write", pc.if_else(pc.is_in(first, pa.array(["D", "E"])), "trim", None)),
    )
    return pc.if_else(placed, moved, pc.if_else(pc.starts_with(does, "F"), "flush", None))


def _requests(found: pa.Array, op: pa.Array) -> Chunk:
    def number(name: str) -> npt.NDArray[np.int64]:
        text = pc.struct_field(found, name)
        values: npt.NDArray[np.int64] = pc.if_else(pc.equal(text, ""), "0", text).cast(pa.int64()).to_numpy()
        return values

    sector, bytes_ = number("sector"), number("sectors") * SECTOR_BYTES
    read, flush = (pc.equal(op, word).to_numpy(zero_copy_only=False) for word in ("read", "flush"))
    process = pc.struct_field(found, "process")
    return {
        "arrival_ns": number("seconds") * 1_000_000_000 + number("nanos"),
        "kind": "block",
        "op": op,
        "tenant": pc.if_else(pc.equal(process, ""), None, process),
        "client": pc.struct_field(found, "pid"),
        "target": pc.struct_field(found, "device"),
        "key_id": masked(sector.astype(np.uint64), ~flush),
        "offset_bytes": masked(sector * SECTOR_BYTES, ~flush),
        "req_bytes": masked(bytes_, ~read & ~flush),
        "resp_bytes": masked(bytes_, read),
    }


FORMAT = Blkparse()
