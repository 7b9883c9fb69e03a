"""The files that ServeGen publishes: windows of clients as csv, laws of their lengths as JSON with Python dictionaries in its texts."""

import json
import math
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.errors import InvalidInput
from traces.formats.bytes_in import head_of
from traces.formats.delimited import csv_batches, csv_header

HEADER = ("client", "window_start_s", "rate_rps", "iat_cv", "pattern", "arg1", "arg2")
LAWS = ("Gamma", "Weibull")
WINDOW_S = 600
MOST_REQUESTS = 1 << 23
_TYPES = {
    **dict.fromkeys(HEADER, pa.float64()),
    "client": pa.int64(),
    "window_start_s": pa.int64(),
    "pattern": pa.utf8(),
}
_TRACE = re.compile(r"chunk-(\d{1,9})-trace\.csv")
_DATASET = re.compile(r"chunk-(\d{1,9})-dataset\b.*\.json")
_MOST_JSON = 256 << 20
_LATEST_S = 2**31

Law = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]
"""(values, how likely are those up to each, not scaled to 1)."""


@dataclass(frozen=True)
class Window:
    """One client in one window. `shape`: of the law of its gaps."""

    start_s: int
    client: int
    rate_per_s: float
    law: str
    shape: float

    def requests(self) -> int:
        return round(self.rate_per_s * WINDOW_S)


@dataclass(frozen=True)
class Lengths:
    """Laws by field, each from a start on."""

    starts: Sequence[int]
    laws: Sequence[Mapping[str, Law]]

    def at(self, start_s: int) -> Mapping[str, Law]:
        found = bisect_right(self.starts, start_s) - 1
        return self.laws[found] if found >= 0 else {}


def files_of(path: Path) -> list[Path]:
    """The owner's files of windows: those of a folder, or the one that `path` is; none for other files."""
    if not path.is_dir():
        return [path] if _TRACE.fullmatch(path.name) else []
    found = {int(match[1]): each for each in path.iterdir() if (match := _TRACE.fullmatch(each.name))}
    return [found[client] for client in sorted(found)]


def windows_of(path: Path, files: Sequence[Path]) -> list[Window]:
    """By start, then by client, without those of rate 0. Raises InvalidInput that names the line."""
    found: list[Window] = []
    for file in files:
        match = _TRACE.fullmatch(file.name)
        assert match is not None
        found += _windows(file, int(match[1]))
    if not files:
        if missing := set(HEADER) - set(csv_header(path)):
            raise InvalidInput(f"{path}: line 1: column {', '.join(sorted(missing))} is missing; expected {', '.join(HEADER)}")
        found = _windows(path, None)
    found.sort(key=lambda window: (window.start_s, window.client))
    if any((a.start_s, a.client) == (b.start_s, b.client) for a, b in pairwise(found)):
        raise InvalidInput(f"{path}: a client has two windows of one start; expected one each; correct the file")
    return found


def _windows(path: Path, client: int | None) -> list[Window]:
    types = {name: kind for name, kind in _TYPES.items() if client is None or name != "client"}
    found: list[Window] = []
    done = 1 if client is None else 0
    for batch in csv_batches(path, types, names=None if client is None else list(types)):
        for row in batch.to_pylist():
            done += 1
            law, rate, shape, start = row["pattern"], row["rate_rps"], row["arg1"], row["window_start_s"]
            whose = row["client"] if client is None else client
            if not rate or not law:
                continue
            right = whose is not None and start is not None and shape is not None and 0 <= start < _LATEST_S
            if not right or law not in LAWS or not 0 < rate <= MOST_REQUESTS / WINDOW_S or not 0 < shape < math.inf:
                raise InvalidInput(
                    f"{path}: line {done}: expected a start from 0 s, a rate up to {MOST_REQUESTS // WINDOW_S}/s, "
                    f"{' or '.join(LAWS)} and a shape above 0; correct the line"
                )
            found.append(Window(start, whose, rate, law, shape))
    return found


def lengths_of(folder: Path, clients: Sequence[int]) -> tuple[dict[int, Lengths], list[Path]]:
    """Of the clients that have a dataset in the folder, and the files that were read."""
    if not folder.is_dir():
        raise InvalidInput(f"{folder}: no folder; expected one that holds chunk-0-dataset.json and on; correct the option lengths")
    found: dict[int, Lengths] = {}
    read: list[Path] = []
    for path in sorted(folder.iterdir()):
        match = _DATASET.fullmatch(path.name)
        if match and int(match[1]) in clients:
            found[int(match[1])] = _lengths(path)
            read.append(path)
    return found, read


def _lengths(path: Path) -> Lengths:
    data = head_of(path, _MOST_JSON + 1)
    try:
        windows = json.loads(data) if len(data) <= _MOST_JSON else None
    except (ValueError, RecursionError):
        windows = None
    if not isinstance(windows, dict) or not all(re.fullmatch(r"\d{1,12}", start) and isinstance(of, dict) for start, of in windows.items()):
        raise InvalidInput(f"{path}: expected a JSON object of windows by their start, of at most {_MOST_JSON >> 20} MiB; fetch it again")
    laws = {}
    for start in sorted(windows, key=int):
        fields = {
            name: _law(text, f"{path}: {start}: {name}") for name, text in windows[start].items() if name.endswith(("_tokens", "_count"))
        }
        laws[int(start)] = {name: law for name, law in fields.items() if len(law[0])}
    return Lengths(list(laws), list(laws.values()))


def _law(text: object, where: str) -> Law:
    """Out of the text of a Python dictionary {value: probability}, which is never evaluated."""
    try:
        inside = str(text).strip()
        if not (inside.startswith("{") and inside.endswith("}")):
            raise ValueError
        pairs = [pair.split(":") for pair in inside[1:-1].split(",") if pair.strip()]
        values = np.array([int(value) for value, _ in pairs], dtype=np.int64)
        shares = np.array([float(share) for _, share in pairs], dtype=np.float64)
    except (ValueError, OverflowError):
        values, shares = np.array([-1]), np.array([1.0])
    if (
        (values < 0).any()
        or (values >= 2**31).any()
        or not (np.isfinite(shares) & (shares >= 0)).all()
        or (len(shares) and not shares.sum())
    ):
        raise InvalidInput(f"{where}: {str(text)[:40]!r}; expected {{value: probability, ...}} of whole values; fetch the file again")
    order = np.argsort(values, kind="stable")
    return values[order], np.cumsum(shares[order])
