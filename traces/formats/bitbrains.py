"""Usage of Bitbrains' virtual machines (GWA-T-12 fastStorage and Rnd): a signal, not requests. Two forms:

    the original   one csv a machine, fields between ";\\t", named by its file: a file, or a folder of them
                   http://gwa.ewi.tudelft.nl/datasets/gwa-t-12-bitbrains
    OpenDC's       a folder with tasks.parquet (id, submission_time ms, ...) and fragments.parquet (id, duration ms, cpu_usage MHz)
                   https://github.com/atlarge-research/opendc

The original's header says milliseconds where its stamps are Unix seconds: what lies before the year 1973 as milliseconds is seconds. An
OpenDC fragment is a sample at its start, and a machine's fragments follow one another from its submission.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traces.errors import InvalidInput
from traces.formats.bytes_in import head_of, one_line, stem
from traces.formats.parquet import open_parquet
from traces.formats.reading import check_options
from traces.formats.samples import file_signal, samples
from traces.formats.tables import Table, first_row, lots
from traces.schema import BATCH_ROWS, TraceMeta
from traces.signal import Signal

_METRICS = {
    "CPU cores": "cpu_cores",
    "CPU capacity provisioned [MHZ]": "cpu_capacity_mhz",
    "CPU usage [MHZ]": "cpu_usage_mhz",
    "CPU usage [%]": "cpu_usage_percent",
    "Memory capacity provisioned [KB]": "mem_capacity_kb",
    "Memory usage [KB]": "mem_usage_kb",
    "Disk read throughput [KB/s]": "disk_read_kb_per_s",
    "Disk write throughput [KB/s]": "disk_write_kb_per_s",
    "Network received throughput [KB/s]": "net_received_kb_per_s",
    "Network transmitted throughput [KB/s]": "net_transmitted_kb_per_s",
}
STAMP = "Timestamp [ms]"
TABLE = Table(
    types={STAMP: pa.int64(), **dict.fromkeys(_METRICS, pa.float64())},
    optional=frozenset(_METRICS.keys() - {"CPU usage [MHZ]"}),
    delimiter=";",
)
_MOST_SECONDS = 10**11
_TASKS = {"id": pa.int64(), "submission_time": pa.int64()}
_FRAGMENTS = {"id": pa.int64(), "duration": pa.int64(), "cpu_usage": pa.float64()}
_MOST_MACHINES = 10_000_000


class Bitbrains:
    name = "bitbrains"
    summary = "Bitbrains GWA-T-12, csv or a folder of OpenDC's Parquet: usage of virtual machines, a signal (no requests)"

    def sniff(self, path: Path, head: bytes) -> int:
        if not path.is_dir():
            return 3 if not TABLE.missing(first_row(head, ";")) else 0
        if _opendc(path):
            return 3
        csv = next(iter(_machines(path)), None)
        return 3 if csv is not None and not TABLE.missing(first_row(head_of(csv, 4096), ";")) else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Signal:
        check_options(options, (), self.name)
        meta = TraceMeta(
            importer=self.name,
            arrival_resolution_ns=1_000_000_000,
            license="GWA: free with citation; OpenDC's form MIT",
            shareable="attribution",
            citation="Shen, van Beek, Iosup, Statistical Characterization of Business-Critical Workloads, CCGrid 2015",
        )
        if path.is_dir() and _opendc(path):
            files = (path / "tasks.parquet", path / "fragments.parquet")
            return file_signal(path, meta, lambda: _fragments(*files), options, files)
        machines = _machines(path) if path.is_dir() else [path]
        if not machines:
            raise InvalidInput(
                f"{path}: neither fragments.parquet with tasks.parquet nor csv files; expected one of these; unpack the trace"
            )
        return file_signal(path, meta, lambda: _usage(machines), options, machines)


def _opendc(folder: Path) -> bool:
    return all((folder / f"{name}.parquet").is_file() for name in ("tasks", "fragments"))


def _machines(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix == ".csv" and path.is_file())


def _usage(machines: list[Path]) -> Iterator[pa.RecordBatch]:
    for path in machines:
        name = stem(path)
        for lot in lots(path, TABLE):
            raw = lot.needed(STAMP).to_numpy()
            unit = "s" if len(raw) and raw[0] < _MOST_SECONDS else "ms"
            stamps = lot.stamps(STAMP, unit)
            series = pa.array([name] * len(lot)).dictionary_encode()
            yield from samples(stamps, series, {metric: lot.column(column) for column, metric in _METRICS.items()})


def _fragments(tasks: Path, fragments: Path) -> Iterator[pa.RecordBatch]:
    begun: dict[int, int] = {}
    for batch in _columns(tasks, _TASKS):
        begun.update(zip(batch.column("id").to_pylist(), batch.column("submission_time").to_pylist(), strict=True))
        if len(begun) > _MOST_MACHINES:
            raise InvalidInput(f"{tasks}: over {_MOST_MACHINES} tasks; expected one a virtual machine; take another file")
    done = 0
    for batch in _columns(fragments, _FRAGMENTS):
        machine, lasted = (batch.column(name).to_numpy() for name in ("id", "duration"))
        unknown = np.array([each not in begun for each in machine.tolist()])
        if unknown.any() or (lasted < 0).any():
            row = int(np.flatnonzero(unknown | (lasted < 0))[0])
            raise InvalidInput(
                f"{fragments}: row {done + row} (from 0): id {machine[row]}, duration {lasted[row]}; expected an id of {tasks.name} and a "
                "duration from 0; take both files of one trace"
            )
        start_ms = _starts(machine, lasted, begun)
        done += batch.num_rows
        series = pa.array(machine).cast(pa.utf8()).dictionary_encode()
        yield from samples(start_ms * 1_000_000, series, {"cpu_usage_mhz": batch.column("cpu_usage")})


def _starts(machine: npt.NDArray[np.int64], lasted: npt.NDArray[np.int64], clocks: dict[int, int]) -> npt.NDArray[np.int64]:
    """When each fragment begins, in ms; moves the machines' `clocks` on to its end."""
    order = np.argsort(machine, kind="stable")
    ends = np.cumsum(lasted[order])
    ids, first, counts = np.unique(machine[order], return_index=True, return_counts=True)
    before = np.concatenate(([0], ends))[first]
    begins = np.array([clocks[each] for each in ids.tolist()], dtype=np.int64)
    starts = np.empty(len(order), dtype=np.int64)
    starts[order] = ends - lasted[order] + np.repeat(begins - before, counts)
    clocks.update(zip(ids.tolist(), (begins + ends[first + counts - 1] - before).tolist(), strict=True))
    if len(starts) and (starts.min() < -(2**63) // 1_000_000 or starts.max() > 2**63 // 1_000_000):
        raise OverflowError("a fragment begins beyond 292 years")
    return starts


def _columns(path: Path, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
    """Columns of a Parquet file in these types, none of them null."""
    with open_parquet(path) as file:
        if missing := types.keys() - set(file.schema_arrow.names):
            raise InvalidInput(f"{path}: column {', '.join(sorted(missing))} is missing; expected {', '.join(types)}; take another file")
        try:
            for batch in file.iter_batches(BATCH_ROWS, columns=list(types)):
                found = pa.RecordBatch.from_arrays([batch.column(n).cast(kind) for n, kind in types.items()], names=list(types))
                if any(column.null_count for column in found.columns):
                    raise pa.ArrowInvalid("a column has empty rows")
                yield found
        except (pa.ArrowException, OSError) as error:
            raise InvalidInput(f"{path}: {one_line(error)}; expected readable columns {', '.join(types)}; fetch the file again") from error


FORMAT = Bitbrains()
