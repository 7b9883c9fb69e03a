"""Made traces of Twitter's clusters have the published statistics."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scipy.optimize import brentq

from tests.unit.traces.rows import real, table
from traces.errors import InvalidInput
from traces.source import open_trace
from traces.synthesis.workloads.twitter import Cluster, clusters

ROWS = 100_000
PUBLISHED = [name for name, cluster in clusters().items() if cluster]


def cluster_of(name: str) -> Cluster:
    found = clusters()[name]
    assert found is not None
    return found


def counted(made: pa.Table, name: str) -> Counter[Any]:
    """How often each value that is known comes."""
    column = made.column(name).combine_chunks()
    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    return Counter({each["values"]: each["counts"] for each in pc.value_counts(column.drop_null()).to_pylist()})


def published(mix: str) -> dict[str, float]:
    """Shares out of VALUE:SHARE/VALUE:SHARE, of what is told."""
    parts = {value: float(share) for value, share in (part.split(":") for part in mix.split("/"))}
    return {value: share / sum(parts.values()) for value, share in parts.items()}


def exponent_of(ranks: np.ndarray, keys: int) -> float:
    """The likeliest zipf exponent of ranks drawn from a key space: where the mean logarithm of a rank is as observed."""
    seen = float(np.log(ranks).mean())
    near = np.arange(1, 10_001, dtype=np.float64)
    edges = np.geomspace(10_000.5, keys + 0.5, 4000) if keys > 10_000 else np.array([10_000.5])
    middle, width = np.sqrt(edges[1:] * edges[:-1]), np.diff(edges)
    rank, weight = np.concatenate((near[near <= keys], middle)), np.concatenate((np.ones(min(keys, 10_000)), width))

    def off(exponent: float) -> float:
        likely = weight * rank**-exponent
        return float((likely * np.log(rank)).sum() / likely.sum()) - seen

    return float(brentq(off, -1, 8))


def test_all_54_clusters_are_there_and_one_has_no_statistics() -> None:
    assert list(clusters()) == [f"cluster{number}" for number in range(1, 55)]
    assert [name for name, cluster in clusters().items() if cluster is None] == ["cluster5"]
    with pytest.raises(InvalidInput, match="cluster5 are not published"):
        open_trace("twitter:cluster5,rows=10")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_made_cluster_has_the_published_rate_ops_sizes_lifetimes_and_exponent(name: str) -> None:
    cluster = cluster_of(name)
    made = table(open_trace(f"twitter:{name},rows={ROWS}", seed=1))
    assert made.num_rows * 1e9 / made.column("arrival_ns")[-1].as_py() == pytest.approx(cluster.rate_per_s, rel=0.015)
    ops = counted(made, "op")
    for op, share in published(cluster.ops).items():
        assert ops[op] / ROWS == pytest.approx(share, abs=0.006), op
    assert set(ops) <= set(published(cluster.ops))
    assert counted(made, "key_bytes").keys() == {cluster.key_bytes}
    assert counted(made, "req_bytes").keys() | counted(made, "resp_bytes").keys() == {cluster.value_bytes}
    lifetimes = counted(made, "ttl_ms")
    if lifetimes.total() > 1000:
        for seconds, share in published(cluster.ttl_s).items():
            assert lifetimes[int(seconds) * 1000] / lifetimes.total() == pytest.approx(share, abs=4 * np.sqrt(0.25 / lifetimes.total()))
    ranks = made.column("key_id").to_numpy().astype(np.float64) + 1
    assert exponent_of(ranks, cluster.keys) == pytest.approx(cluster.zipf or 0.0, abs=0.02)


def test_what_is_published_can_be_overridden() -> None:
    made = open_trace("twitter:cluster26,rate=1000,keys=50,hotspot=0.1:0.9,get=0.5,size=uniform:1:9,rows=20000")
    rows = table(made)
    assert 20_000 * 1e9 / rows.column("arrival_ns")[-1].as_py() == pytest.approx(1000, rel=0.03)
    assert max(rows.column("key_id").to_pylist()) == 49 and max(rows.column("req_bytes").drop_null().to_pylist()) == 9
    assert made.meta.license == "CC-BY-4.0" and "OSDI 2020" in made.meta.citation


def test_what_is_not_published_is_said() -> None:
    assert "keys are uniform" in open_trace("twitter:cluster43,rows=1").meta.loss_notes
    assert "cover 26% of the writes" in open_trace("twitter:cluster6,rows=1").meta.loss_notes


def test_the_table_is_that_of_the_owner() -> None:
    import csv

    with real("twitter_cache_2020_stats/cluster_stats.csv").open() as file:
        rows = {row["cluster"]: row for row in csv.DictReader(file)}
    assert rows.keys() == clusters().keys()
    for name in PUBLISHED:
        row, cluster = rows[name], cluster_of(name)
        assert (int(row["key_size_b"]), int(row["value_size_b"])) == (cluster.key_bytes, cluster.value_bytes)
        assert float(row["request_rate_kqps"]) * 1000 == cluster.rate_per_s
        assert row["operation"].split() == cluster.ops.split("/")
        assert (float(row["zipf_alpha"]) if row["zipf_alpha"] not in ("", "NA") else None) == cluster.zipf
        units = {"s": 1, "h": 3600, "d": 86_400}
        told: Counter[int] = Counter()
        for part in filter(None, (part.strip() for part in row["common_ttl"].split(","))):
            lifetime, share = part.split(":")
            told[round(float(lifetime[:-1]) * units[lifetime[-1]])] += round(float(share) * 100)
        assert {seconds: share / 100 for seconds, share in told.items()} == {
            int(value): float(share) for value, share in (part.split(":") for part in cluster.ttl_s.split("/"))
        }
