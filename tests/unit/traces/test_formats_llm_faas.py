"""Traces of language models and of functions, in the forms in which their owners publish them."""

from pathlib import Path

import numpy as np

from tests.unit.traces.rows import arrivals, column, facts, real, table
from tests.unit.traces.test_formats import refused, write
from traces.characterise import describe
from traces.source import open_trace

MOONCAKE = (
    '{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, 2]}\n'
    '{"timestamp": 3000, "input_length": 10, "output_length": 4, "hash_ids": [0]}\n'
)
BURST = (
    "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    "5,ChatGPT,472,18,490,Conversation log\n45,GPT-4,1087,0,1087,API log\n"
)
BURST_12 = (
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    "5,7,1.5,ChatGPT,472,18,490,Conversation log\n5,,0.25,GPT-4,10,2,12,API log\n"
)
_CHAT = (
    '{{"chat_id": {}, "parent_chat_id": {}, "timestamp": {}, "input_length": 20, "output_length": 3, '
    '"type": "{}", "turn": {}, "hash_ids": {}}}\n'
)
QWEN = (
    _CHAT.format(10, -1, 0.25, "text", 1, [1, 2])
    + _CHAT.format(11, 10, 1.5, "text", 2, [1, 2, 3])
    + _CHAT.format(12, 11, 2.0, "search", 3, [9])
)
FUNCTIONS = "app,func,end_timestamp,duration\na1,f1,10.5,0.5\na1,f2,10.25,8.25\na2,f1,0.5,1.0\n"


def test_mooncakes_blocks_are_prefix_hashes_and_milliseconds_are_milliseconds(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "x.jsonl", MOONCAKE))
    assert (trace.meta.importer, trace.meta.llm_block_tokens, trace.meta.llm_hash_scope) == ("mooncake", 512, "file")
    assert column(trace, "arrival_ns") == [0, 3_000_000_000]
    assert column(trace, "prefix_hashes") == [[0, 1, 2], [0]]
    assert "field input_length is missing" in refused(write(tmp_path / "y.jsonl", MOONCAKE.replace('"input_length": 10, ', "")))
    assert "line 2: field timestamp" in refused(write(tmp_path / "z.jsonl", MOONCAKE.replace("3000", '"late"')), format="mooncake")


def test_the_real_mooncake_trace_gives_its_facts_and_says_how_coarse_it_is() -> None:
    known = facts("mooncake_conversation")
    trace = open_trace(real("mooncake_fast25/conversation_trace.jsonl"))
    said = describe(trace)
    for key in ("rows", "span_s", "mean_rate_per_s", "iat_cv", "zero_gaps", "rate_max"):
        assert said["arrival"][key] == known["arrival"][key], key
    assert said["prompt_tokens"] == known["prompt_tokens"] and said["output_tokens"] == known["output_tokens"]
    blocks = table(trace).column("prefix_hashes").combine_chunks().flatten().to_numpy()
    assert len(blocks) == known["block_refs"] and len(np.unique(blocks)) == known["unique_blocks"]
    assert trace.meta.arrival_resolution_ns > 2_000_000_000, "a paced replay must ask how requests lie within three seconds"


def test_burstgpt_reads_both_releases_and_a_failure_has_no_output(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "a.csv", BURST))
    assert trace.meta.importer == "burstgpt"
    assert column(trace, "arrival_ns") == [5_000_000_000, 45_000_000_000]
    assert column(trace, "op") == ["chat", "completion"] and column(trace, "target") == ["ChatGPT", "GPT-4"]
    assert column(trace, "output_tokens") == [18, None] and column(trace, "status") == [200, 500]
    later = open_trace(write(tmp_path / "b.csv", BURST_12))
    assert column(later, "session_id") == [7, None] and column(later, "observed_ns") == [1_500_000_000, 250_000_000]
    assert "line 2: column Request tokens" in refused(write(tmp_path / "c.csv", BURST.replace("472", "many")))


def test_a_conversation_of_qwen_is_found_through_its_parents(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "q.jsonl", QWEN))
    assert trace.meta.importer == "qwen_bailian" and trace.meta.causality == "session" and trace.meta.llm_block_tokens == 16
    assert column(trace, "arrival_ns") == [250_000_000, 1_500_000_000, 2_000_000_000]
    assert column(trace, "session_id") == [10, 10, 10] and column(trace, "turn") == [1, 2, 3]
    assert column(trace, "parent_seq") == [None, 0, 1]


def test_functions_of_2021_arrive_at_their_end_less_their_duration(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "f.csv", FUNCTIONS))
    assert trace.meta.importer == "azure_functions_2021"
    assert column(trace, "arrival_ns") == [0, 2_500_000_000, 10_500_000_000]
    assert trace.meta.source_offset_ns == -500_000_000
    assert column(trace, "target") == ["f1", "f2", "f1"] and column(trace, "seq") == [2, 1, 0]
    assert "request 1 (from 0) comes 8 s after a later one" in refused(write(tmp_path / "g.csv", FUNCTIONS), sort="1s")


def test_the_real_functions_of_2021_give_their_facts() -> None:
    known = facts("azure_functions_2021_head")
    trace = open_trace(real("azure_functions_2021_head/Azure2021_200.csv"))
    said = describe(trace)
    for key in ("rows", "iat_cv", "rate_max"):
        assert said["arrival"][key] == known["arrival"][key], key
    assert said["service_s"]["sum"] == known["duration_s"]["sum"] and said["service_s"]["p50"] == known["duration_s"]["p50"]
    assert len(set(column(trace, "tenant"))) == known["apps"] and (np.diff(arrivals(trace)) >= 0).all()


def test_azures_week_of_2024_spells_its_stamps_with_a_zone(tmp_path: Path) -> None:
    body = "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-10 02:00:01+02:00,2399,6\n"
    trace = open_trace(write(tmp_path / "a.csv", body))
    assert trace.meta.importer == "azure_llm" and trace.meta.t0_unix_ns == 1715299200009930000
    assert column(trace, "arrival_ns") == [0, 990_070_000] and column(trace, "media_items") == [None, None]
    assert "line 3" in refused(write(tmp_path / "b.csv", body.replace("+02:00", "")))


def test_azures_multimodal_trace_of_2025_has_images(tmp_path: Path) -> None:
    body = "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n2024-10-15 00:00:00.1000000,2,2162,5\n2024-10-15 00:00:00.2000000,0,9,6\n"
    trace = open_trace(write(tmp_path / "a.csv", body))
    assert trace.meta.importer == "azure_llm" and "ModServe" in trace.meta.citation
    assert column(trace, "media_items") == [2, 0] and column(trace, "arrival_ns") == [0, 100_000_000]
    assert column(trace, "prompt_tokens") == [2162, 9]
