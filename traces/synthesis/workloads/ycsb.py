"""ycsb:A to ycsb:F: YCSB's core workloads, executed by the code that reads its workload files (`traces/ycsb`). Any of YCSB's properties can
be given by its name; `records` and `operations` are short for recordcount and operationcount. Without a rate there are no times.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from traces.errors import InvalidInput
from traces.pace import LAWS, Pace
from traces.schema import TraceMeta, batch_of
from traces.stream import StreamTrace, limit
from traces.synthesis.requests import FOR as UNTIL
from traces.synthesis.requests import LENGTH, ROWS, SEED
from traces.synthesis.spec import RATE, Form, Given, Parameter, whole, word
from traces.ycsb.execution import executed, notes, one_request_each
from traces.ycsb.workload import CORE, DEFAULTS, MOST_RECORDS, Workload, workload_of

RECORDS = Parameter("records", whole(1, MOST_RECORDS), "records that are there at the start", "1000000", "1000")
OPERATIONS = Parameter("operations", whole(1, MOST_RECORDS), "end after so many operations", "1000000")
PACE = Parameter("rate", RATE, "operations a second", "20000")
LAW = Parameter("law", word(*LAWS), "how they are paced", "constant", "poisson")
_TEXT: Form[str] = Form("a value as in a workload file", lambda text, where: text)
_PROPERTIES = tuple(Parameter(name, _TEXT, "YCSB's property", default or "100") for name, default in DEFAULTS.items())
_SPARE = 1.1


class Ycsb:
    name = "ycsb"
    summary = "YCSB's core workloads A to F, executed; YCSB's own properties are parameters too"
    argument = "a to f"
    example = "ycsb:a,records=1000000,rate=20000,for=10s"
    parameters: tuple[Parameter[Any], ...] = (RECORDS, OPERATIONS, PACE, LAW, *LENGTH)

    def trace(self, given: Given, seed: int) -> StreamTrace:
        given.only((*self.parameters, *_PROPERTIES))
        core = CORE.get(given.argument.lower())
        if core is None:
            raise InvalidInput(f"{given.spec}: workload {given.argument!r} is not known; expected a to f; for example {self.example}")
        rate, rows, for_ns = given.get(PACE) or 0.0, given.get(ROWS), given.get(UNTIL)
        asked = {name: text for name, text in given.values.items() if name in DEFAULTS}
        for short, long in ((RECORDS, "recordcount"), (OPERATIONS, "operationcount")):
            if given.has(short) and long in asked:
                raise InvalidInput(f"{given.spec}: {short.name} and {long} are the same; expected one of them; leave one out")
        asked.setdefault("recordcount", str(given.need(RECORDS)))
        asked.setdefault("operationcount", str(_operations(given, rate, rows, for_ns)))
        workload = workload_of({**core, **asked}, given.spec)
        pace = rate or float(workload.target_per_s)
        own = given.get(SEED)
        return _trace(given.spec, workload, seed if own is None else own, pace, given.need(LAW), rows, for_ns)


def _operations(given: Given, rate: float, rows: int | None, for_ns: int | None) -> int:
    """As many as the rest of the spec can need. Workloads that insert spread their keys over how many there will be, so it is not `as many
    as one likes`.
    """
    operations = given.get(OPERATIONS)
    if operations is not None:
        return operations
    if for_ns is not None and rate:
        expected = rate * for_ns / 1e9
        most = math.ceil(expected * _SPARE + 10 * math.sqrt(expected) + 100)
    elif rows is not None:
        most = rows
    else:
        raise InvalidInput(f"{given.spec}: it has no end; expected operations=N, rows=N, or rate= and for=; for example {Ycsb.example}")
    return most if rows is None else min(rows, most)


def _trace(name: str, workload: Workload, seed: int, rate: float, law: str, rows: int | None, for_ns: int | None) -> StreamTrace:
    meta = TraceMeta(
        name=name,
        kinds=("kv",),
        importer="synthesis",
        arrival_model="generated" if rate else "none",
        expand_seed=seed,
        key_space=workload.records,
        loss_notes=notes(workload),
    )

    def make() -> Iterator[pa.RecordBatch]:
        done = 0
        for chunk in executed(workload, seed, Pace(rate, law)):
            count = len(chunk["key_id"])
            keep = count if rows is None else min(count, rows - done)
            seq = np.arange(done, done + count, dtype=np.uint64)
            arrival = chunk["arrival_ns"] if rate else seq.astype(np.int64)
            yield batch_of({**chunk, "arrival_ns": arrival, "seq": seq}, count).slice(0, keep)
            done += count
            if rows is not None and done >= rows:
                return

    even = one_request_each(workload)
    hint = None
    if for_ns is None and even:
        hint = workload.operations if rows is None else min(rows, workload.operations)
    identity = f"ycsb {workload!r} {seed} {rate!r} {law} {rows}"
    made = StreamTrace(meta, make, lambda: identity, hint, True, rate if rate and even else None)
    return limit(made, for_ns) if for_ns is not None else made


WORKLOAD = Ycsb()
