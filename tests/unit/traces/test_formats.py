import gzip
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.traces.rows import column, facts, real, table, trace_of
from traces.characterise import describe
from traces.compile import save_trace
from traces.draws import key_of
from traces.errors import InvalidInput
from traces.formats import formats, oracle_general, vscsi
from traces.schema import SCHEMA, TraceMeta
from traces.source import open_trace
from traces.stream import Trace

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:17:03.9799600,4808,10\r\n2023-11-16 18:17:04.0319600,3180,8"
KV_OLD = "key,op,size,op_count,key_size\nabc,GET,100,2,30\n77,SET_LEASE,50,1,8\n"
KV_NEW = (
    "op_time,key,key_size,op,op_count,size,cache_hits,ttl,usecase,sub_usecase\n"
    "100,abc,30,GET,3,100,2,0,u1,s\n100,abc,30,GET_LEASE,1,0,0,0,u1,s\n102,77,8,SET,1,50,0,60,u2,s\n"
)


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def oracle_file(path: Path, rows: int = 4) -> Path:
    records = np.zeros(rows, dtype=oracle_general.RECORD)
    records["ts_s"] = 50 + np.arange(rows) // 2
    records["object"] = np.arange(rows, dtype=np.uint64) % np.uint64(2) + np.uint64(2**63)
    records["size"] = 512
    records["next"] = np.where(np.arange(rows) < rows - 2, np.arange(rows) + 3, -1)
    path.write_bytes(records.tobytes())
    return path


def vscsi_file(path: Path, commands: list[int]) -> Path:
    records = np.zeros(len(commands), dtype=vscsi.RECORD)
    records["version"], records["command"] = 1 << 8, commands
    records["length"], records["sector"] = 4096, np.arange(len(commands)) * 8
    records["ts_us"] = 5_000_000_000_000_001 + np.arange(len(commands))
    path.write_bytes(records.tobytes())
    return path


def refused(path: Path, **options: str) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(InvalidInput) as error:
        list(open_trace(path, **({"format": options.pop("format")} if "format" in options else {}), options=options).batches())
    line = str(error.value)
    assert "\n" not in line and "expected" in line
    return line


def test_every_promised_format_is_registered() -> None:
    assert {"oracle_general", "vscsi", "meta_kv", "azure_llm", "csv", "parquet"} <= formats().keys()


def test_azure_llm_keeps_the_hundred_nanoseconds(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "azure.csv", AZURE))
    assert trace.meta.importer == "azure_llm"
    assert column(trace, "arrival_ns") == [0, 52_000_000]
    assert trace.meta.t0_unix_ns == 1700158623979960000
    assert column(trace, "output_tokens") == [10, 8]


def test_azure_llm_names_the_line_that_is_wrong(tmp_path: Path) -> None:
    cut = write(tmp_path / "cut.csv", AZURE[:-6])
    assert "line 3: 2 fields; expected 3" in refused(cut)
    assert "line 3: column ContextTokens: 'many'; expected a whole number" in refused(
        write(tmp_path / "bad.csv", AZURE.replace("3180", "many"))
    )
    assert "line 3: column GeneratedTokens is empty" in refused(write(tmp_path / "hole.csv", AZURE[:-1]))


def test_unsorted_rows_are_refused_or_sorted_on_demand(tmp_path: Path) -> None:
    lines = AZURE.split("\r\n")
    path = write(tmp_path / "back.csv", "\r\n".join([lines[0], lines[2], lines[1]]))
    assert "request 1 (from 0) is earlier" in refused(path)
    trace = open_trace(path, options={"sort": "true"})
    assert column(trace, "arrival_ns") == [0, 52_000_000] and column(trace, "seq") == [1, 0]
    assert table(trace).schema.equals(SCHEMA)


def test_meta_kv_reads_both_column_orders_and_expands(tmp_path: Path) -> None:
    new = open_trace(write(tmp_path / "new.csv", KV_NEW))
    assert column(new, "op") == ["get"] * 4 + ["set"]
    assert column(new, "arrival_ns") == [0, 0, 0, 0, 2 * 10**9] and new.meta.arrival_resolution_ns == 10**9
    assert column(new, "key_id") == [key_of("abc")] * 4 + [77]
    assert column(new, "resp_bytes") == [100, 100, None, None, None], "a miss has an unknown size, not none"
    assert column(new, "cache_hit") == [True, True, False, False, None]
    assert column(new, "req_bytes") == [None] * 4 + [50] and column(new, "ttl_ms") == [None] * 4 + [60_000]
    old = open_trace(write(tmp_path / "old.csv", KV_OLD))
    assert column(old, "op") == ["get", "get", "set"] and old.meta.arrival_model == "none"


def test_meta_kv_names_an_op_that_it_does_not_know(tmp_path: Path) -> None:
    assert "line 3: op 'FROB'" in refused(write(tmp_path / "kv.csv", KV_OLD.replace("SET_LEASE", "FROB")))
    assert "line 2: op_count 0" in refused(write(tmp_path / "kv0.csv", KV_OLD.replace("100,2", "100,0")))


def test_oracle_general_reads_plain_and_compressed_alike(tmp_path: Path) -> None:
    plain = oracle_file(tmp_path / "t.oracleGeneral.bin", 100_000)
    packed = tmp_path / "t.oracleGeneral.bin.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes(), 1))
    one, other = open_trace(plain), open_trace(packed)
    assert one.meta.importer == other.meta.importer == "oracle_general"
    assert table(one).equals(table(other)) and one.rows_hint == 100_000
    assert column(one, "key_id")[:3] == [2**63, 2**63 + 1, 2**63]


def test_cut_or_damaged_oracle_general_is_refused_by_byte(tmp_path: Path) -> None:
    path = oracle_file(tmp_path / "t.oracleGeneral.bin")
    data = path.read_bytes()
    path.write_bytes(data[:-5])
    assert "byte 72: the file ends 19 bytes into a record" in refused(path)
    packed = tmp_path / "t.oracleGeneral.bin.gz"
    packed.write_bytes(gzip.compress(data)[:-9])
    refused(packed, format="oracle_general")
    damaged = bytearray(data)
    damaged[24 + 16 : 24 + 24] = (1).to_bytes(8, "little")
    path.write_bytes(damaged)
    assert "byte 24: next access 1" in refused(path, format="oracle_general")


def test_vscsi_reads_commands_and_refuses_others(tmp_path: Path) -> None:
    trace = open_trace(vscsi_file(tmp_path / "t.vscsi", [0x28, 0x2A, 0x35]))
    assert trace.meta.importer == "vscsi"
    assert column(trace, "op") == ["read", "write", "flush"]
    assert column(trace, "req_bytes") == [None, 4096, None] and column(trace, "resp_bytes") == [
        4096,
        None,
        None,
    ]
    assert column(trace, "arrival_ns") == [0, 1000, 2000] and column(trace, "offset_bytes") == [0, 4096, 8192]
    odd = vscsi_file(tmp_path / "odd.vscsi", [0x28, 0x12, 0x2A])
    assert "byte 32" in refused(odd)
    assert column(open_trace(odd, options={"other": "skip"}), "op") == ["read", "write"]
    (tmp_path / "v2.vscsi").write_bytes(odd.read_bytes()[:14] + b"\0\2" + odd.read_bytes()[16:])
    assert "version" in refused(tmp_path / "v2.vscsi", format="vscsi")


def test_csv_reads_canonical_names_without_options(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "arrival_s,op,key,req_bytes\n1700000000.000000001,get,a,\n1700000000.5,set,8,64\n")
    trace = open_trace(path)
    assert trace.meta.importer == "csv" and trace.meta.kinds == ("kv",)
    assert column(trace, "arrival_ns") == [0, 499_999_999], "decimals are exact, not doubles"
    assert column(trace, "key_id") == [key_of("a"), 8] and column(trace, "req_bytes") == [None, 64]


def test_csv_maps_columns_by_options(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "when;what;kb;who\n10;u;2;x\n12;v;4;y\n")
    trace = open_trace(
        path,
        format="csv",
        options={
            "delimiter": ";",
            "arrival": "when:ms",
            "target": "what",
            "req_bytes": "kb:KiB",
            "kind": "http",
            "op": "POST",
        },
    )
    assert column(trace, "arrival_ns") == [0, 2_000_000] and column(trace, "req_bytes") == [2048, 4096]
    assert column(trace, "target") == ["u", "v"] and column(trace, "op") == ["POST", "POST"]


def test_csv_says_what_is_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "when,what\n10,u\n")
    assert "arrival=COLUMN:UNIT" in refused(path, format="csv")
    assert "no column 'wann'" in refused(path, format="csv", arrival="wann:s")
    assert "unit 'y'" in refused(path, format="csv", arrival="when:y")
    assert "option 'colour' is unknown" in refused(path, format="csv", colour="red")
    assert "op 'fetch'" in refused(path, format="csv", arrival="when:s", kind="kv", op="fetch")
    assert "line 3: column when: 'x'" in refused(write(tmp_path / "x.csv", "when,what\n1,u\nx,v\n"), format="csv", arrival="when:s")


def test_csv_refuses_impossible_values(tmp_path: Path) -> None:
    assert "req_bytes of -1" in refused(write(tmp_path / "n.csv", "arrival_s,req_bytes\n1,-1\n"))
    assert "beyond 292 years" in refused(write(tmp_path / "b.csv", "arrival_s,req_bytes\n99999999999999,1\n"))
    assert "no rows" in refused(write(tmp_path / "e.csv", "arrival_s,req_bytes\n"))


def test_kinds_may_stand_in_a_column(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "arrival_s,kind,op\n1,kv,get\n2,http,GET\n")
    trace = open_trace(path)
    assert trace.meta.kinds == ("http", "kv") and column(trace, "kind") == ["kv", "http"]


def test_plugged_in_formats_are_found_and_built_in_ones_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Plugged:
        summary = "of a test"

        def __init__(self, name: str) -> None:
            self.name = name

        def sniff(self, path: Path, head: bytes) -> int:
            return 3 if head.startswith(b"#mine") else 0

        def open(self, path: Path, options: Mapping[str, str]) -> Trace:
            return trace_of({"key_id": np.arange(3, dtype=np.uint64)}, importer=self.name)

    class Entry:
        def __init__(self, name: str) -> None:
            self.load = lambda: Plugged(name)

    monkeypatch.setattr("traces.formats.entry_points", lambda group: [Entry("mine"), Entry("csv")])
    formats.cache_clear()
    try:
        assert open_trace(write(tmp_path / "t", "#mine\n")).meta.importer == "mine"
        assert not isinstance(formats()["csv"], Plugged)
    finally:
        formats.cache_clear()


def test_coarse_csv_stamps_are_noticed(tmp_path: Path) -> None:
    rows = "".join(f"{1_700_000_000 + n // 3},{n}\n" for n in range(30))
    assert open_trace(write(tmp_path / "t.csv", "arrival_s,key\n" + rows)).meta.arrival_resolution_ns == 10**9


def test_parquet_of_others_is_mapped(tmp_path: Path) -> None:
    stamps = pa.array([1, 2_500_000], pa.timestamp("us"))
    pq.write_table(pa.table({"t": stamps, "id": ["a", "b"], "n": pa.array([5, 6], pa.int32())}), tmp_path / "t.parquet")
    trace = open_trace(tmp_path / "t.parquet", options={"arrival": "t:iso", "key": "id", "resp_bytes": "n"})
    assert column(trace, "arrival_ns") == [0, 2_499_999_000]
    assert column(trace, "key_id") == [key_of("a"), key_of("b")] and column(trace, "resp_bytes") == [5, 6]


def test_a_saved_trace_reads_back_as_it_was(tmp_path: Path) -> None:
    trace = trace_of(
        {
            "key_id": np.arange(70_000, dtype=np.uint64),
            "target": pa.array([f"/{n % 300}" if n % 2 else None for n in range(70_000)]),
            "prefix_hashes": pa.array([[n, n + 1] if n % 3 else None for n in range(70_000)], pa.list_(pa.uint64())),
            "cache_hit": pa.array([None, True] * 35_000),
        },
        lot=999,
        license="CC0",
    )
    saved = save_trace(trace, tmp_path / "t.parquet")
    back = open_trace(tmp_path / "t.parquet")
    assert table(back).to_pylist() == table(trace).to_pylist()
    assert back.meta.license == "CC0" and back.meta.rows == 70_000 == saved.rows and back.meta.kinds == ("kv",)
    assert all(batch.schema.equals(SCHEMA) for batch in back.batches())
    assert back.meta == TraceMeta.from_metadata({k.encode(): v.encode() for k, v in back.meta.to_metadata().items()})


def test_cut_parquet_is_refused_in_one_line(tmp_path: Path) -> None:
    save_trace(trace_of({"key_id": np.arange(9, dtype=np.uint64)}), tmp_path / "t.parquet")
    data = (tmp_path / "t.parquet").read_bytes()
    for length in (4, 100, len(data) - 1):
        (tmp_path / "t.parquet").write_bytes(data[:length])
        assert "no whole Parquet file" in refused(tmp_path / "t.parquet")


def test_parquet_damaged_inside_is_refused(tmp_path: Path) -> None:
    save_trace(trace_of({"key_id": np.arange(60_000, dtype=np.uint64) * 7919}), tmp_path / "t.parquet")
    data = bytearray((tmp_path / "t.parquet").read_bytes())
    data[100:20_000] = bytes(19_900)
    (tmp_path / "t.parquet").write_bytes(data)
    assert "row group 0" in refused(tmp_path / "t.parquet")


@pytest.mark.parametrize("content", [b"", b"\0\1\2nothing that is known", b"plain words\n"])
def test_a_file_of_no_known_format_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.dat").write_bytes(content)
    assert str(tmp_path / "odd.dat") in refused(tmp_path / "odd.dat")


def test_missing_files_and_unknown_formats_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "absent.csv")
    assert "is a folder" in refused(tmp_path)
    assert "format 'xls' is unknown" in refused(write(tmp_path / "t.csv", AZURE), format="xls")


def test_lengths_without_times_are_an_order_where_it_is_asked_for(tmp_path: Path) -> None:
    """Vidur's files hold lengths only: num_prefill_tokens, num_decode_tokens."""
    body = "num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n3772,54,3826,69.8\n2015,156,2171,12.9\n"
    options = {"arrival": "none", "prompt_tokens": "num_prefill_tokens", "output_tokens": "num_decode_tokens"}
    trace = open_trace(write(tmp_path / "v.csv", body), options=options)
    assert trace.meta.arrival_model == "none" and column(trace, "op") == ["completion"] * 2
    assert column(trace, "prompt_tokens") == [3772, 2015] and column(trace, "output_tokens") == [54, 156]
    lines = "".join(f'{{"num_prefill_tokens": {n}, "num_decode_tokens": 1}}\n' for n in (5, 6))
    assert column(open_trace(write(tmp_path / "v.jsonl", lines), format="jsonl", options=options), "prompt_tokens") == [5, 6]
    with pytest.raises(InvalidInput, match="arrival=none for an order without times"):
        open_trace(tmp_path / "v.csv")


def test_vidurs_real_lengths_give_their_facts() -> None:
    known = facts("vidur_arxiv")
    options = {"arrival": "none", "prompt_tokens": "num_prefill_tokens", "output_tokens": "num_decode_tokens"}
    path = real("vidur_lengths/arxiv_summarization_stats_llama2_tokenizer_filtered_v2.csv")
    said = describe(open_trace(path, options=options))
    assert said["prompt_tokens"] == known["prompt_tokens"] and said["output_tokens"] == known["output_tokens"]
