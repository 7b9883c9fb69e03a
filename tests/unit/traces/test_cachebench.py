"""A CacheBench configuration becomes requests with its mix, its popularity and its sizes."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.traces.rows import column, facts, real, table
from traces.errors import InvalidInput
from traces.formats.cachebench import values_of
from traces.formats.cachebench_config import config_of, workload_of
from traces.source import open_trace

REAL = ("hit_ratio__kvcache_reg", "ssd_perf__kvcache_l2_wc", "hit_ratio__graph_cache_leader_fbobj", "hit_ratio__cdn")


def config(folder: Path, **changed: Any) -> Path:
    test = {
        "numOps": 10000, "numThreads": 2, "numKeys": 110, "getRatio": 0.5, "setRatio": 0.3, "delRatio": 0.1, "loneGetRatio": 0.1,
        "keySizeRange": [1, 8, 64], "keySizeRangeProbability": [0.3, 0.7], "popDistFile": "pop.json",
        "valSizeRange": [10, 1000], "valSizeRangeProbability": [0.75, 0.25],
    } | changed  # fmt: skip
    (folder / "pop.json").write_text(json.dumps({"popularityBuckets": [10, 100], "popularityWeights": [60, 40]}))
    (folder / "config.json").write_text("// @nolint a comment\n" + json.dumps({"cache_config": {}, "test_config": test}))
    return folder / "config.json"


def test_mix_popularity_and_sizes_are_those_of_the_configuration(tmp_path: Path) -> None:
    trace = open_trace(config(tmp_path), options={"seed": "3"})
    assert (trace.meta.importer, trace.meta.arrival_model, trace.meta.key_space) == ("cachebench", "none", 110)
    rows = table(trace).to_pylist()
    ops = Counter(row["op"] for row in rows)
    assert len(rows) == trace.rows_hint == 20000
    assert ops["get"] / 20000 == pytest.approx(0.6, abs=0.02) and ops["delete"] / 20000 == pytest.approx(0.1, abs=0.01)
    lone = [row for row in rows if row["key_id"] >= 110]
    assert len(lone) / 20000 == pytest.approx(0.1, abs=0.01) and len({row["key_id"] for row in lone}) == len(lone)
    assert {row["resp_bytes"] for row in lone} == {None}, "what is not there has no size"
    hot = sum(row["key_id"] < 10 for row in rows) / (20000 - len(lone))
    assert hot == pytest.approx(0.6, abs=0.02)
    sizes = {row["key_id"]: row["req_bytes"] for row in rows if row["op"] == "set"}
    assert set(sizes.values()) == {10, 1000} and all(row["req_bytes"] == sizes[row["key_id"]] for row in rows if row["op"] == "set")
    assert all(8 <= row["key_bytes"] <= 64 for row in rows)


def test_a_rate_paces_and_keys_and_rows_may_be_asked_for(tmp_path: Path) -> None:
    path = config(tmp_path, opRatePerSec=1000)
    constant = open_trace(path, options={"rows": "5", "keys": "11"})
    assert column(constant, "arrival_ns") == [0, 10**6, 2 * 10**6, 3 * 10**6, 4 * 10**6] and constant.meta.key_space == 11
    assert constant.meta.arrival_model == "generated"
    paced = open_trace(tmp_path, options={"rows": "20000", "rate": "500/s"})
    assert column(paced, "arrival_ns")[-1] / 1e9 == pytest.approx(40, rel=0.05)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"popDistFile": "../pop.json"}, "popDistFile: no file '../pop.json' beside it"),
        ({"getRatio": "many"}, 'getRatio: "many"; expected a number'),
        ({"valSizeRange": [1]}, "valSizeRange: 1 values with 2 shares"),
        ({"numOps": 0}, "option rows: '0'"),
        ({"poolDistributions": [{}, {}]}, "poolDistributions: expected one object"),
    ],
)
def test_what_cannot_be_is_named(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        open_trace(config(tmp_path, **changed))
    assert said in str(refused.value)


@pytest.mark.parametrize("which", REAL)
def test_the_real_histograms_give_their_facts(tmp_path: Path, which: str) -> None:
    known = facts(f"meta_cachebench_{which}")
    for part in ("config", "pop", "sizes"):
        (tmp_path / f"{part}.json").symlink_to(real(f"meta_cachebench_dists/{which}__{part}.json"))
    path = tmp_path / "config.json"
    workload = workload_of(path, config_of(path), {})
    assert len(workload.buckets) == known["pop_buckets"] and workload.buckets.sum() == known["buckets_sum"]
    assert workload.weights.sum() == known["weights_sum"] and workload.keys == known["numKeys"]
    sizes = values_of(workload.sizes, (np.arange(1_000_000) + 0.5) / 1_000_000)
    assert sizes.mean() == pytest.approx(known["val_bytes"]["mean"], rel=2e-3)
    for name, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        assert int(sizes[int(q * 1_000_000)]) == pytest.approx(known["val_bytes"][name], abs=64), name
    trace = open_trace(path, options={"rows": "60000"})
    made = table(trace)
    gets = made.column("op").to_pylist().count("get") / 60000
    ratios = {name: known[f"{name}Ratio"] or 0 for name in ("get", "loneGet", "loneSet")}
    assert gets == pytest.approx((ratios["get"] + ratios["loneGet"]) / sum(ratios.values()), abs=0.01)
    told = made.column("resp_bytes").drop_null().to_numpy()
    assert np.percentile(told, 50) == pytest.approx(known["val_bytes"]["p50"], rel=0.1)
