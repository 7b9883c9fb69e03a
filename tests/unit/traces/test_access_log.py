"""Access logs of web servers, as text and as JSON."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from tests.unit.traces.rows import column, facts, real, table
from tests.unit.traces.test_facts import ARRIVAL, assert_same
from tests.unit.traces.test_formats import refused, write
from traces.characterise import describe
from traces.formats.access_stamps import clf_nanoseconds
from traces.source import open_trace

COMMON = (
    '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326\n'
    '127.0.0.1 - - [10/Oct/2000:13:55:37 -0700] "POST /form HTTP/1.1" 302 -\n'
)
COMBINED = (
    '2001:db8::7 - - [10/Oct/2000:20:55:40 +0000] "GET /a?q=[1] HTTP/1.1" 200 5 "http://x/\\"quoted\\"" "Mozilla/4.08 [en] (Win98)"\r\n'
    '\n'
    'host.example - - [10/Oct/2000:20:55:38 +0000] "HEAD /a HTTP/1.1" 304 - "-" "curl"\r\n'
    'host.example - - [10/Oct/2000:20:55:41 +0000] "-" 408 - "-" "-"\n'
    '10.0.0.9 - - [10/Oct/2000:20:55:42 +0000] "\\x16\\x03\\x01\\x02" 400 226 "-" "-"\n'
    '10.0.0.9 - - [10/Oct/2000:20:55:43 +0000] "PROPFIND /dav HTTP/1.1" 405 9 "-" "-"'
)  # fmt: skip


def nginx(**more: object) -> str:
    fields: dict[str, object] = {
        "msec": "1700000003.250",
        "remote_addr": "192.0.2.1",
        "request": "GET /v1/items?x=1 HTTP/2.0",
        "status": "200",
        "body_bytes_sent": "612",
        "request_time": "0.250",
    }
    return json.dumps({**fields, **more}) + "\n"


def test_the_elastic_sample_gives_its_facts() -> None:
    known = facts("elastic_apache_logs")
    trace = open_trace(real("elastic_apache_logs/apache_logs.clienthash.log"))
    said = describe(trace)
    assert trace.meta.importer == "access_log" and trace.meta.source_offset_ns == known["arrival"]["first_ns"] == trace.meta.t0_unix_ns
    assert_same(said["arrival"], known["arrival"], ARRIVAL)
    assert said["ops"] == known["method"] and said["resp_bytes"] == known["response_bytes"]
    rows = table(trace)
    assert rows["resp_bytes"].null_count == known["dash_bytes"]
    assert {str(s): n for s, n in (e.values() for e in rows["status"].value_counts().to_pylist())} == known["status"]
    assert len(set(rows["client"].to_pylist())) == known["clients"], "pseudonyms stay as they are"
    assert rows["client"][0].as_py() == "hdda9b6831a"
    assert len(set(rows["target"].to_pylist())) == known["popularity"]["unique_keys"]


def test_common_lines_keep_zone_status_and_unknown_sizes(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "access.log", COMMON))
    assert trace.meta.importer == "access_log" and trace.meta.arrival_resolution_ns == 10**9
    assert trace.meta.t0_unix_ns == 971_211_336 * 10**9 and column(trace, "arrival_ns") == [0, 10**9]
    assert column(trace, "op") == ["GET", "POST"] and column(trace, "target") == ["/apache_pb.gif", "/form"]
    assert column(trace, "status") == [200, 302] and column(trace, "resp_bytes") == [2326, None]


def test_what_is_no_request_is_left_out_and_counted(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "a.log", COMBINED))
    assert column(trace, "target") == ["/a", "/a?q=[1]"], "put in order of time"
    assert column(trace, "op") == ["HEAD", "GET"] and column(trace, "arrival_ns") == [0, 2 * 10**9]
    assert "of 5 lines left out: 1 of other methods, 2 without an HTTP request" in trace.meta.loss_notes
    assert "line 4: request '-'" in refused(tmp_path / "a.log", other="refuse")


def test_addresses_are_hidden_unless_they_are_to_be_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "a.log", COMBINED)
    hidden, kept = open_trace(path), open_trace(path, options={"clients": "keep"})
    assert column(kept, "client") == ["host.example", "2001:db8::7"] and not kept.meta.anonymised
    assert not set(column(kept, "client")) & set(column(hidden, "client")) and "client" in hidden.meta.anonymised
    assert column(hidden, "client") == column(open_trace(path), "client"), "the same log gives the same pseudonyms"
    other = open_trace(write(tmp_path / "b.log", COMBINED + "\n" + COMBINED), options={"sort": "true"})
    assert not set(column(other, "client")) & set(column(hidden, "client")), "another log gives others"


def test_a_duration_may_end_each_line(tmp_path: Path) -> None:
    lines = COMMON.replace("2326", "2326 1500").replace(" -\n", " - 7\n")
    path = write(tmp_path / "a.log", lines)
    assert column(open_trace(path, options={"last": "us"}), "observed_ns") == [1_500_000, 7000]
    late = open_trace(path, options={"last": "ms", "stamp": "end"})
    assert column(late, "arrival_ns") == [0, 2_493_000_000] and "less how long" in late.meta.loss_notes
    assert "option last: 'h'; expected one of s, ms, us" in refused(path, last="h")


def test_a_virtual_host_before_the_client_is_the_tenant(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "a.log", "www.example.org:443 " + COMMON), options={"clients": "keep"})
    assert column(trace, "tenant") == ["www.example.org:443", None] and column(trace, "client") == ["127.0.0.1"] * 2


def test_nginx_objects_count_back_to_the_beginning_of_a_request(tmp_path: Path) -> None:
    lines = nginx() + nginx(msec="1700000003.100", request_time="0.000", status=404, body_bytes_sent="-", host="h", content_length="17")
    trace = open_trace(write(tmp_path / "access.json", lines.replace('"status": 404', '"status": "404"')))
    assert trace.meta.importer == "access_log" and trace.meta.arrival_resolution_ns == 10**6
    assert trace.meta.t0_unix_ns == 1_700_000_003_000_000_000 and column(trace, "arrival_ns") == [0, 100_000_000]
    assert column(trace, "observed_ns") == [250_000_000, 0] and column(trace, "resp_bytes") == [612, None]
    assert column(trace, "req_bytes") == [None, 17] and column(trace, "status") == [200, 404] and column(trace, "tenant") == [None, "h"]
    assert column(open_trace(tmp_path / "access.json", options={"stamp": "begin"}), "arrival_ns") == [0, 150_000_000]


@pytest.mark.parametrize("stamp", [{"time_iso8601": "2023-11-14T23:13:23+01:00"}, {"time_local": "14/Nov/2023:22:13:23 +0000"}])
def test_nginx_objects_with_whole_seconds_and_numbers(tmp_path: Path, stamp: dict[str, str]) -> None:
    row = {**stamp, "request_method": "PUT", "request_uri": "/x", "status": 201, "body_bytes_sent": 0, "request_time": 0.5}
    trace = open_trace(write(tmp_path / "a.json", json.dumps(row) + "\n"))
    assert trace.meta.importer == "access_log" and trace.meta.arrival_resolution_ns == 10**9
    assert trace.meta.t0_unix_ns == 1_700_000_002_500_000_000
    assert column(trace, "op") == ["PUT"] and column(trace, "status") == [201] and column(trace, "resp_bytes") == [0]


def test_damage_is_named_by_its_line(tmp_path: Path) -> None:
    assert "line 2: '127.0.0.1 - - [10/Oct" in refused(write(tmp_path / "a.log", COMMON[:-20]), format="access_log")
    assert "line 2: its time cannot be read" in refused(write(tmp_path / "b.log", COMMON.replace("13:55:37", "25:55:37")))
    (tmp_path / "c.log").write_bytes(COMMON.encode().replace(b"/form", b"/\xff\xfe"))
    assert "line 2: byte" in refused(tmp_path / "c.log")
    assert "field status: The string 'ok'" in refused(write(tmp_path / "d.json", nginx(status="ok")))
    assert "expected NGINX's names" in refused(write(tmp_path / "e.json", '{"a": 1}\n'), format="access_log")
    assert "request 1 (from 0) comes 660 s after" in refused(
        write(tmp_path / "f.log", COMMON.replace("13:55:37", "13:44:36")), format="access_log"
    )


def test_days_that_there_are_not_are_no_times() -> None:
    texts = ["29/Feb/2024:00:00:00 +0000", "29/Feb/2023:00:00:00 +0000", "31/Dec/1999:23:59:60 +0000", "01/Foo/2000:00:00:00 +0000", None]
    assert clf_nanoseconds(pa.array(texts)).to_pylist() == [1_709_164_800 * 10**9, None, 946_684_800 * 10**9, None, None]
