"""fio's I/O log, version 3 (fio's HOWTO, "Trace file format v3"; fio 3.31 and newer replay it with `read_iolog`): block requests with
stamps of a microsecond.

A request goes to the file that its target names, or all of them to the option `file`. A flush is a `sync`. The log says nothing of how many
requests may be under way at once: fio's `iodepth` does.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traces.errors import InvalidInput
from traces.formats.reading import check_options
from traces.stream import Trace

_ACTIONS = {"read": "read", "write": "write", "trim": "trim", "flush": "sync"}
_MOST_BYTES = 2**32 - 1
"""fio reads a length as 32 bits."""
_MOST_FILES = 100_000


class FioIolog:
    name = "fio_iolog"
    summary = "fio iolog version 3, for fio's read_iolog: block requests of the files that their targets name (option file=PATH: of one)"

    def write(self, trace: Trace, path: Path, options: Mapping[str, str]) -> int:
        check_options(options, ("file",), f"export {self.name}")
        if trace.meta.kinds != ("block",):
            raise InvalidInput(
                f"{trace.meta.name}: a trace of kind {', '.join(trace.meta.kinds)}; expected block requests for fio; take another trace"
            )
        if trace.meta.arrival_model == "none":
            raise InvalidInput(f"{trace.meta.name}: has no times; expected some for fio's version 3; give it a rate first")
        opened: dict[str, None] = {}
        rows, last_us = 0, 0
        with path.open("wb") as file:
            file.write(b"fio version 3 iolog\n")
            for batch in trace.batches():
                if not batch.num_rows:
                    continue
                names, lines = _lines(trace.meta.name, batch, options.get("file"), rows)
                first_us = max(0, batch.column("arrival_ns")[0].as_py() // 1000)
                for name in names:
                    if name not in opened:
                        opened[name] = None
                        file.write(f"{first_us} {name} add\n{first_us} {name} open\n".encode())
                if len(opened) > _MOST_FILES:
                    raise InvalidInput(f"{trace.meta.name}: over {_MOST_FILES} targets; expected files for fio to open; give file=PATH")
                file.write(lines)
                rows, last_us = rows + batch.num_rows, max(0, batch.column("arrival_ns")[-1].as_py() // 1000)
            file.writelines(f"{last_us} {name} close\n".encode() for name in opened)
        return rows


def _lines(trace: str, batch: pa.RecordBatch, only: str | None, done: int) -> tuple[list[str], bytes]:
    """The files of some requests, and a line each. `done` rows came before, for messages."""
    op = batch.column("op").cast(pa.utf8())
    target = pa.array([only] * batch.num_rows, pa.utf8()) if only is not None else batch.column("target").cast(pa.utf8())
    size = pc.if_else(pc.equal(op, "read"), batch.column("resp_bytes"), batch.column("req_bytes"))
    flush = pc.equal(op, "flush")
    size, offset = (pc.if_else(flush, 0, pc.cast(column, pa.int64())) for column in (size, batch.column("offset_bytes")))
    wrong = {
        "no target, or one with a blank in its name: give file=PATH": pc.fill_null(pc.match_substring_regex(target, r"\s|^$"), True),
        "no offset": offset.is_null(),
        f"no length up to {_MOST_BYTES} bytes": pc.fill_null(pc.greater(size, _MOST_BYTES), True),
        "arrives before 0": pc.less(batch.column("arrival_ns"), 0),
    }
    for what, where in wrong.items():
        if (rows := np.flatnonzero(where.to_numpy(zero_copy_only=False))).size:
            raise InvalidInput(f"{trace}: request {done + int(rows[0])} (from 0): {what}; expected what fio can replay")
    texts = [pc.divide(batch.column("arrival_ns"), 1000), target, _named(op), offset, size]
    lines = pc.binary_join_element_wise(*(text.cast(pa.utf8()) for text in texts), " ").to_pylist()
    return pc.unique(target).to_pylist(), ("\n".join(lines) + "\n").encode()


def _named(op: pa.Array) -> pa.Array:
    return pa.array(list(_ACTIONS.values())).take(pc.index_in(op, pa.array(list(_ACTIONS))))


EXPORT = FioIolog()
