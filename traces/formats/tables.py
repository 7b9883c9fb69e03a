"""Tables that owners publish as separated text, with a header or without one: lots of rows that know their lines, so that what is wrong in
one is refused by line and column.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traces.errors import InvalidInput
from traces.formats import columns
from traces.formats.delimited import csv_batches, csv_header
from traces.schema import nulls

SECONDS = pa.decimal128(38, 18)
"""As what a column of seconds is read: a double would lose the nanoseconds of a date."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Table:
    """`types`: the columns that are read, and as what. `optional`: those of them that a file may lack. `order`: all columns of a file that
    has no header, as its owner lists them. `aliases`: other names that copies of the file give to columns.
    """

    types: Mapping[str, pa.DataType]
    optional: frozenset[str] = frozenset()
    order: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    delimiter: str = ","

    def named(self, header: list[str]) -> list[str]:
        return [self.aliases.get(name.strip(), name.strip()) for name in header]

    def missing(self, header: list[str]) -> list[str]:
        """What a header lacks; nothing if it is one of this table."""
        found = set(self.named(header))
        return [name for name in self.types if name not in found and name not in self.optional]


@dataclass(frozen=True)
class Lot:
    """Some rows, and the line of each."""

    path: Path
    lines: npt.NDArray[np.int64]
    rows: pa.RecordBatch
    types: Mapping[str, pa.DataType]

    def __len__(self) -> int:
        return len(self.lines)

    def where(self, kept: Mask) -> "Lot":
        return self if kept.all() else Lot(self.path, self.lines[kept], self.rows.filter(pa.array(kept)), self.types)

    def column(self, name: str) -> pa.Array:
        """As it was read; null where a row says nothing, or the file has no such column."""
        return self.rows.column(name) if name in self.rows.schema.names else nulls(len(self), self.types[name])

    def has(self, name: str) -> Mask:
        found: Mask = self.column(name).is_valid().to_numpy(zero_copy_only=False)
        return found

    def needed(self, name: str) -> pa.Array:
        """Raises InvalidInput where a row says nothing."""
        self.refuse(~self.has(name), f"column {name} is empty", "a value in each row")
        return self.column(name)

    def nanoseconds(self, name: str, unit: str = "s") -> pa.Array:
        """Times as int64, null where a row says none."""
        return self.converted(name, lambda values: columns.nanoseconds(values, unit), f"a time within 292 years, in {unit}")

    def stamps(self, name: str, unit: str = "s") -> npt.NDArray[np.int64]:
        """Times of which no row may lack one."""
        self.needed(name)
        found: npt.NDArray[np.int64] = self.nanoseconds(name, unit).to_numpy()
        return found

    def scaled(self, name: str, factor: float) -> pa.Array:
        """Quantities in a smaller unit as whole int64, null where a row says none."""

        def convert(values: pa.Array) -> pa.Array:
            return pc.round(pc.multiply(values.cast(pa.float64()), float(factor))).cast(pa.int64())

        return self.converted(name, convert, "a number within bounds")

    def keys(self, name: str) -> pa.Array:
        """Identities, as `columns.key_ids`, of which no row may lack one."""
        self.needed(name)
        return self.converted(name, columns.key_ids, "a whole number from 0, or text")

    def converted(self, name: str, convert: Callable[[pa.Array], pa.Array], expected: str) -> pa.Array:
        """A column after `convert`; what that cannot take is refused by its line."""
        values = self.column(name)
        try:
            return convert(values)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError):
            wrong = np.array([not _converts(values.slice(at, 1), convert) for at in range(len(values))])
            at = int(np.flatnonzero(wrong)[0])
            self.refuse(wrong, f"column {name}: {str(values[at].as_py())[:60]!r}", expected)
            raise

    def refuse(self, wrong: Mask, what: str, expected: str) -> None:
        """Raises InvalidInput that names the first line where it is so."""
        if wrong.any():
            line = int(self.lines[np.flatnonzero(wrong)[0]])
            raise InvalidInput(f"{self.path}: line {line}: {what}; expected {expected}; correct the file or name another --format")


def _converts(values: pa.Array, convert: Callable[[pa.Array], pa.Array]) -> bool:
    try:
        convert(values)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError):
        return False
    return True


def span_ns(start: pa.Array, end: pa.Array) -> pa.Array:
    """Between two columns of times; null where one is not said or the end comes first."""
    known = pc.fill_null(pc.greater_equal(end, start), False)
    return pc.if_else(known, pc.subtract(end, start), None)


def first_row(head: bytes, delimiter: str = ",") -> list[str]:
    """Fields of the first line of a file, for a format to know its table by; none where they cannot be told."""
    line = head.split(b"\n", 1)[0].decode("utf-8-sig", errors="replace").strip("\r")
    try:
        return [field.strip() for field in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


def lots(path: Path, table: Table) -> Iterator[Lot]:
    """Raises InvalidInput for a file that is not of `table`."""
    header = csv_header(path, table.delimiter)
    missing = table.missing(header)
    if missing and (not table.order or len(header) != len(table.order)):
        raise InvalidInput(
            f"{path}: line 1: column {', '.join(missing)} is missing; expected "
            + (f"{len(table.order)} columns, {', '.join(table.order)}" if table.order else ", ".join(table.types))
            + "; name another --format"
        )
    names = list(table.order) if missing else table.named(header)
    if double := sorted({name for name in table.types if names.count(name) > 1}):
        raise InvalidInput(f"{path}: line 1: column {double[0]} stands there twice; expected each once; correct the header")
    types = {name: kind for name, kind in table.types.items() if name in names}
    line = 1 if missing else 2
    for rows in csv_batches(path, types, table.delimiter, names=names, skip=line - 1):
        yield Lot(path, np.arange(line, line + rows.num_rows, dtype=np.int64), rows, table.types)
        line += rows.num_rows
