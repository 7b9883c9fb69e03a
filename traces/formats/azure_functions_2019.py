"""Azure Functions 2019: a csv of invocations per minute for each day, with durations and memory beside it, as single invocations.

Read from a folder (all its days, or the option `days=3-5`) or from one day's file. Names are the owner's,
`invocations_per_function_md.anon.d01.csv`, `function_durations_percentiles.anon.d01.csv`, `app_memory_percentiles.anon.d01.csv`, or
InVitro's, `invocations.csv`, `durations.csv`, `memory.csv`. Minutes are spread by the rule of `traces.formats.minute_counts` with the
options `seed` and `mode` (poisson, equidistant, start); the entity is the HashFunction, the slot the minute's column plus 1440 for each day
before.
The i-th invocation of a function in a day has the i-th draw of that day's percentiles as its service time and memory.

What is recorded are percentiles of 30-second averages, without cold starts; memory is the application's, here in equal parts for its
functions as InVitro does. https://github.com/Azure/AzurePublicDataset, AzureFunctionsDataset2019.md; InVitro, WORDS 2023
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.draws import U64, quantiles_all, stream
from traces.errors import InvalidInput
from traces.formats.delimited import csv_batches, csv_header, required
from traces.formats.made import mode_of, seed_of
from traces.formats.minute_counts import Counts, arrivals_of, counts_of, entities_of, fitting
from traces.formats.reading import Chunk, check_options, file_trace
from traces.schema import TraceMeta, masked
from traces.stream import Trace

NAMES = ("HashOwner", "HashApp", "HashFunction", "Trigger")
MINUTE_NS = 60 * 10**9
MINUTES = 1440
DURATION_PPM = (0, 10_000, 250_000, 500_000, 750_000, 990_000, 1_000_000)
DURATIONS = tuple(f"percentile_Average_{ppm // 10_000}" for ppm in DURATION_PPM)
MEMORY_PPM = (0, 10_000, 50_000, 250_000, 500_000, 750_000, 950_000, 990_000, 1_000_000)
MEMORY = tuple(f"AverageAllocatedMb_pct{ppm // 10_000}" for ppm in MEMORY_PPM[1:])
_FILES = (
    ("invocations_per_function_md.anon.d", "function_durations_percentiles.anon.d", "app_memory_percentiles.anon.d"),
    ("invocations", "durations", "memory"),
)
_DAY_FILE = re.compile(r"invocations(?:_per_function_md\.anon\.d(\d\d))?\.csv(\.\w+)?")
_MS, _MIB = 10**6, 2**20
_MOST_PERCENTILE = 1e12


@dataclass(frozen=True)
class Day:
    """One day's files; `number` from 1."""

    number: int
    invocations: Path
    durations: Path | None = None
    memory: Path | None = None

    def files(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.invocations, self.durations, self.memory) if path is not None)


class AzureFunctions2019:
    name = "azure_functions_2019"
    summary = "Azure Functions 2019, a folder or a day's invocations csv: counts per minute made invocations (seed, mode, days)"

    def sniff(self, path: Path, head: bytes) -> int:
        if path.is_dir():
            return 3 if any(_DAY_FILE.fullmatch(each.name) for each in path.iterdir()) else 0
        return 3 if head.startswith(",".join(NAMES).encode() + b",") else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("seed", "mode", "days"), self.name)
        mode, seed = mode_of(path, options), seed_of(path, options)
        days = _chosen(path, _days(path), options.get("days"))
        notes = [
            f"counts of minutes are spread as {mode}: what happened within a minute is not recorded",
            "service times follow percentiles of 30-second averages and have no cold starts",
        ]
        for what, lacking in (
            ("service times", [day.number for day in days if day.durations is None]),
            ("memory", [day.number for day in days if day.memory is None]),
        ):
            if lacking:
                notes.append(f"no file of {what} beside day {', '.join(map(str, lacking))}")
        if any(day.memory is not None and "HashFunction" not in csv_header(day.memory) for day in days):
            notes.append("an application's memory is in equal parts its functions'")
        first = days[0]
        origin = ((first.number - 1) * MINUTES + int(_minutes(first.invocations)[0]) - 1) * MINUTE_NS
        meta = TraceMeta(
            name=path.name if path.is_dir() else "",
            kinds=("faas",),
            importer=self.name,
            arrival_model="expanded",
            expand_mode=mode,
            expand_seed=seed,
            license="CC-BY-4.0",
            shareable="attribution",
            citation="Shahrad et al., Serverless in the Wild, ATC 2020",
            cut=f"days {first.number} to {days[-1].number}, from the first minute",
            loss_notes="; ".join(notes),
        )
        return file_trace(
            first.invocations,
            meta,
            lambda: _read(days, seed, mode),
            options,
            origin_ns=origin,
            beside=tuple(file for day in days for file in day.files() if file != first.invocations),
        )


def _days(path: Path) -> list[Day]:
    """Of a folder, or that of one file. Raises InvalidInput where a folder holds none."""
    folder = path if path.is_dir() else path.parent
    here = {each.name: each for each in sorted(folder.iterdir())}

    def beside(stem: str, number: str) -> Path | None:
        return next((file for name, file in here.items() if re.fullmatch(rf"{re.escape(stem + number)}\.csv(\.\w+)?", name)), None)

    found = []
    for name in [path.name] if path.is_file() else here:
        match = _DAY_FILE.fullmatch(name)
        if match:
            number = match[1] or ""
            _, durations, memory = _FILES[0 if number else 1]
            found.append(Day(int(number or 1), here[name], beside(durations, number), beside(memory, number)))
        elif path.is_file():
            found.append(Day(1, path))
    if not found:
        raise InvalidInput(f"{path}: no invocations; expected invocations_per_function_md.anon.d01.csv and on, or invocations.csv")
    return sorted(found, key=lambda day: day.number)


def _chosen(path: Path, days: list[Day], text: str | None) -> list[Day]:
    numbers = [day.number for day in days]
    if len(set(numbers)) < len(numbers) or min(numbers) < 1:
        raise InvalidInput(f"{path}: files of days {numbers}; expected one invocations file for each day from 1; move the others away")
    if text is None:
        return days
    match = re.fullmatch(r"(\d{1,2})(?:-(\d{1,2}))?", text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    wanted = [day for day in days if first <= day.number <= last]
    if not match or len(wanted) != last - first + 1:
        raise InvalidInput(f"{path}: option days: {text!r}; expected 1 or 1-3, of days {', '.join(map(str, numbers))} that are there")
    return wanted


def _minutes(path: Path) -> npt.NDArray[np.int64]:
    """The minutes that the header names, which ascend."""
    header = csv_header(path)
    if missing := set(NAMES) - set(header):
        raise InvalidInput(f"{path}: line 1: column {', '.join(sorted(missing))} is missing; expected {', '.join(NAMES)}, 1, 2 and on")
    found = [int(name) for name in header if re.fullmatch(r"\d{1,4}", name)]
    if not found or any(b <= a for a, b in pairwise(found)) or found[-1] > MINUTES:
        raise InvalidInput(f"{path}: line 1: {len(found)} columns of minutes; expected numbers that ascend to at most {MINUTES}")
    return np.array(found, dtype=np.int64)


@dataclass
class _Functions:
    """The rows of a day's invocations, as they are read."""

    identity: list[tuple[str, str, str]] = field(default_factory=list)
    triggers: list[str] = field(default_factory=list)


def _lots(path: Path, minutes: npt.NDArray[np.int64], into: _Functions) -> Iterator[npt.NDArray[np.int64]]:
    columns = [str(minute) for minute in minutes]
    types = {**dict.fromkeys(NAMES, pa.utf8()), **dict.fromkeys(columns, pa.int64())}
    done = 0
    for batch in csv_batches(path, types):
        owner, app, function, trigger = (required(batch, name, path, done).to_pylist() for name in NAMES)
        lot = np.stack([required(batch, name, path, done).to_numpy() for name in columns], axis=1)
        fitting(lot, columns, path, done)
        into.identity.extend(zip(owner, app, function, strict=True))
        into.triggers.extend(trigger)
        done += batch.num_rows
        yield lot


def _loaded(day: Day) -> tuple[_Functions, Counts]:
    functions, minutes = _Functions(), _minutes(day.invocations)
    counts = counts_of(_lots(day.invocations, minutes, functions), minutes + (day.number - 1) * MINUTES)
    counts.refuse_fullest(day.invocations)
    return functions, counts


def _read(days: Sequence[Day], seed: int, mode: str) -> Iterator[Chunk]:
    for day in days:
        functions, counts = _loaded(day)
        entities = entities_of([function for _, _, function in functions.identity])
        durations = _durations(day.durations, functions)
        memory = _memory(day.memory, functions)
        keys = {what: _keys(seed, entities, what) for what in ("arrival", "service", "memory")}
        apps, targets = (pa.array([each[at] for each in functions.identity], pa.utf8()).dictionary_encode() for at in (1, 2))
        triggers = pa.array([[("trigger", trigger)] for trigger in functions.triggers], pa.map_(pa.utf8(), pa.utf8()))
        for lot in arrivals_of(counts, keys["arrival"], MINUTE_NS, mode):
            rows, nth = pa.array(lot.row), lot.nth.astype(np.uint64)
            chunk: Chunk = {
                "arrival_ns": lot.arrival_ns - MINUTE_NS,  # the column 1 is the day's first minute
                "kind": "faas",
                "op": "invoke",
                "tenant": apps.take(rows),
                "target": targets.take(rows),
                "labels": triggers.take(rows),
            }
            for column, what, table, ppm in (
                ("service_ns", "service", durations, DURATION_PPM),
                ("mem_bytes", "memory", memory, MEMORY_PPM),
            ):
                if table is not None:
                    known, values = table
                    chunk[column] = masked(quantiles_all(keys[what][lot.row], nth, ppm, values, lot.row), known[lot.row])
            yield chunk


def _keys(seed: int, entities: list[str], purpose: str) -> U64:
    return np.array([stream(seed, entity, purpose) for entity in entities], dtype=np.uint64)


_Table = tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]
"""(whether a function has them, its percentiles in ns or bytes, ascending), one row for each function of the day."""


def _durations(path: Path | None, functions: _Functions) -> _Table | None:
    if path is None:
        return None
    return _table(functions.identity, _percentiles(path, NAMES[:3], DURATIONS), len(DURATIONS), _MS)


def _memory(path: Path | None, functions: _Functions) -> _Table | None:
    """Percentiles begin at the first: below it memory is that of the first."""
    if path is None:
        return None
    if "HashFunction" in csv_header(path):
        known, values = _table(functions.identity, _percentiles(path, NAMES[:3], MEMORY), len(MEMORY), _MIB)
    else:
        apps = [(owner, app) for owner, app, _ in functions.identity]
        known, values = _table(apps, _percentiles(path, NAMES[:2], MEMORY), len(MEMORY), _MIB)
        size = Counter(apps)
        values //= np.array([size[app] for app in apps], dtype=np.int64)[:, None]
    return known, np.concatenate((values[:, :1], values), axis=1)


def _percentiles(path: Path, names: Sequence[str], columns: Sequence[str]) -> dict[tuple[str, ...], npt.NDArray[np.float64]]:
    if missing := {*names, *columns} - set(csv_header(path)):
        raise InvalidInput(f"{path}: line 1: column {', '.join(sorted(missing))} is missing; expected {', '.join((*names, *columns))}")
    found: dict[tuple[str, ...], npt.NDArray[np.float64]] = {}
    done = 0
    for batch in csv_batches(path, {**dict.fromkeys(names, pa.utf8()), **dict.fromkeys(columns, pa.float64())}):
        whose = zip(*(required(batch, name, path, done).to_pylist() for name in names), strict=True)
        values = np.stack([batch.column(name).fill_null(float("nan")).to_numpy() for name in columns], axis=1)
        found.update(zip(whose, values, strict=True))
        done += batch.num_rows
    return found


def _table(whose: Sequence[tuple[str, ...]], found: Mapping[tuple[str, ...], npt.NDArray[np.float64]], width: int, unit: int) -> _Table:
    """Percentiles that are not whole, or do not ascend from 0, say nothing."""
    none = np.full(width, np.nan)
    values = np.array([found.get(each, none) for each in whose]).reshape(-1, width)
    with np.errstate(invalid="ignore"):
        known = (np.diff(values, axis=1, prepend=0.0) >= 0).all(axis=1) & (values[:, -1] < _MOST_PERCENTILE)
    values[~known] = 0
    return known, np.rint(values * unit).astype(np.int64)


FORMAT = AzureFunctions2019()
