import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.traces.rows import real, trace_of, variation
from traces.compile import Compiled, compile_workload, open_compiled, preload_rows, shard_batches
from traces.errors import InvalidInput
from traces.formats.reading import file_sha256
from traces.schema import BATCH_ROWS, SCHEMA
from traces.source import open_trace
from traces.transforms import TransformSpec

SECOND = 1_000_000_000


def made(folder: Path, spec: str = "poisson:20000,keys=1000,zipf=0.99,size=uniform:64:256", **given: Any) -> Compiled:
    asked: dict[str, Any] = {
        "driver": "redis",
        "duration_ns": 4 * SECOND,
        "out_dir": folder,
        "seed": 7,
        **given,
    }
    transforms = asked.pop("transforms", [])
    trace = asked.pop("trace", None) or open_trace(spec, seed=7)
    return compile_workload(trace, transforms, **asked)


def times(compiled: Compiled) -> np.ndarray:  # type: ignore[type-arg]
    column: np.ndarray = pq.read_table(compiled.path).column("arrival_ns").to_numpy()  # type: ignore[type-arg]
    return column


def test_a_compiled_file_is_named_by_its_hash_and_says_what_it_holds(tmp_path: Path) -> None:
    compiled = made(tmp_path)
    assert compiled.path == tmp_path / f"{compiled.sha256}.parquet" and file_sha256(compiled.path) == compiled.sha256
    file = pq.ParquetFile(compiled.path)
    assert file.metadata.num_rows == compiled.rows and compiled.bytes == compiled.path.stat().st_size
    assert file.metadata.row_group(0).num_rows == BATCH_ROWS
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert compiled.rate_per_s == pytest.approx(20_000, rel=0.02) and times(compiled)[-1] < 4 * SECOND
    meta = open_compiled(compiled.path).meta
    assert meta.rows == compiled.rows and meta.facts == compiled.facts and len(meta.content_sha256) == 64
    assert not list(tmp_path.glob("*.part"))


def test_the_same_inputs_give_the_same_bytes_in_another_folder(tmp_path: Path) -> None:
    bends = [TransformSpec("rate_scale", 1.5), TransformSpec("burst", 3.0)]
    one = made(tmp_path / "one", transforms=bends)
    other = made(tmp_path / "other", transforms=bends)
    assert one.path.read_bytes() == other.path.read_bytes()
    assert made(tmp_path / "other", transforms=bends, seed=8).sha256 != one.sha256


def test_a_finished_compilation_is_found_again_unless_its_file_was_damaged(tmp_path: Path) -> None:
    first = made(tmp_path)
    stamp = first.path.stat().st_mtime_ns
    assert made(tmp_path) == first and first.path.stat().st_mtime_ns == stamp
    first.path.write_bytes(first.path.read_bytes()[:-10])
    assert made(tmp_path) == first and file_sha256(first.path) == first.sha256


def test_the_asked_rate_is_made_by_a_speedup_and_noted(tmp_path: Path) -> None:
    compiled = made(tmp_path, "poisson:1000,for=30s", rate_per_s=5000)
    assert compiled.rate_per_s == pytest.approx(5000, rel=0.03)
    assert any("speedup" in note for note in compiled.notes)


def test_a_short_trace_repeats_and_says_so(tmp_path: Path) -> None:
    compiled = made(tmp_path, trace=trace_of({"key_id": np.arange(1000, dtype=np.uint64)}))
    assert compiled.rows == 4000 and any("repeats 4 times" in note for note in compiled.notes)
    assert np.diff(times(compiled)).max() == 1_000_000


def test_an_uneven_trace_is_said_to_miss_the_rate_and_can_be_made_to_hold_it(tmp_path: Path) -> None:
    gaps = np.concatenate([np.full(5000, 10_000_000), np.full(20_000, 100_000)])
    uneven = trace_of({"arrival_ns": np.cumsum(gaps)})
    whole = made(tmp_path, trace=uneven, rate_per_s=1000)
    assert whole.rate_per_s < 500 and any("not 1000/s" in note for note in whole.notes)
    part = made(tmp_path, trace=uneven, rate_per_s=1000, rate_over="replayed")
    assert part.rate_per_s == pytest.approx(1000, rel=0.01)


def test_bends_work_on_the_load_after_the_rate(tmp_path: Path) -> None:
    bends = [TransformSpec("rate_scale", 2.0), TransformSpec("burst", 4.0)]
    compiled = made(tmp_path, "poisson:1000,for=60s", rate_per_s=5000, transforms=bends)
    assert compiled.rate_per_s == pytest.approx(10_000, rel=0.03)
    assert variation(times(compiled)) == pytest.approx(4, rel=0.05)
    assert compiled.facts["iat_cv"] == pytest.approx(4, rel=0.05)
    assert compiled.span_ns == pytest.approx(4 * SECOND, rel=0.01)


def test_windows_are_cut_in_the_source_s_own_time(tmp_path: Path) -> None:
    trace = trace_of({"key_id": np.arange(10_000, dtype=np.uint64)})
    window = TransformSpec("window", "2s..3s")
    compiled = made(tmp_path, trace=trace, transforms=[window], rate_per_s=2000, duration_ns=SECOND // 2)
    keys = pq.read_table(compiled.path).column("key_id").to_pylist()
    assert keys[0] == 2000 and max(keys) <= 2999


def test_coarse_or_missing_times_need_a_choice(tmp_path: Path) -> None:
    stamps = np.repeat(np.arange(10, dtype=np.int64) * SECOND, 100)
    coarse = trace_of({"arrival_ns": stamps}, arrival_resolution_ns=SECOND)
    with pytest.raises(InvalidInput, match=r"spread: poisson\|equidistant\|start"):
        made(tmp_path, trace=coarse, rate_per_s=10_000)
    assert made(tmp_path, trace=coarse, spread="equidistant").rows == 400
    timeless = trace_of({"arrival_ns": np.zeros(9000, dtype=np.int64)}, arrival_model="none")
    with pytest.raises(InvalidInput, match="has no times"):
        made(tmp_path, trace=timeless)
    assert made(tmp_path, trace=timeless, spread="poisson", rate_per_s=1000).rows == pytest.approx(4000, rel=0.1)


def test_nothing_left_is_refused_and_leaves_nothing_behind(tmp_path: Path) -> None:
    trace = trace_of({"key_id": np.arange(10, dtype=np.uint64)})
    with pytest.raises(InvalidInput, match="no rows"):
        made(tmp_path, trace=trace, transforms=[TransformSpec("window", "5s..6s")])
    with pytest.raises(InvalidInput, match="no request is left"):
        made(tmp_path, trace=trace, transforms=[TransformSpec("rate_scale", 1e-6)])
    assert list(tmp_path.iterdir()) == []


def test_shards_partition_the_rows_and_keep_each_key_together(tmp_path: Path) -> None:
    compiled = made(tmp_path)
    parts = [shard_batches(compiled.path, index, 3).read_all() for index in range(3)]
    assert all(part.schema.equals(SCHEMA) for part in parts)
    seqs = np.concatenate([part.column("seq").to_numpy() for part in parts])
    assert sorted(seqs.tolist()) == pq.read_table(compiled.path).column("seq").to_pylist()
    owners = [set(part.column("key_id").to_pylist()) for part in parts]
    assert sum(map(len, owners)) == len(set.union(*owners))
    assert all((np.diff(part.column("arrival_ns").to_numpy()) >= 0).all() for part in parts)


def test_preload_stores_each_key_once_at_a_size_that_the_trace_knows(tmp_path: Path) -> None:
    trace = trace_of(
        {
            "op": pa.array(["get", "set", "get", "get"]),
            "key_id": np.array([5, 5, 9, 11], np.uint64),
            "req_bytes": pa.array([None, 70, None, None], pa.int64()),
            "resp_bytes": pa.array([100, None, 30, None], pa.int64()),
        }
    )
    compiled = made(tmp_path, trace=trace, duration_ns=4_000_000)
    table = preload_rows(compiled.path)
    assert table.column("key_id").to_pylist() == [5, 9], "a key of unknown size missed in the source too"
    sizes = table.column("req_bytes").to_pylist()
    assert sizes[0] in (70, 100) and sizes[1] == 30
    assert set(table.column("op").to_pylist()) == {"set"} and set(table.column("key_bytes").to_pylist()) == {16}


def test_preloaded_sizes_favour_none_of_those_that_a_key_has(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    columns = {"key_id": rng.integers(0, 2000, 60_000).astype(np.uint64), "resp_bytes": rng.integers(0, 1000, 60_000)}
    compiled = made(tmp_path, trace=trace_of(columns), duration_ns=60 * 10**9)
    stored = preload_rows(compiled.path).column("req_bytes").to_numpy()
    assert stored.mean() == pytest.approx(500, abs=30), "the largest of thirty would be near 970"


def test_preloads_of_all_shards_are_the_keys_of_the_trace(tmp_path: Path) -> None:
    compiled = made(tmp_path)
    stored = [preload_rows(compiled.path, index, 2).column("key_id").to_pylist() for index in range(2)]
    keys = pq.read_table(compiled.path).column("key_id").to_pylist()
    assert sorted(stored[0] + stored[1]) == sorted(set(keys))


def test_a_trace_without_keys_has_nothing_to_preload(tmp_path: Path) -> None:
    trace = trace_of({"prompt_tokens": np.arange(9, dtype=np.int32)}, kind="llm", op="chat")
    compiled = made(tmp_path, trace=trace, driver="http")
    with pytest.raises(InvalidInput, match="nothing to preload"):
        preload_rows(compiled.path)


def test_agents_refuse_files_that_are_cut_short_or_not_compiled(tmp_path: Path) -> None:
    compiled = made(tmp_path)
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(compiled.path.read_bytes()[:-100])
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), other)
    for path, what in [
        (cut, "no whole Parquet file"),
        (other, "not a compiled trace"),
        (tmp_path / "none", "no such file"),
    ]:
        for read in (shard_batches, preload_rows):
            with pytest.raises(InvalidInput, match=what) as error:
                read(path)
            assert "\n" not in str(error.value)
    with pytest.raises(InvalidInput, match="shard 2 of 2"):
        shard_batches(compiled.path, 2, 2)


def test_facts_and_notes_survive_the_cache(tmp_path: Path) -> None:
    first = made(tmp_path, "poisson:1000,for=2s", rate_per_s=3000)
    assert dataclasses.asdict(made(tmp_path, "poisson:1000,for=2s", rate_per_s=3000)) == dataclasses.asdict(first)


def test_a_real_block_trace_compiles_to_key_value_requests(tmp_path: Path) -> None:
    trace = open_trace(real("cloudphysics_libcachesim/cloudPhysicsIO.vscsi"))
    compiled = made(tmp_path, trace=trace, rate_per_s=2000, transforms=[TransformSpec("window", "10m..20m")])
    assert set(compiled.facts["ops"]) <= {"get", "set"}
    assert preload_rows(compiled.path).num_rows > 100


def test_a_real_inference_trace_compiles_to_posts(tmp_path: Path) -> None:
    trace = open_trace(real("azure_llm_2023/AzureLLMInferenceTrace_conv.csv"))
    compiled = made(tmp_path, trace=trace, driver="http", rate_per_s=2000)
    assert compiled.facts["ops"] == {"POST": compiled.rows}
    assert compiled.facts["req_bytes"]["sum"] == 4 * compiled.facts["prompt_tokens"]["sum"]


def test_a_real_coarse_trace_needs_a_choice(tmp_path: Path) -> None:
    trace = open_trace(real("cloudphysics_libcachesim/cloudPhysicsIO.oracleGeneral.bin"))
    with pytest.raises(InvalidInput, match="spread"):
        made(tmp_path, trace=trace, rate_per_s=2000)
    compiled = made(tmp_path, trace=trace, rate_per_s=2000, spread="poisson", transforms=[TransformSpec("op_mix", 0.5)])
    assert compiled.facts["ops"]["get"] == pytest.approx(compiled.rows / 2, rel=0.1)
