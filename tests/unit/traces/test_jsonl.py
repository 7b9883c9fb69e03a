"""Any JSON objects, one a line."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.unit.traces.rows import arrivals, column
from tests.unit.traces.test_formats import refused, write
from traces.draws import key_of
from traces.errors import InvalidInput
from traces.source import open_trace


def test_fields_with_canonical_names_need_no_options(tmp_path: Path) -> None:
    rows = '{"arrival_s": 1700000000.000000001, "op": "get", "key": "a"}\n\n'
    rows += '{"arrival_s": 1700000000.5, "op": "set", "key": "8", "req_bytes": 64}\n'
    trace = open_trace(write(tmp_path / "t.jsonl", rows))
    assert trace.meta.importer == "jsonl" and trace.meta.kinds == ("kv",)
    assert column(trace, "arrival_ns") == [0, 499_999_999], "decimals are exact, not doubles"
    assert column(trace, "key_id") == [key_of("a"), 8] and column(trace, "req_bytes") == [None, 64]


def test_options_map_fields_that_only_later_lines_have(tmp_path: Path) -> None:
    rows = '{"when": "2024-05-01T10:00:00.250Z", "who": 7}\n{"when": "2024-05-01T12:00:01+02:00", "n": 5, "who": 8, "deep": {"x": [1]}}\n'
    trace = open_trace(
        write(tmp_path / "t.jsonl", rows), options={"arrival": "when:iso", "client": "who", "resp_bytes": "n:KiB", "kind": "flow"}
    )
    assert column(trace, "arrival_ns") == [0, 750_000_000], "zones are honoured"
    assert column(trace, "client") == ["7", "8"] and column(trace, "resp_bytes") == [None, 5120]


def test_keys_that_are_numbers_are_their_own_identity(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "t.jsonl", '{"arrival_ms": 5, "key": 18446744073709551615}\n{"arrival_ms": 6, "key": 3}'))
    assert column(trace, "key_id") == [2**64 - 1, 3] and column(trace, "arrival_ns") == [0, 1_000_000]


def test_what_is_wrong_is_said_with_its_line(tmp_path: Path) -> None:
    good = '{"arrival_s": 1, "key": "a"}\n'
    assert "line 3: field key" in refused(write(tmp_path / "a.jsonl", good * 2 + '{"arrival_s": 2, "key": [1]}'))
    assert "line 2" in refused(write(tmp_path / "b.jsonl", good + '{"arrival_s": 2, "key"'))
    assert "row 1 (from 0): column arrival_s is empty" in refused(write(tmp_path / "c.jsonl", good + '{"key": "b"}'))
    assert "arrival=COLUMN:UNIT" in refused(write(tmp_path / "d.jsonl", '{"when": 1}\n'), format="jsonl")
    assert "neither text nor a number" in refused(write(tmp_path / "e.jsonl", '{"when": {"s": 1}}\n'), format="jsonl", arrival="when:s")
    assert "line 1" in refused(write(tmp_path / "f.jsonl", "[1, 2]\n"), format="jsonl")
    assert "no object with fields" in refused(write(tmp_path / "g.jsonl", "{}\n"), format="jsonl")


def test_whole_stamps_may_become_fractions_far_down_the_file(tmp_path: Path) -> None:
    rows = "".join(f'{{"arrival_ms": {n}, "pad": "{"x" * 60}", "key": "k{n % 7}"}}\n' for n in range(70_000))
    trace = open_trace(write(tmp_path / "t.jsonl", rows + '{"arrival_ms": 70000.25, "key": "a"}\n'))
    got = arrivals(trace)
    assert len(got) == 70_001 and (got[:-1] == np.arange(70_000) * 1_000_000).all() and got[-1] == 70_000_250_000
    assert column(trace, "key_id")[:8] == [key_of(f"k{n % 7}") for n in range(8)]


def test_stamps_in_whole_seconds_are_noticed(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"arrival_s": n // 3}) + "\n" for n in range(30))
    assert open_trace(write(tmp_path / "t.jsonl", rows)).meta.arrival_resolution_ns == 10**9


@pytest.mark.parametrize("line", ["null", 'null{"arrival_s": 0.5}', '{"arrival_s": 0.5} null', '{"arrival_s": 0.5}null{"arrival_s": 1}'])
def test_a_bare_null_is_refused_by_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"arrival_s": 0.25, "key": "}null"}\n' + line + "\n")
    with pytest.raises(InvalidInput, match="line 2: "):
        list(open_trace(str(path), format="jsonl").batches())
