"""Coflows of a Facebook cluster (FB2010, Varys' and Aalo's trace), text: a first line of ports and coflows, then one line a coflow:

    id  arrival (ms)  number of mappers  their ports ...  number of reducers  port:megabytes of each ...

https://github.com/coflow/coflow-benchmark. A row is one flow, from a mapper's port (`client`) to a reducer's (`target`); the flows of a
coflow share its `session_id` and arrival. A reducer's bytes are divided among the mappers, as CoflowSim does and with its megabyte of 2^20
bytes; their sum is exact. Flows within one port never cross the network in a simulation; they stay here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.errors import InvalidInput
from traces.formats.bytes_in import line_lots
from traces.formats.reading import Chunk, check_options, file_trace
from traces.schema import BATCH_ROWS, TraceMeta
from traces.stream import Trace

MEGABYTE = 1 << 20
_MOST_PORTS = 1 << 20
_WHAT = "id, arrival in ms, number of mappers, their ports, number of reducers, port:megabytes of each"


@dataclass(frozen=True)
class Coflow:
    number: int
    arrival_ms: int
    mappers: npt.NDArray[np.int64]
    reducers: npt.NDArray[np.int64]
    reducer_bytes: npt.NDArray[np.int64]


class CoflowText:
    name = "coflow"
    summary = "coflow-benchmark text (FB2010): each flow from port to port, grouped by coflow; millisecond stamps"

    def sniff(self, path: Path, head: bytes) -> int:
        lines = head.split(b"\n")
        if len(lines) < 2 or len(lines[0].split()) != 2 or not all(word.isdigit() for word in lines[0].split()):
            return 0
        words = lines[1].split()[:64]
        ints = len(words) >= 6 and all(word.isdigit() for word in words[:4])
        return 3 if ints and (b":" in words[-1] or len(lines) == 2 or len(words) == 64) else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort",), self.name)
        meta = TraceMeta(
            kinds=("flow",),
            importer=self.name,
            arrival_resolution_ns=1_000_000,
            license="none given; the owner asks for citation",
            shareable="local-only",
            citation="Chowdhury et al., Varys, SIGCOMM 2014; Chowdhury and Stoica, Aalo, SIGCOMM 2015",
            loss_notes="a reducer's bytes are divided equally among its mappers",
        )
        return file_trace(path, meta, lambda: _read(path), options, origin_ns=0)


def _read(path: Path) -> Iterator[Chunk]:
    ports, declared, found, last = -1, 0, 0, 0
    for lot in line_lots(path, "coflows"):
        for number, line in enumerate(lot.lines, lot.first):
            last = number
            words = line.split()
            if ports < 0:
                ports, declared = _head(path, number, words)
            elif words:
                found += 1
                yield from _flows(_parsed(path, number, words, ports))
    if found != declared:
        raise InvalidInput(
            f"{path}: line {last}: the file ends after {found} coflows; expected {declared} as its first line says; fetch it again"
        )


def _head(path: Path, number: int, words: list[bytes]) -> tuple[int, int]:
    if len(words) != 2 or not all(word.isdigit() and len(word) < 10 for word in words) or not 0 < int(words[0]) <= _MOST_PORTS:
        raise _bad(path, number, words, "the number of ports and of coflows")
    return int(words[0]), int(words[1])


def _parsed(path: Path, number: int, words: list[bytes], ports: int) -> Coflow:
    try:
        key, arrival, mappers = (int(word) for word in words[:3])
        reducers = int(words[3 + mappers]) if mappers > 0 else 0
        shares = [word.partition(b":") for word in words[4 + mappers :]]
        froms, tos = np.array(words[3 : 3 + mappers]).astype(np.int64), np.array([port for port, _, _ in shares]).astype(np.int64)
        megabytes = np.array([size for _, _, size in shares]).astype(np.float64)
    except (ValueError, IndexError, OverflowError) as error:
        raise _bad(path, number, words, _WHAT) from error
    whole = 0 <= key < 2**63 and 0 <= arrival < 2**43 and mappers > 0 and reducers > 0 and len(tos) == reducers and len(froms) == mappers
    if not whole or not (np.isfinite(megabytes) & (megabytes >= 0) & (megabytes < 2**42)).all():
        raise _bad(path, number, words, _WHAT)
    if min(froms.min(), tos.min()) < 0 or max(froms.max(), tos.max()) >= ports:
        raise _bad(path, number, words, f"ports from 0 to {ports - 1}")
    return Coflow(key, arrival, froms, tos, np.rint(megabytes * MEGABYTE).astype(np.int64))


def _flows(coflow: Coflow) -> Iterator[Chunk]:
    """Reducer by reducer; in lots, for a line of two megabytes may stand for 10^11 flows."""
    each = len(coflow.mappers)
    for start in range(0, each * len(coflow.reducers), BATCH_ROWS):
        at = np.arange(start, min(start + BATCH_ROWS, each * len(coflow.reducers)))
        reducer, mapper = at // each, at % each
        total = coflow.reducer_bytes[reducer]
        yield {
            "arrival_ns": np.full(len(at), coflow.arrival_ms * 1_000_000, dtype=np.int64),
            "kind": "flow",
            "op": "send",
            "client": _port_names(coflow.mappers, mapper),
            "target": _port_names(coflow.reducers, reducer),
            "session_id": np.full(len(at), coflow.number, dtype=np.uint64),
            "req_bytes": total // each + (mapper < total % each),
        }


def _port_names(ports: npt.NDArray[np.int64], which: npt.NDArray[np.int64]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(which.astype(np.int32)), pa.array(ports).cast(pa.utf8()))


def _bad(path: Path, number: int, words: list[bytes], expected: str) -> InvalidInput:
    shown = b" ".join(words)[:60].decode(errors="replace")
    return InvalidInput(f"{path}: line {number}: {shown!r}; expected {expected}; correct the line or name another --format")


FORMAT = CoflowText()
