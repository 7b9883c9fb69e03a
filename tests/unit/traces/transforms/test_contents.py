"""Transforms that change what requests carry: sizes, tokens, ops."""

import dataclasses
import itertools
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.unit.traces.rows import column, table, trace_of
from tests.unit.traces.transforms.bending import bent, dose, held, same_but
from traces.compile import save_trace
from traces.errors import InvalidInput
from traces.stream import Trace

SIZES = ("req_bytes", "resp_bytes")


def sizes(trace: Trace) -> list[int]:
    pairs = zip(column(trace, "req_bytes"), column(trace, "resp_bytes"), strict=True)
    return [one if one is not None else other for one, other in pairs]


def test_a_larger_size_and_its_inverse_give_the_trace_back() -> None:
    before = held(20_000)
    larger = bent(before, "size_scale", 3.7)
    same_but(before, larger, SIZES)
    assert dose(larger, before, "size_scale") == pytest.approx(3.7, rel=0.01)
    assert table(bent(larger, "size_scale", 1 / 3.7)).equals(table(before))


def test_sectors_stay_whole() -> None:
    trace = trace_of({"resp_bytes": np.array([512, 4096, 0])}, kind="block", op="read")
    assert column(bent(trace, "size_scale", 0.3), "resp_bytes") == [512, 1024, 0]


def test_a_size_law_is_taken_over_and_larger_stays_larger() -> None:
    before = held()
    mapped = bent(before, "size_map", "pareto:100:2.5")
    same_but(before, mapped, SIZES)
    new = np.array(sizes(mapped), dtype=float)
    for level in (10, 50, 90, 99):
        assert np.percentile(new, level) == pytest.approx(100 * (1 - level / 100) ** (-1 / 2.5), rel=0.04)
    order = np.argsort(sizes(before), kind="stable")
    ranked = new[order].reshape(-1, 1000).mean(axis=1)
    assert (np.diff(ranked) >= -0.02 * ranked[:-1]).all()


def test_sizes_by_key_are_one_for_each_key() -> None:
    mapped = bent(held(), "size_map", "lognormal:300:0.5", by="key")
    of_key = defaultdict(set)
    for key, size in zip(column(mapped, "key_id"), sizes(mapped), strict=True):
        of_key[key].add(size)
    assert {len(each) for each in of_key.values()} == {1}
    assert len({size for each in of_key.values() for size in each}) > 300


def test_a_key_with_one_size_keeps_one_when_mapped_by_size() -> None:
    mapped = bent(held(), "size_map", "pareto:100:2.5")
    of_key = defaultdict(set)
    for key, size in zip(column(mapped, "key_id"), sizes(mapped), strict=True):
        of_key[key].add(size)
    assert {len(each) for each in of_key.values()} == {1}


def test_sizes_of_another_trace_are_taken_over_from_its_file(tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    save_trace(trace_of({"resp_bytes": np.array([7, 7, 7, 9_000_000])}), other)
    assert Counter(sizes(bent(held(10_000), "size_map", str(other))))[7] == pytest.approx(7500, rel=0.1)
    one = bent(held(1000), "size_map", str(other)).identity()
    save_trace(trace_of({"resp_bytes": np.array([8])}), other)
    assert bent(held(1000), "size_map", str(other)).identity() != one, "another content is another trace"
    with pytest.raises(InvalidInput, match="size_map"):
        bent(held(1000), "size_map", "lognormle:3")


def llm(lot: int = 3) -> Trace:
    prefixes = [[1, 2, 3], [1, 2], None, [], [9]]
    tokens = np.array([1500, 1024, 10, 0, 300], dtype=np.int32)
    columns = {
        "prompt_tokens": tokens,
        "output_tokens": pa.array([100, None, 1, 0, 7], pa.int32()),
        "prefix_hashes": pa.array(prefixes, pa.list_(pa.field("item", pa.uint64(), nullable=False))),
    }
    return trace_of(columns, kind="llm", op="chat", lot=lot, llm_block_tokens=512)


def test_tokens_scale_and_shorter_prompts_share_the_blocks_that_are_left() -> None:
    halved = bent(llm(), "token_scale", 0.5)
    assert column(halved, "prompt_tokens") == [750, 512, 5, 0, 150] and column(halved, "output_tokens") == [50, None, 1, 0, 4]
    assert column(halved, "prefix_hashes") == [[1, 2], [1], None, [], [9]]
    same_but(llm(), halved, ["prompt_tokens", "output_tokens", "prefix_hashes"])


def test_longer_prompts_get_blocks_that_nobody_shares() -> None:
    longer = bent(llm(), "token_scale", None, prompt="2")
    assert column(longer, "output_tokens") == column(llm(), "output_tokens")
    blocks = column(longer, "prefix_hashes")
    assert [None if block is None else len(block) for block in blocks] == [6, 4, None, 0, 2]
    assert blocks[0][:3] == [1, 2, 3] and blocks[1][:2] == [1, 2]
    new = blocks[0][3:] + blocks[1][2:] + blocks[4][1:]
    assert len(set(new)) == len(new) and not set(new) & {1, 2, 3, 9}
    assert table(bent(llm(1), "token_scale", None, prompt="2")).equals(table(longer)), "whatever the lots"
    with pytest.raises(InvalidInput, match="expected llm"):
        bent(held(100), "token_scale", 2)


def test_shares_of_ops_are_drawn_and_the_rest_keeps_its_own() -> None:
    before = held()
    mixed = bent(before, "op_mix", "delete=0.1,incr=0.2")
    ops = Counter(column(mixed, "op"))
    assert ops["delete"] / 1e5 == pytest.approx(0.1, abs=0.005) and ops["incr"] / 1e5 == pytest.approx(0.2, abs=0.005)
    assert ops["get"] / ops["set"] == pytest.approx(9, rel=0.05)
    same_but(before, mixed, ["op", *SIZES])
    for op, one, other in zip(column(mixed, "op"), column(mixed, "req_bytes"), column(mixed, "resp_bytes"), strict=True):
        assert (one is None) == (op != "set") and (other is None) == (op != "get")


def test_ops_of_other_kinds_have_their_own_words() -> None:
    trace = trace_of({"resp_bytes": np.full(1000, 512)}, kind="block", op="read")
    assert Counter(column(bent(trace, "op_mix", None, write="0.5", read="0.5"), "op"))["write"] == pytest.approx(500, abs=60)
    for wrong in ("get=0.5", "write=0.7,read=0.7", "fly=1", None):
        with pytest.raises(InvalidInput, match=r"op_mix.*expected"):
            bent(trace, "op_mix", wrong)


@pytest.mark.parametrize(
    ("kind", "op", "columns", "name", "value", "options"),
    [
        ("kv", "get", {}, "size_scale", 2, {}),
        ("kv", "get", {"resp_bytes": np.zeros(100, np.int64)}, "size_scale", 2, {}),
        ("kv", "get", {}, "clamp", "64KiB", {}),
        ("kv", "get", {"resp_bytes": np.arange(100)}, "clamp", None, {"req_bytes": "10"}),
        ("llm", "chat", {}, "token_scale", 2, {}),
        ("llm", "chat", {"prompt_tokens": np.arange(100, dtype=np.int32)}, "token_scale", None, {"output": "2"}),
    ],
)
def test_a_trace_that_does_not_say_what_would_be_scaled_is_refused(
    kind: str, op: str, columns: dict[str, object], name: str, value: float | str | None, options: dict[str, str]
) -> None:
    keys = np.arange(100, dtype=np.uint64)
    trace = trace_of({"key_id": keys, **columns}, kind=kind, op=op, lot=10)
    with pytest.raises(
        InvalidInput, match=rf"^transform {name}: held has no .* so nothing would change; expected a trace that has"
    ) as raised:
        bent(trace, name, value, **options)
    assert "\n" not in str(raised.value)


def test_a_size_that_only_the_last_request_has_is_enough_to_be_scaled() -> None:
    sizes = np.zeros(100, np.int64)
    sizes[-1] = 7
    trace = trace_of({"resp_bytes": sizes}, lot=10)
    assert column(bent(trace, "size_scale", 3), "resp_bytes")[-1] == 21
    assert dose(bent(trace, "size_scale", 3), trace, "size_scale") == pytest.approx(3)


def test_a_synthesis_without_an_end_and_without_sizes_is_refused_without_being_read_for_ever() -> None:
    trace = dataclasses.replace(
        trace_of({"key_id": np.arange(100, dtype=np.uint64)}),
        make=lambda: itertools.repeat(trace_of({"key_id": np.arange(100, dtype=np.uint64)}).make().__next__()),
        bounded=False,
    )
    with pytest.raises(InvalidInput, match="has no sizes"):
        bent(trace, "size_scale", 2)


HITS = {"key_id": np.arange(400, dtype=np.uint64) % 4, "cache_hit": [bool(n % 2) for n in range(400)], "resp_bytes": np.full(400, 9)}


@pytest.mark.parametrize(("name", "value", "options"), [("op_mix", None, {"set": "0.5"}), ("churn", 0.5, {"period": "100ms"})])
def test_what_the_source_saw_of_a_hit_goes_where_the_op_changes_and_stays_elsewhere(
    name: str, value: float | None, options: dict[str, str]
) -> None:
    trace = trace_of(HITS, lot=64)
    made = table(bent(trace, name, value, **options)).to_pylist()
    changed = [row for row in made if row["op"] != "get"]
    assert changed and all(row["cache_hit"] is None for row in changed)
    if name == "op_mix":  # one row for each, in the same order
        assert all(row["cache_hit"] is HITS["cache_hit"][n] for n, row in enumerate(made) if row["op"] == "get")
    assert {row["cache_hit"] for row in made if row["op"] == "get"} == {True, False}
