"""Importers find in the real traces exactly what is known to be in them."""

from typing import Any

import pytest

from tests.unit.traces.rows import column, facts, real, table
from traces.characterise import describe
from traces.source import open_trace

ARRIVAL = (
    "rows",
    "span_s",
    "mean_rate_per_s",
    "iat_mean_s",
    "iat_cv",
    "zero_gaps",
    "rate_p50",
    "rate_p99",
    "rate_max",
    "empty_seconds_frac",
    "resolution_ns",
)


def assert_same(said: dict[str, Any], known: dict[str, Any], keys: tuple[str, ...] = ()) -> None:
    for key in keys or tuple(known):
        assert said[key] == known[key], key


@pytest.mark.parametrize("which", ["code", "conv"])
def test_azure_llm_gives_its_facts(which: str) -> None:
    known = facts(f"azure_llm_2023_{which}")
    trace = open_trace(real(f"azure_llm_2023/AzureLLMInferenceTrace_{which}.csv"))
    said = describe(trace)
    assert trace.meta.importer == "azure_llm"
    assert trace.meta.source_offset_ns == known["arrival"]["first_ns"] == trace.meta.t0_unix_ns
    assert_same(said["arrival"], known["arrival"], ARRIVAL)
    assert said["prompt_tokens"] == known["prompt_tokens"] and said["output_tokens"] == known["output_tokens"]
    assert said["ops"] == {"completion": known["arrival"]["rows"]}
    assert not {"keys", "req_bytes", "service_s"} & said.keys()


def test_vscsi_gives_its_facts() -> None:
    known = facts("cloudphysics_libcachesim")
    said = describe(open_trace(real("cloudphysics_libcachesim/cloudPhysicsIO.vscsi")))
    assert_same(said["arrival"], known["arrival"], ARRIVAL)
    assert said["len_bytes"] == known["len_bytes"] and said["popularity"] == known["popularity"]
    assert said["ops"] == {"read": known["vscsi_cmd"]["0x28"], "write": known["vscsi_cmd"]["0x2a"]}
    assert said["req_bytes"]["n"] + said["resp_bytes"]["n"] == known["len_bytes"]["n"]
    assert said["keys"] == known["popularity"]["unique_keys"]


def test_oracle_general_agrees_with_the_same_trace_as_vscsi() -> None:
    known = facts("cloudphysics_libcachesim")
    oracle = open_trace(real("cloudphysics_libcachesim/cloudPhysicsIO.oracleGeneral.bin"))
    vscsi = open_trace(real("cloudphysics_libcachesim/cloudPhysicsIO.vscsi"))
    assert oracle.meta.importer == "oracle_general" and oracle.meta.arrival_resolution_ns == 10**9
    assert "ops are unknown" in oracle.meta.loss_notes
    assert column(oracle, "key_id") == column(vscsi, "key_id")
    stamps = [ns // 10**9 for ns in (table(vscsi)["arrival_ns"].to_numpy() + vscsi.meta.source_offset_ns).tolist()]
    assert [(ns + oracle.meta.source_offset_ns) // 10**9 for ns in column(oracle, "arrival_ns")] == stamps
    said = describe(oracle)
    assert said["popularity"] == known["popularity"]
    for figure in ("rows", "rate_p50", "rate_p99", "rate_max", "empty_seconds_frac"):
        assert said["arrival"][figure] == known["arrival"][figure]


def test_meta_kv_expands_its_operations() -> None:
    trace = open_trace(real("meta_kv_202401_head/kv_traces_1.csv"))
    said = describe(trace)
    assert trace.meta.importer == "meta_kv"
    assert said["arrival"]["rows"] == 691
    assert set(said["ops"]) <= {"get", "set", "delete"}
