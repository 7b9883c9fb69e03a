"""Sizes after a table of quantiles in a file: lines of `share,size`, the share of sizes at or below it from 0 to 1, both columns rising.

Linear between lines. A table whose first share is above 0 has that share exactly at its first size; the last share must be 1. Lines that
begin with # and a first line of words are left out.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from traces.draws import U64, uniform_all
from traces.errors import InvalidInput
from traces.synthesis.sizes import MOST_BYTES, Floats, Sizes

_MOST_FILE_BYTES = 8 << 20


@dataclass(frozen=True)
class Quantiles:
    shares: tuple[float, ...]
    sizes: tuple[float, ...]

    def drawn(self, key: int, ids: U64) -> Floats:
        drawn: Floats = np.interp(uniform_all(key, ids), self.shares, self.sizes)
        return drawn


def table_of(path: Path, where: str) -> Quantiles:
    """Raises InvalidInput with file and line."""
    try:
        size = path.stat().st_size
        text = path.read_text(encoding="utf-8") if size <= _MOST_FILE_BYTES else ""
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not text"
        raise InvalidInput(f"{where}: {path}: {reason}; expected a file of share,size lines such as 0.5,128") from error
    if size > _MOST_FILE_BYTES:
        raise InvalidInput(f"{where}: {path}: {size} bytes; expected a table of at most {_MOST_FILE_BYTES >> 20} MiB; take fewer quantiles")
    shares: list[float] = []
    sizes: list[float] = []
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in line.split(",")]
        if not line.strip() or line.lstrip().startswith("#") or (number == 1 and not _is_number(cells[0])):
            continue
        if len(cells) != 2 or not all(map(_is_number, cells)):
            raise InvalidInput(f"{path}:{number}: {line[:60]!r}; expected share,size such as 0.5,128")
        share, amount = map(float, cells)
        if not 0 <= share <= 1 or not 0 <= amount <= MOST_BYTES or (shares and (share <= shares[-1] or amount < sizes[-1])):
            raise InvalidInput(
                f"{path}:{number}: {line[:60]!r}; expected shares from 0 to 1 that rise and sizes up to 512MiB that do not fall"
            )
        shares.append(share)
        sizes.append(amount)
    if not shares or shares[-1] != 1:
        raise InvalidInput(f"{where}: {path}: the last share is {shares[-1] if shares else 'missing'}; expected 1, the largest size")
    return Quantiles(tuple(shares), tuple(sizes))


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


class FromFile:
    name = "file"
    form = "file:PATH"
    summary = "quantiles from a file of share,size lines, linear between them"
    example = "file:sizes.csv"

    def of(self, figures: list[str], where: str) -> Sizes | None:
        return table_of(Path(":".join(figures)), where) if figures else None


LAW = FromFile()
