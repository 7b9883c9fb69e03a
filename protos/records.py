"""Tables that cross from agents to the controller and lie in a run's folder: their Arrow schemas, in one place.

Readers are DuckDB, pandas and polars as much as we: column names carry their unit, and nothing is nested that need not be.
"""

import pyarrow as pa

INTERVALS = pa.schema(
    [
        ("agent", pa.string()),
        ("second", pa.int32()),  # by due time; second 0 starts at T0, warm-up included
        ("op", pa.string()),
        ("phase", pa.string()),  # warmup | measure
        ("scheduled", pa.int64()),
        ("sent", pa.int64()),
        ("completed", pa.int64()),
        ("misses", pa.int64()),
        ("timed_out", pa.int64()),
        ("dropped", pa.int64()),
        ("unsent", pa.int64()),
        ("errors", pa.map_(pa.string(), pa.int64())),
        ("bytes_sent", pa.int64()),
        ("bytes_received", pa.int64()),
        ("output_tokens", pa.int64()),  # of streamed answers
        ("slip_p50_ns", pa.int64()),
        ("slip_p99_ns", pa.int64()),
        ("slip_max_ns", pa.int64()),
        ("service_p50_ns", pa.int64()),
        ("service_p99_ns", pa.int64()),
        ("service_max_ns", pa.int64()),
        ("response_p50_ns", pa.int64()),
        ("response_p99_ns", pa.int64()),
        ("response_max_ns", pa.int64()),
    ]
)
"""intervals/trial=<id>/: one row per due second, op and load agent. Quantile columns are for looking; scores use HISTOGRAMS."""

HISTOGRAMS = pa.schema(
    [
        ("agent", pa.string()),
        ("second", pa.int32()),
        ("op", pa.string()),
        ("phase", pa.string()),
        ("kind", pa.string()),  # slip | service | response; of streamed answers also ttft (from due) and tpot (per token after the first)
        ("hdr", pa.binary()),  # HdrHistogram V2, nanoseconds, 3 significant digits
    ]
)
"""histograms/trial=<id>/"""

ENGINE = pa.schema(
    [
        ("agent", pa.string()),
        ("second", pa.int32()),  # wall second of the engine thread, from T0
        ("core", pa.int32()),
        ("pinned", pa.bool_()),
        ("cpu_ns", pa.int64()),
        ("run_delay_ns", pa.int64()),
        ("steal_ns", pa.int64()),
        ("inflight", pa.int64()),
        ("inflight_max", pa.int64()),
        ("backlog", pa.int64()),
        ("send_buffer_full", pa.int64()),
        ("reconnects", pa.int64()),
        ("gap_ks", pa.float64()),  # Kolmogorov-Smirnov distance of the gaps sent from the gaps due; null where there is no schedule
    ]
)
"""engine/trial=<id>/: what the self-check of the load generator is judged on."""

REQUESTS = pa.schema(
    [
        ("row", pa.uint64()),  # place in the compiled trace, or its shard
        ("due_ns", pa.int64()),  # from T0, as all times here
        ("sent_ns", pa.int64()),  # null: never left
        ("done_ns", pa.int64()),  # null: no end was seen, or nothing had left
        ("op", pa.dictionary(pa.int8(), pa.string())),
        ("end", pa.dictionary(pa.int8(), pa.string())),  # completed, miss, timed_out, dropped, unsent, or the kind of error
    ]
)
"""requests/: optional, one row a request, in the order in which they ended."""

DOSES = pa.schema(
    [
        ("agent", pa.string()),
        ("violation", pa.string()),
        ("second", pa.int32()),  # from T0; negative while the dose is verified before the load starts
        ("unit", pa.string()),
        ("asked", pa.float64()),
        ("given", pa.float64()),  # null: could not be read in this second
        ("source", pa.string()),  # where the reading comes from: cpuacct, counter (its own), minflt, Cpus_allowed
        ("cpu_percent", pa.float64()),  # of one core, that the neighbour itself took in that second; null: nobody keeps that
        ("throttled_ms", pa.float64()),  # that a quota held the system in that second, summed over its cores; null: it has none
        ("throttled_periods", pa.float64()),  # share of the quota's periods in which it did
        ("major_faults_per_s", pa.float64()),  # of the system, where its memory is what is violated
        ("swapped_mib", pa.float64()),  # of the system, at the end of that second
        ("remark", pa.string()),  # what else was read that bounds the claim, in words
        ("late_ms", pa.float64()),  # of a dose over time: how late its changes came in this second, at worst; null: none was due
        ("mechanism", pa.string()),
        ("fidelity", pa.string()),  # exact | equivalent | proxy
    ]
)
"""doses/trial=<id>/"""

METRICS = pa.schema(
    [
        ("t_ns", pa.int64()),  # controller CLOCK_REALTIME at the scrape
        ("second", pa.float64()),  # from T0 by the controller's monotonic clock; null before T0 is known
        ("instance", pa.string()),
        ("name", pa.string()),
        ("labels", pa.map_(pa.string(), pa.string())),
        ("value", pa.float64()),
    ]
)
"""metrics/trial=<id>/: Prometheus samples as scraped; a failed scrape leaves a row `up` 0 and nothing else."""

TABLES: dict[str, pa.Schema] = {
    "intervals": INTERVALS,
    "histograms": HISTOGRAMS,
    "engine": ENGINE,
    "doses": DOSES,
    "metrics": METRICS,
}
