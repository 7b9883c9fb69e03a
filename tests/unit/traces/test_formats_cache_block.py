"""Traces of caches, of a CDN and of block devices, in the forms in which their owners publish them."""

from pathlib import Path

from tests.unit.traces.rows import column, facts, real, table
from tests.unit.traces.test_formats import refused, write
from traces.characterise import describe
from traces.source import open_trace

TWITTER = "0,q:q:1:8WT,11,213,4,get,0\n0,a,b,c,5,0,5,gets,0\n2,k,1,30,6,set,600\n2,k,1,0,6,delete,0\n"
CDN = (
    "timestamp,cacheKey,OpType,objectSize,responseSize,responseHeaderSize,rangeStart,rangeEnd,TTL,SamplingRate\n"
    "1585119589,cdn:53,1,28816957,54773,496,1582962,1637233,1209600,0.001\n1585119590,cdn:d1,1,7163,0,540,-1,-1,-1,0.001\n"
    "1585119590,cdn:53,1,7163,10,540,900,800,60,0.001\n"
)
MSR = "128166372003061629,usr,0,Read,7014609920,24576,41286\n128166372016382155,usr,1,Write,1317441536,8192,1963\n"


def test_a_key_of_twitters_may_hold_commas_and_a_miss_has_no_size(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "cluster", TWITTER))
    assert trace.meta.importer == "twitter_cache"
    assert column(trace, "op") == ["get", "gets", "set", "delete"] and column(trace, "key_bytes") == [11, 5, 1, 1]
    assert column(trace, "resp_bytes") == [213, None, None, None] and column(trace, "req_bytes") == [None, None, 30, 0]
    assert column(trace, "ttl_ms") == [None, None, 600_000, None] and column(trace, "client") == ["4", "5", "6", "6"]
    keys = column(trace, "key_id")
    assert keys[2] == keys[3] and len(set(keys)) == 3


def test_twitters_lines_that_are_wrong_are_named(tmp_path: Path) -> None:
    assert "line 3: operation 'sit'" in refused(write(tmp_path / "a", TWITTER.replace(",set,", ",sit,")), format="twitter_cache")
    assert "line 3: 5 fields" in refused(write(tmp_path / "b", TWITTER.replace("2,k,1,30,6,set,600", "2,k,1,30,6")), format="twitter_cache")
    assert "line 1: value size 'many'" in refused(write(tmp_path / "c", TWITTER.replace("213", "many")), format="twitter_cache")


def test_twitters_own_rows_read() -> None:
    trace = open_trace(real("twitter_cache_2020_stats/example_rows.csv"))
    assert trace.meta.importer == "twitter_cache" and column(trace, "key_bytes")[:2] == [17, 27]


def test_ranges_of_a_cdn_are_offsets_and_what_says_nothing_is_null(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "cdn.csv", CDN))
    assert trace.meta.importer == "meta_cdn" and trace.meta.sampling_ratio == 0.001
    assert trace.meta.t0_unix_ns == 1585119589 * 10**9
    assert column(trace, "offset_bytes") == [1582962, None, None] and column(trace, "resp_bytes") == [54773, None, 10]
    assert column(trace, "ttl_ms") == [1_209_600_000, None, 60_000]
    targets = column(trace, "target")
    assert targets[0] == targets[2] != targets[1]
    assert "line 3: timestamp -5" in refused(write(tmp_path / "bad.csv", CDN.replace("1585119590,cdn:d1", "-5,cdn:d1")))


def test_the_real_cdn_trace_gives_its_facts() -> None:
    known = facts("meta_cdn_2020_short_bigcache_traces")
    trace = open_trace(real("meta_cdn_2020/short_bigcache_traces.hashed.csv"))
    said = describe(trace)
    for key in ("rows", "span_s", "mean_rate_per_s", "iat_cv", "zero_gaps", "rate_p50", "rate_p99", "rate_max", "resolution_ns"):
        assert said["arrival"][key] == known["arrival"][key], key
    assert said["popularity"] == known["popularity"]
    assert said["resp_bytes"]["sum"] == known["response_bytes"]["sum"]
    offsets = table(trace).column("offset_bytes")
    assert len(offsets) - offsets.null_count in (
        known["range_requests"],
        known["rangeEnd_gt_rangeStart"],
        known["rangeEnd_gt_rangeStart"] + 10,
    )


def test_msr_reads_filetime_to_the_hundred_nanoseconds(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "usr_0.csv", MSR))
    assert trace.meta.importer == "msr_cambridge" and trace.meta.kinds == ("block",)
    assert column(trace, "arrival_ns") == [0, 1_332_052_600]
    assert trace.meta.t0_unix_ns == (128166372003061629 - 116444736000000000) * 100
    assert column(trace, "op") == ["read", "write"] and column(trace, "target") == ["usr/0", "usr/1"]
    assert column(trace, "offset_bytes") == [7014609920, 1317441536] and column(trace, "observed_ns") == [4_128_600, 196_300]
    assert column(trace, "resp_bytes") == [24576, None] and column(trace, "req_bytes") == [None, 8192]
    assert "line 2" in refused(write(tmp_path / "b.csv", MSR.replace("Write", "Trim")), format="msr_cambridge")


def test_a_run_of_arcs_is_as_many_reads(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "x.lis", "10 3 0 0\n2 1 0 1\n"))
    assert trace.meta.importer == "arc" and trace.meta.arrival_model == "none"
    assert column(trace, "key_id") == [10, 11, 12, 2]
    assert "line 2" in refused(write(tmp_path / "y.lis", "10 3 0 0\n2 0 0 1\n"), format="arc")


def test_the_real_arc_trace_gives_its_facts() -> None:
    known = facts("arc_oltp")
    said = describe(open_trace(real("arc_oltp/OLTP.lis.zst")))
    assert said["arrival"]["rows"] == known["requests_expanded"] and said["popularity"] == known["popularity"]
