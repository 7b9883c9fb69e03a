"""Traces of Meta's CacheLib and of libCacheSim, in the forms that their owners document."""

from pathlib import Path

import numpy as np
import pytest

from tests.property.trace_samples import SAMPLES
from tests.unit.traces.rows import column, facts, real, table
from traces.characterise import describe
from traces.errors import InvalidInput
from traces.formats import lcs, twr
from traces.source import open_trace

RELEASES = {
    "202206": "key,op,size,op_count,key_size\n7,GET,100,2,20\n8,SET,50,1,30\n",
    "202312": "key,op,size,op_count,key_size,ttl\n7,GET,100,2,20,0\n8,SET,50,1,30,60\n",
    "202210": "op_time,key,key_size,op,op_count,size,cache_hits,ttl\n5,7,20,GET,2,100,1,0\n6,8,30,SET,1,50,0,60\n",
    "202401": "op_time,key,key_size,op,op_count,size,cache_hits,ttl,usecase,sub_usecase\n"
    "5,7,20,GET_LEASE,2,100,1,0,u,v\n6,8,30,SET,1,50,0,60,u,v\n",
    "202401, second file": "op_time,key,key_size,op,op_count,size,cache_hits,usecase,sub_usecase,ttl\n"
    "5,7,20,GET,2,100,1,u,v,0\n6,8,30,SET,1,50,0,u,v,60\n",
}


def write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def refused(path: Path, **options: str) -> str:
    name = options.pop("format", None)
    with pytest.raises(InvalidInput) as error:
        table(open_trace(path, format=name, options=options))
    return str(error.value)


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_of_metas_key_values_reads_whatever_its_column_order(tmp_path: Path, release: str) -> None:
    trace = open_trace(write(tmp_path / "kv.csv", RELEASES[release]))
    assert trace.meta.importer == "meta_kv"
    assert column(trace, "key_id") == [7, 7, 8] and column(trace, "op") == ["get", "get", "set"]
    assert column(trace, "req_bytes") == [None, None, 50] and column(trace, "key_bytes") == [20, 20, 30]
    timed = "op_time" in RELEASES[release]
    assert trace.meta.arrival_model == ("recorded" if timed else "none")
    assert column(trace, "arrival_ns") == ([0, 0, 10**9] if timed else [0, 0, 0])
    assert column(trace, "ttl_ms")[2] == (None if release == "202206" else 60_000)


def test_the_share_of_traffic_that_an_owner_tells_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "kv.csv", RELEASES["202206"])
    assert open_trace(path).meta.traffic_factor == 1.0
    assert open_trace(path, options={"traffic_factor": "1/100"}).meta.traffic_factor == 0.01
    assert open_trace(path, options={"traffic_factor": "0.5"}).meta.traffic_factor == 0.5
    for wrong in ("2", "1/0", "0", "a"):
        assert "expected a share above 0" in refused(path, traffic_factor=wrong)


def test_a_later_cdn_release_says_what_hit(tmp_path: Path) -> None:
    header = (
        "timestamp,cacheKey,OpType,objectSize,responseSize,responseHeaderSize,rangeStart,rangeEnd,TTL,SamplingRate,cache_hit,item_value"
    )
    rows = "5,7,1,900,800,50,-1,-1,60,0.1,1,0\n6,8,1,900,800,50,0,9,60,0.1,0,0\n6,8,1,900,800,50,0,9,60,0.1,-1,0\n"
    trace = open_trace(
        write(tmp_path / "cdn.csv", f"{header},RequestHandler,cdn_content_type_id,vip_type\n{rows}".replace(",0\n", ",0,h,-,v\n"))
    )
    assert trace.meta.importer == "meta_cdn" and column(trace, "cache_hit") == [True, False, None]


def test_the_real_block_trace_gives_its_facts() -> None:
    known = facts("meta_tectonic_2023_1")
    trace = open_trace(real("meta_tectonic_2023/block_traces_1.csv"))
    said = describe(trace)
    assert trace.meta.importer == "meta_block" and trace.meta.t0_unix_ns == known["arrival"]["first_ns"]
    assert said["arrival"]["rows"] == known["expanded_rows"] and said["arrival"]["span_s"] == known["arrival"]["span_s"]
    assert said["ops"]["read"] + said["ops"]["write"] == known["expanded_rows"]
    assert len(set(column(trace, "tenant"))) == known["users"] and len(set(column(trace, "client"))) == known["hosts"]
    assert max(column(trace, "offset_bytes")) == known["io_offset"]["p100"]
    assert set(column(trace, "key_bytes")) == {40}


def test_a_blocks_shard_is_the_key_and_what_is_wrong_is_named(tmp_path: Path) -> None:
    body = SAMPLES["meta_block"].body()
    trace = open_trace(write(tmp_path / "b.csv", body))
    assert column(trace, "op") == ["read", "read", "write"] and len(set(column(trace, "key_id"))) == 2
    assert column(trace, "resp_bytes") == [8388608, 8388608, None] and column(trace, "req_bytes") == [None, None, 39]
    assert "line 2: op_name 'eraseChunk.Permanent'" in refused(
        write(tmp_path / "c.csv", body.replace(b"getChunkData.Not", b"eraseChunk.Not").replace(b"NotInitialized", b"Permanent"))
    )
    assert "line 3: op_count 0" in refused(write(tmp_path / "d.csv", body.replace(b"Permanent,1,", b"Permanent,0,")))


def test_twr_has_all_operations_and_a_miss_has_no_size(tmp_path: Path) -> None:
    rows = np.zeros(4, dtype=twr.RECORD)
    rows["ts_s"], rows["object"] = [9, 9, 10, 11], [1, 2, 1, 2**64 - 1]
    rows["sizes"] = [20 << 22 | 500, 20 << 22, 20 << 22 | 4_000_000, 1023 << 22 | 1]
    rows["op_ttl"] = [1 << 24, 2 << 24, 3 << 24 | 3600, 11 << 24]
    trace = open_trace(write(tmp_path / "c.twr", rows.tobytes()))
    assert trace.meta.importer == "twr" and trace.rows_hint == 4
    assert column(trace, "op") == ["get", "gets", "set", "decr"] and column(trace, "key_bytes") == [20, 20, 20, 1023]
    assert column(trace, "resp_bytes") == [500, None, None, None] and column(trace, "req_bytes") == [None, None, 4_000_000, 1]
    assert column(trace, "ttl_ms") == [None, None, 3_600_000, None] and column(trace, "arrival_ns") == [0, 0, 10**9, 2 * 10**9]
    rows["op_ttl"][2] = 99 << 24
    assert "byte 40: operation 99" in refused(write(tmp_path / "d.twr", rows.tobytes()), format="twr")


@pytest.mark.parametrize("version", range(1, 9))
def test_every_version_of_lcs_reads(tmp_path: Path, version: int) -> None:
    record = lcs.VERSIONS[version]
    assert record.itemsize == {1: 24, 2: 28, 3: 36, 4: 40, 5: 44, 6: 52, 7: 68, 8: 100}[version]
    rows = np.zeros(3, dtype=record)
    rows["ts_s"], rows["object"], rows["size"] = [3, 3, 5], [7, 8, 7], [100, 200, 100]
    if version > 1:
        rows["op_tenant"] = [0, 3 | 5 << 8, 12 | 6 << 8]
    header = lcs.MAGIC + version.to_bytes(8, "little") + bytes(8000 + 168) + lcs.MAGIC
    trace = open_trace(write(tmp_path / "a.lcs", header + rows.tobytes()))
    assert trace.meta.importer == "lcs" and column(trace, "key_id") == [7, 8, 7] and column(trace, "arrival_ns") == [0, 0, 2 * 10**9]
    assert column(trace, "op") == (["get"] * 3 if version == 1 else ["get", "set", "get"])
    assert column(trace, "tenant") == ([None] * 3 if version == 1 else ["0", "5", "6"])
    assert "bytes into a record" in refused(write(tmp_path / "b.lcs", header + rows.tobytes()[:-1]))
    assert "lcs version 9" in refused(
        write(tmp_path / "c.lcs", header.replace(version.to_bytes(8, "little"), (9).to_bytes(8, "little"), 1))
    )


def test_libcachesims_csv_is_read_by_its_own_parameters(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "version,time,op,size,lbn\n1,10,2a,512,42\n1,12,28,1024,43\n")
    asked = {"time-col": "2", "obj-id-col": "5", "obj-size-col": "4"}
    trace = open_trace(path, format="libcachesim_csv", options=asked)
    assert (
        column(trace, "arrival_ns") == [0, 2 * 10**9] and column(trace, "resp_bytes") == [512, 1024] and column(trace, "key_id") == [42, 43]
    )
    untimed = open_trace(path, format="libcachesim_csv", options={"obj-id-col": "5", "has-header": "true"})
    assert untimed.meta.arrival_model == "none" and column(untimed, "resp_bytes") == [None, None]
    bare = open_trace(
        write(tmp_path / "b.csv", "10;x\n11;y\n"), format="libcachesim_csv", options={"time-col": "1", "obj-id-col": "2", "delimiter": ";"}
    )
    assert column(bare, "arrival_ns") == [0, 10**9]
    own = open_trace(write(tmp_path / "c.csv", "# time, object, size, next_access_vtime\n0, 5, 100, 3\n1, 6, 200, -1\n"))
    assert own.meta.importer == "libcachesim_csv" and column(own, "key_id") == [5, 6] and column(own, "resp_bytes") == [100, 200]
    assert "no option obj-id-col" in refused(path, format="libcachesim_csv")
    assert "option obj-id-col: '9'; expected a column's number from 1 to 5" in refused(
        path, format="libcachesim_csv", **{"obj-id-col": "9"}
    )


def test_libcachesims_own_csv_agrees_with_the_same_trace_as_vscsi() -> None:
    options = {"time-col": "2", "obj-id-col": "5", "obj-size-col": "4"}
    csv = open_trace(real("cloudphysics_libcachesim/cloudPhysicsIO.head2000.csv"), format="libcachesim_csv", options=options)
    vscsi = open_trace(real("cloudphysics_libcachesim/cloudPhysicsIO.vscsi"))
    assert column(csv, "key_id") == column(vscsi, "key_id")[:2000]


def test_an_identity_a_line_is_a_get_in_order(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "a.txt", "42932745\n42932746\n\n42932745"))
    assert trace.meta.importer == "libcachesim_txt" and trace.meta.arrival_model == "none"
    assert column(trace, "key_id") == [42932745, 42932746, 42932745]


def test_webcachesim_is_read_with_its_features_and_in_its_unit(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "a.tr", "0 5 100\n2 6 200\n"))
    assert trace.meta.importer == "webcachesim" and column(trace, "arrival_ns") == [0, 2 * 10**9]
    features = write(tmp_path / "b.tr", "0 5 100 1 2\n2 6 200 1 2\n")
    finer = open_trace(features, format="webcachesim", options={"unit": "ms"})
    assert column(finer, "arrival_ns") == [0, 2_000_000] and finer.meta.arrival_resolution_ns == 10**6
    assert column(finer, "resp_bytes") == [100, 200] and column(finer, "target") == ["/5", "/6"]
    assert "option unit" in refused(features, format="webcachesim", unit="h")
    assert "line 2" in refused(write(tmp_path / "c.tr", "0 5 100\n2 6\n"), format="webcachesim")
