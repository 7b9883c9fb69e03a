"""A YCSB workload, executed: its properties file (A to F, or one's own) as key-value requests, the same for the same seed.

There are no times unless a rate is given, for YCSB asks as fast as it is answered; a `target` in the file paces constantly, as YCSB does.
"""

from collections.abc import Mapping
from pathlib import Path

from traces.errors import InvalidInput
from traces.formats.bytes_in import head_of
from traces.formats.made import pace_of, seed_of
from traces.formats.reading import check_options, file_trace
from traces.schema import TraceMeta
from traces.stream import Trace
from traces.ycsb.execution import executed, notes, one_request_each
from traces.ycsb.workload import DEFAULTS, OPERATIONS, properties_of, workload_of

_MOST_BYTES = 1 << 20


class Ycsb:
    name = "ycsb"
    summary = "a YCSB workload file, executed by seed=N; times only with rate=1000/s (law=poisson|constant); properties are options too"

    def sniff(self, path: Path, head: bytes) -> int:
        if b"\0" in head or b"proportion" not in head:
            return 0
        found = properties_of(head.decode(errors="replace"))
        return 3 if any(f"{name}proportion" in found for name in OPERATIONS) and found.keys() & {"workload", "recordcount"} else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("rate", "law", "seed", *DEFAULTS), self.name)
        data = head_of(path, _MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise InvalidInput(f"{path}: over {_MOST_BYTES >> 20} MiB; expected a YCSB workload of some lines; name another --format")
        asked = {name: text for name, text in options.items() if name in DEFAULTS}
        workload = workload_of({**properties_of(data.decode(errors="replace")), **asked}, str(path))
        seed, pace = seed_of(path, options), pace_of(path, options, float(workload.target_per_s))
        meta = TraceMeta(
            kinds=("kv",),
            importer=self.name,
            arrival_model="generated",
            expand_seed=seed,
            key_space=workload.records,
            loss_notes=notes(workload),
            cut="as many operations as the workload says",
        )
        rows = workload.operations if one_request_each(workload) else None
        return file_trace(path, meta, lambda: executed(workload, seed, pace), options, rows, origin_ns=0)


FORMAT = Ycsb()
