"""Recordings of HTTP: GoReplay's and browsers'."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.unit.traces.rows import column, table
from tests.unit.traces.test_formats import refused, write
from traces.formats import goreplay
from traces.source import open_trace

MONKEYS = "\n🐵🙈🙉\n"
GET = "GET /a?b=1 HTTP/1.1\r\nHost: www.w3.org\r\n\r\n"
POST = "POST /upload HTTP/1.1\r\nContent-Length: 7\r\nHost: www.w3.org\r\n\r\na=1&b=2"
OK = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
START = 1_700_000_000_000_000_000


def gor(*payloads: tuple[int, str, int, int, str]) -> str:
    return "".join(f"{kind} {name} {START + at} {latency}\n{data}{MONKEYS}" for kind, name, at, latency, data in payloads)


def test_goreplay_joins_responses_to_their_requests(tmp_path: Path) -> None:
    text = gor(
        (1, "aa", 0, -1, GET),
        (1, "bb", 3_000_000, -1, POST),
        (2, "aa", 2_000_000, 500_000, OK),
        (3, "bb", 3_100_000, 42_000, "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
        (1, "cc", 9_000_000, -1, GET.replace("GET", "HEAD")),
        (2, "cc", 9_000_001, 0, OK.replace("hello", "")),
    )
    trace = open_trace(write(tmp_path / "r.gor", text))
    assert trace.meta.importer == "goreplay" and trace.meta.t0_unix_ns == START
    assert column(trace, "arrival_ns") == [0, 3_000_000, 9_000_000] and column(trace, "op") == ["GET", "POST", "HEAD"]
    assert column(trace, "target") == ["/a?b=1", "/upload", "/a?b=1"] and column(trace, "tenant") == ["www.w3.org"] * 3
    assert column(trace, "req_bytes") == [0, 7, 0] and column(trace, "status") == [200, 404, 200]
    assert column(trace, "resp_bytes") == [5, 5, 0], "without the framing of chunks, and none for HEAD"
    assert column(trace, "observed_ns") == [2_500_000, 42_000, 1]


def test_goreplay_takes_the_recorded_response_before_the_replays(tmp_path: Path) -> None:
    replayed, recorded = (3, "aa", 9, 7, OK.replace("200", "500")), (2, "aa", 100, 5, OK)
    for n, order in enumerate([(replayed, recorded), (recorded, replayed)]):
        trace = open_trace(write(tmp_path / f"{n}.gor", gor((1, "aa", 0, -1, GET), *order)))
        assert column(trace, "status") == [200] and column(trace, "observed_ns") == [105]


def test_goreplay_requests_without_a_response_or_latency_are_read(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "r.gor", f"1 aa 127345969\n{GET}{MONKEYS}1 bb 127345970\n{POST}"))
    assert column(trace, "arrival_ns") == [0, 1] and column(trace, "status") == [None, None] and column(trace, "observed_ns") == [None] * 2


def test_goreplay_leaves_out_what_is_no_http_request_and_counts_it(tmp_path: Path) -> None:
    text = gor(
        (1, "aa", 0, -1, GET), (1, "bb", 1, -1, "\x00\x01binary"), (2, "zz", 2, 0, OK), (1, "cc", 3, -1, GET.replace("GET", "PURGE"))
    )
    trace = open_trace(write(tmp_path / "r.gor", text))
    assert table(trace).num_rows == 1
    assert (
        "of 4 payloads left out: 1 of other methods, 1 responses without a request near before them, 1 without an HTTP"
        in trace.meta.loss_notes
    )
    at = len(gor((1, "aa", 0, -1, GET)).encode())
    assert f"byte {at}: request" in refused(tmp_path / "r.gor", other="refuse")


def test_goreplay_is_read_in_bounded_memory_and_in_order(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(goreplay, "MOST_WAITING", 10)
    requests = [(1, f"id{n}", n * 1000, -1, GET) for n in range(100)]
    text = gor(*requests[:50], (2, "id1", 50, 1, OK), (2, "id49", 49_500, 1, OK), *requests[50:])
    trace = open_trace(write(tmp_path / "r.gor", text))
    assert column(trace, "arrival_ns") == [n * 1000 for n in range(100)]
    assert [n for n, status in enumerate(column(trace, "status")) if status] == [49], "the first came too late to be joined"


def test_goreplay_damage_is_named_by_its_byte(tmp_path: Path) -> None:
    good = gor((1, "aa", 0, -1, GET))
    assert f"byte {len(good.encode())}: 'x bb'" in refused(write(tmp_path / "r.gor", good + "x bb\nGET / HTTP/1.1\r\n\r\n" + MONKEYS))


def entry(at: str = "2009-07-24T19:20:30.450+01:00", **more: Any) -> dict[str, Any]:
    request = {"method": "GET", "url": "https://user@www.example.org:8443/p/a?q=1#here", "bodySize": 0, **more.pop("request", {})}
    response = {"status": 200, "bodySize": -1, "content": {"size": 33}, **more.pop("response", {})}
    return {"startedDateTime": at, "time": 50.25, "request": request, "response": response, **more}


def har(*entries: Mapping[str, Any]) -> str:
    log = {"version": "1.2", "creator": {"name": "test", "version": "1"}, "pages": [], "entries": entries}
    return "\ufeff" + json.dumps({"log": log}, indent=1)


def test_har_entries_are_put_in_order_with_sizes_and_times(tmp_path: Path) -> None:
    first = entry(
        "2009-07-24T18:20:30.400Z", request={"method": "POST", "bodySize": 12}, response={"bodySize": 7}, connection="52492", time=-1
    )
    trace = open_trace(write(tmp_path / "a.har", har(entry(), first)))
    assert trace.meta.importer == "har" and trace.meta.arrival_resolution_ns == 10**6
    assert trace.meta.t0_unix_ns == 1_248_459_630_400_000_000 and column(trace, "arrival_ns") == [0, 50_000_000]
    assert column(trace, "op") == ["POST", "GET"] and column(trace, "target") == ["/p/a?q=1"] * 2
    assert column(trace, "tenant") == ["www.example.org:8443"] * 2 and column(trace, "client") == ["52492", None]
    assert column(trace, "req_bytes") == [12, 0] and column(trace, "resp_bytes") == [7, 33]
    assert column(trace, "observed_ns") == [None, 50_250_000] and column(trace, "status") == [200, 200]


def test_har_leaves_out_what_never_reached_a_server_and_counts_it(tmp_path: Path) -> None:
    odd = [entry(_fromCache="memory"), entry(request={"url": "data:image/png;base64,x"}), entry(request={"url": "wss://h/"})]
    trace = open_trace(write(tmp_path / "a.har", har(*odd, entry(response={"status": 0}))))
    assert column(trace, "status") == [None], "0 says that there was no response"
    assert "of 4 entries left out: 1 from the browser's cache, 1 of no network address, 1 web sockets" in trace.meta.loss_notes
    assert "log.entries[0]: one of those from the browser's cache" in refused(tmp_path / "a.har", other="refuse")


def test_har_says_which_entry_and_field_is_wrong(tmp_path: Path, monkeypatch: Any) -> None:
    assert 'log.entries[1]: startedDateTime "2009-07-24T19:20:30"' in refused(
        write(tmp_path / "a.har", har(entry(), entry("2009-07-24T19:20:30")))
    )
    assert "log.entries[0]: bodySize of -2" in refused(write(tmp_path / "b.har", har(entry(response={"bodySize": -2}))))
    assert "log.entries[0]: no object request" in refused(write(tmp_path / "c.har", har({"startedDateTime": "x"})))
    assert "no list at log.entries" in refused(write(tmp_path / "d.har", '{"log": {"version": "1.2", "creator": {}}}'))
    assert "cut short" in refused(write(tmp_path / "e.har", har(entry())[:-9]))
    assert "request.url" in refused(write(tmp_path / "f.har", har(entry(request={"url": "http://[bad"}))))
    monkeypatch.setattr("traces.formats.har.MOST_BYTES", 100)
    assert "over 0 MiB" in refused(write(tmp_path / "g.har", har(entry())))


def test_har_texts_that_no_text_can_hold_are_spelt_out(tmp_path: Path) -> None:
    trace = open_trace(write(tmp_path / "a.har", har(entry(request={"url": "http://h/\ud800x"}))))
    assert column(trace, "target") == ["/\\ud800x"]
