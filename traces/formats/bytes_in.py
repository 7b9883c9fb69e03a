"""The bytes of a trace file: decompressed by what its first bytes say, in blocks, lines or fixed records, within bounded memory.

Names end in nothing that matters: a gzip file is one, whatever it is called. Every refusal names the line or the byte.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.errors import InvalidInput
from traces.schema import BATCH_ROWS

BLOCK_BYTES = 4 << 20
MOST_LINE_BYTES = 16 << 20
"""A longer line is no row of a trace but a file of another kind, or an attack on memory."""
_MAGIC = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bz2"), (b"\x04\x22\x4d\x18", "lz4"))
_SUFFIXES = {".gz", ".zst", ".bz2", ".lz4"}


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def compression(path: Path) -> str | None:
    """As pyarrow names it; None for plain bytes. Raises InvalidInput for a file that may not be read."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise InvalidInput(
            f"{path}: {error.strerror or one_line(error)}; expected a readable trace file; check its path and mode"
        ) from error
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


def stem(path: Path) -> str:
    """The file's name without its last suffix, and without that of its compression."""
    return Path(path.stem).stem if path.suffix in _SUFFIXES else path.stem


@contextmanager
def opened(path: Path) -> Iterator[pa.NativeFile]:
    """The decompressed bytes. Whatever fails inside the block because the file is damaged becomes InvalidInput."""
    packed = compression(path)
    try:
        with pa.input_stream(str(path), compression=packed) as stream:
            yield stream
    except OSError as error:
        kind = f"readable {packed} bytes" if packed else "readable bytes"
        raise InvalidInput(f"{path}: {one_line(error)}; expected {kind}; it is damaged or cut short: fetch the file again") from error


def head_of(path: Path, most: int) -> bytes:
    """The first bytes, decompressed."""
    with opened(path) as stream:
        data: bytes = stream.read(most)
    return data


def blocks(path: Path) -> Iterator[bytes]:
    with opened(path) as stream:
        while data := stream.read(BLOCK_BYTES):
            yield data


@dataclass(frozen=True)
class Lines:
    """Some whole lines without their ends; `first` is the number of the first one, from 1."""

    first: int
    lines: list[bytes]


def line_blocks(path: Path, what: str) -> Iterator[tuple[int, bytes]]:
    """Whole lines as one piece of bytes, with the number of the first, from 1. The last line need not end; pieces of empty lines are
    passed over, since megabytes of them are not worth splitting. Raises InvalidInput for a line over 16 MiB.
    """
    number, rest = 1, b""
    for data in blocks(path):
        whole = rest + data if rest else data
        end = whole.rfind(b"\n") + 1
        if end:
            piece = whole[:end]
            if not piece.isspace():
                yield number, piece
            number += whole.count(b"\n", 0, end)
        rest = whole[end:]
        if len(rest) > MOST_LINE_BYTES:
            raise InvalidInput(
                f"{path}: line {number}: over {MOST_LINE_BYTES >> 20} MiB without an end; expected {what}, one request a line; "
                "name another --format"
            )
    if rest:
        yield number, rest


def line_lots(path: Path, what: str) -> Iterator[Lines]:
    """Lines in lots of a few MiB; "\\r\\n" ends one too."""
    for first, block in line_blocks(path, what):
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        yield Lines(first, [line[:-1] if line.endswith(b"\r") else line for line in lines])


def text_of(path: Path, number: int, line: bytes) -> str:
    """A line as text. Raises InvalidInput for one that is not UTF-8."""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: line {number}: byte {error.start} is not UTF-8; expected text in UTF-8; convert the file") from error


def records(path: Path, dtype: np.dtype[np.void], what: str) -> Iterator[tuple[int, npt.NDArray[np.void]]]:
    """Fixed-size records with the byte offset of the first of each lot. Raises InvalidInput for a record cut short."""
    size, at = dtype.itemsize, 0
    with opened(path) as stream:
        while data := stream.read(size * BATCH_ROWS):
            if len(data) % size:
                cut = at + len(data) // size * size
                raise InvalidInput(
                    f"{path}: byte {cut}: the file ends {len(data) % size} bytes into a record; expected {what} records of {size} bytes; "
                    "fetch the file again or name another --format"
                )
            yield at, np.frombuffer(data, dtype=dtype)
            at += len(data)


def record_rows(path: Path, size: int, what: str) -> int | None:
    """Rows of a file of fixed-size records, where its length tells. Refuses a length that is no multiple."""
    if compression(path) is not None:
        return None
    rows, rest = divmod(path.stat().st_size, size)
    if rest:
        raise InvalidInput(
            f"{path}: byte {rows * size}: the file ends {rest} bytes into a record; expected {what} records "
            f"of {size} bytes; fetch the file again or name another --format"
        )
    return rows
