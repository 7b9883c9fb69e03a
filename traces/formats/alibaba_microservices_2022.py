"""Call graphs of Alibaba's microservices, thirteen days of 2022, csv `CallGraph_*`: timestamp (ms), traceid, service, rpc_id (its place in
the tree), rpctype, um (who calls), uminstanceid, interface, dm (who is called), dminstanceid, rt (ms, with fractions; negative is the
callee's side). One row is one call; see traces.formats.call_trees.
https://github.com/alibaba/clusterdata/tree/master/cluster-trace-microservices-v2022

A file holds three minutes, in no order: calls are put in order within five, which holds them in memory (about 1 kB a call), unless the
option `sort` says otherwise.
"""

from collections.abc import Mapping
from pathlib import Path

from traces.formats import alibaba_microservices_2021
from traces.formats.call_trees import call_chunks, call_meta
from traces.formats.left_out import Tally, left_out
from traces.formats.reading import check_options, file_trace
from traces.formats.tables import Table, first_row
from traces.stream import Trace

TABLE = Table(
    types=alibaba_microservices_2021.TABLE.types,
    aliases={
        **alibaba_microservices_2021.TABLE.aliases,
        "rpc_id": "rpcid",
        "uminstanceid": "um_instance",
        "dminstanceid": "dm_instance",
    },
)


class AlibabaMicroservices2022:
    name = "alibaba_microservices_2022"
    summary = "Alibaba microservices 2022 call graphs csv, with services and instances: calls, each once, in trees"

    def sniff(self, path: Path, head: bytes) -> int:
        return 3 if not TABLE.missing(first_row(head)) else 0

    def open(self, path: Path, options: Mapping[str, str]) -> Trace:
        check_options(options, ("sort",), self.name)
        note = left_out(lambda tally: call_chunks(path, TABLE, tally))
        meta = call_meta(self.name, "Luo et al., The Power of Prediction: Microservice Auto Scaling via Workload Learning, SoCC 2022", note)
        return file_trace(path, meta, lambda: call_chunks(path, TABLE, Tally()), options, origin_ns=0, sort="5m")


FORMAT = AlibabaMicroservices2022()
