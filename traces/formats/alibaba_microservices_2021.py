"""Call graphs of Alibaba's microservices, twelve hours of 2021, csv `MSCallGraph_*`: traceid, timestamp (ms), rpcid (its place in the
tree), um (who calls), rpctype (rpc, mc, db, mq, http, userDefined), dm (who is called), interface, rt (ms; 0 is below one, negative
is the callee's side). One row is one call; see traces.formats.call_trees. Names may be lost: empty or `(?)`.
https://github.com/alibaba/clusterdata/tree/master/cluster-trace-microservices-v2021

A file holds five minutes, in no order: calls are put in order within as long, which holds them in memory (about 1 kB a call), unless the
option `sort` says otherwise.
"""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from traces.formats.call_trees import call_chunks, call_meta
from traces.formats.left_out import Tally, left_out
from traces.formats.reading import check_options, file_trace
from traces.formats.tables import SECONDS, Table, first_row
from traces.stream import Trace

_TEXTS = ("trace", "rpcid", "um", "kind", "dm", "interface", "service", "um_instance", "dm_instance")
TABLE = Table(
    types={**dict.fromkeys(_TEXTS, pa.utf8()), "stamp": SECONDS, "rt": SECONDS},
    optional=frozenset({"service", "um_instance", "dm_instance"}),
    aliases={"traceid": "trace", "timestamp": "stamp", "rpctype": "kind"},
)


class AlibabaMicroservices2021:
    name = "alibaba_microservices_2021"
    summary = "Alibaba microservices 2021 call graphs csv: calls, each once, in trees; millisecond stamps"

    def sniff(self, path: Path, head: bytes) -> int:
        return 3 if not TABLE.missing(first_row(head)) else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort",), self.name)
        note = left_out(lambda tally: call_chunks(path, TABLE, tally))
        meta = call_meta(self.name, "Luo et al., Characterizing Microservice Dependency and Performance, SoCC 2021", note)
        return file_trace(path, meta, lambda: call_chunks(path, TABLE, Tally()), options, origin_ns=0, sort="5m")


FORMAT = AlibabaMicroservices2021()
