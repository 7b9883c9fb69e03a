"""twitter:CLUSTER: one of Twitter's 54 cache clusters after its published statistics (Yang, Yue, Rashmi, OSDI 2020; `data/`, CC-BY-4.0).

Taken from the table: rate, zipf exponent, mean key and value size, ops, lifetimes. Sizes are the mean for every key, because no spread is
published; arrivals are Poisson. The number of keys is the working set over the mean size of an item where that is given, else a day's
requests over the mean frequency. Misses, one-hit wonders and the change of popularity over time are not modelled. Every one of these can be
overridden.
"""

import csv
import dataclasses
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from traces.errors import InvalidInput
from traces.stream import StreamTrace
from traces.synthesis.arrivals.poisson import LAW as POISSON
from traces.synthesis.requests import PARAMETERS, recipe_of, synthesised
from traces.synthesis.spec import RATE, Given, Parameter

CITATION = "Yang, Yue, Rashmi, A large scale analysis of hundreds of in-memory cache clusters at Twitter, OSDI 2020"
_DAY_S = 86_400
_RATE = Parameter("rate", RATE, "another rate than the cluster's", "5000")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """`ops` and `ttl_s` as VALUE:SHARE/VALUE:SHARE; `zipf` None: not published."""

    name: str
    key_bytes: int
    value_bytes: int
    rate_per_s: float
    keys: int
    ops: str
    ttl_s: str
    zipf: float | None


@cache
def clusters() -> Mapping[str, Cluster | None]:
    """All 54 by name; None for one whose statistics are not published."""
    text = (files("traces.synthesis") / "data" / "twitter_2020_clusters.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {row["cluster"]: _cluster(row) if row["rate_kqps"] else None for row in rows}


def _cluster(row: Mapping[str, str]) -> Cluster:
    key, value, rate = int(row["key_bytes"]), int(row["value_bytes"]), float(row["rate_kqps"]) * 1000
    held = float(row["working_set_mb"]) * 1e6 / (key + value)
    keys = round(held or rate * _DAY_S / float(row["mean_freq"]))
    zipf = float(row["zipf_alpha"]) if row["zipf_alpha"] else None
    return Cluster(row["cluster"], key, value, rate, keys, row["ops"], row["ttl_s"], zipf)


class Twitter:
    name = "twitter"
    summary = "one of Twitter's 54 cache clusters (2020) after its published statistics, CC-BY-4.0"
    argument = "cluster1 to cluster54"
    example = "twitter:cluster26,for=1m"
    parameters: tuple[Parameter[Any], ...] = (_RATE, *PARAMETERS)

    def trace(self, given: Given, seed: int) -> StreamTrace:
        given.only(self.parameters)
        if given.argument not in clusters():
            raise InvalidInput(
                f"{given.spec}: cluster {given.argument!r} is not known; expected cluster1 to cluster54; for example {self.example}"
            )
        cluster = clusters()[given.argument]
        if cluster is None:
            raise InvalidInput(
                f"{given.spec}: the statistics of {given.argument} are not published; expected another of cluster1 to cluster54"
            )
        arrivals = POISSON.of(given.get(_RATE) or cluster.rate_per_s, given)
        made = synthesised(recipe_of(_filled(given, cluster), seed, arrivals, table_keys=0), given.spec, _note(cluster))
        meta = dataclasses.replace(made.meta, license="CC-BY-4.0", shareable="attribution", citation=CITATION)
        return dataclasses.replace(made, meta=meta)


def _filled(given: Given, cluster: Cluster) -> Given:
    """With the cluster's figures where the spec says nothing."""
    known = {"keys": str(cluster.keys), "size": str(cluster.value_bytes), "key_bytes": str(cluster.key_bytes)}
    if not {"get", "kind"} & given.values.keys():
        known["ops"] = cluster.ops
    if cluster.ttl_s:
        known["ttl"] = "/".join(f"{seconds}s:{share}" for seconds, share in (part.split(":") for part in cluster.ttl_s.split("/")))
    if not {"hotspot", "latest"} & given.values.keys():
        known["zipf"] = str(cluster.zipf or 0)
    return dataclasses.replace(given, values={**known, **given.values})


def _note(cluster: Cluster) -> str:
    notes = ["every value and every key has the published mean size"]
    if cluster.zipf is None:
        notes.append("no zipf exponent is published, keys are uniform")
    told = sum(float(part.split(":")[1]) for part in cluster.ttl_s.split("/")) if cluster.ttl_s else 0.0
    if told < 0.95:
        notes.append(f"the published lifetimes cover {told:.0%} of the writes, the rest has them in the same shares")
    return "; ".join(notes)


WORKLOAD = Twitter()
