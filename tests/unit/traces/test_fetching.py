"""Fetching from servers that cut, stall, ignore what is asked, change the file or send another one."""

import fcntl
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from agent.cli import main
from traces import catalogue
from traces.catalogue import CATALOGUE, Known, known_trace
from traces.errors import InvalidInput, OutOfReach, Refused
from traces.fetching import Fetched, Pace, Wanted, fetch
from traces.formats import formats

DATA = bytes(range(256)) * 12_000
SHA256 = hashlib.sha256(DATA).hexdigest()
BLOB = hashlib.sha1(b"blob %d\0" % len(DATA) + DATA).hexdigest()
PACE = Pace(patience_s=5.0, first_pause_s=0.01)


@dataclass
class Odd:
    """How the server behaves: one answer a request, the last one for all that follow."""

    data: bytes = DATA
    tag: str = '"v1"'
    cut_at: list[int | None] = field(default_factory=lambda: [None])  # bytes after which an answer's connection ends
    codes: list[int] = field(default_factory=list)  # statuses before anything else
    ranges: bool = True
    before: Callable[["Odd", int], None] = lambda odd, number: None
    asked: list[str | None] = field(default_factory=list)  # Range of each request
    location: str = ""


@pytest.fixture
def odd() -> Odd:
    return Odd()


@pytest.fixture
def address(odd: Odd) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on stderr."""

        def do_GET(self) -> None:
            number = len(odd.asked)
            odd.asked.append(self.headers.get("Range"))
            odd.before(odd, number)
            if number < len(odd.codes) and odd.codes[number] != 200:
                self.send_response(odd.codes[number])
                if odd.location:
                    self.send_header("Location", odd.location)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            begin, asked = 0, self.headers.get("Range")
            if asked and odd.ranges and self.headers.get("If-Range") == odd.tag:
                begin = int(asked.removeprefix("bytes=").rstrip("-"))
            if begin and begin >= len(odd.data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(odd.data)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(odd.data) - 1}/{len(odd.data)}")
            if odd.tag:
                self.send_header("ETag", odd.tag)
            self.send_header("Content-Length", str(len(odd.data) - begin))
            self.end_headers()
            cut = odd.cut_at[min(number, len(odd.cut_at) - 1)]
            self.wfile.write(odd.data[begin:] if cut is None else odd.data[begin : begin + cut])
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/trace.csv"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def got(address: str, folder: Path, pace: Pace = PACE, **known: Any) -> Fetched:
    return fetch(Wanted((address,), **known), folder / "trace.csv", pace=pace)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_whole_with_its_sums(address: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    wanted = Wanted((address,), len(DATA), SHA256, BLOB)
    fetched = fetch(wanted, tmp_path / "deep" / "trace.csv", lambda *now: seen.append(now), PACE)
    assert (tmp_path / "deep" / "trace.csv").read_bytes() == DATA and left_in(tmp_path / "deep") == ["trace.csv"]
    assert fetched.sha256 == SHA256 and fetched.checked and not fetched.was_there
    assert seen[0] == (0, len(DATA)) and seen[-1] == (len(DATA), len(DATA)) and seen == sorted(seen)


def test_connections_that_are_cut_are_gone_on_with(odd: Odd, address: str, tmp_path: Path) -> None:
    odd.cut_at = [1_000_000, 500_000, 700, None]
    assert got(address, tmp_path, sha256=SHA256).sha256 == SHA256
    assert odd.asked == [None, "bytes=1000000-", "bytes=1500000-", "bytes=1500700-"]
    assert left_in(tmp_path) == ["trace.csv"]


def test_a_server_that_knows_no_ranges_is_read_from_the_beginning(odd: Odd, address: str, tmp_path: Path) -> None:
    odd.cut_at, odd.ranges = [1_000_000, None], False
    assert got(address, tmp_path, sha256=SHA256).bytes == len(DATA) and odd.asked == [None, "bytes=1000000-"]


def test_without_a_version_nothing_is_gone_on_with(odd: Odd, address: str, tmp_path: Path) -> None:
    odd.cut_at, odd.tag = [1_000_000, None], ""
    assert got(address, tmp_path).sha256 == SHA256 and odd.asked == [None, None]


def test_a_file_that_changes_meanwhile_is_never_mixed(odd: Odd, address: str, tmp_path: Path) -> None:
    later = DATA[::-1] + b"more"

    def change(odd: Odd, number: int) -> None:
        if number == 1:
            odd.data, odd.tag = later, '"v2"'

    odd.cut_at, odd.before = [1_000_000, None], change
    got(address, tmp_path)
    assert (tmp_path / "trace.csv").read_bytes() == later


def test_pieces_of_two_files_under_one_tag_are_noticed_and_fetched_anew(odd: Odd, address: str, tmp_path: Path) -> None:
    def lie(odd: Odd, number: int) -> None:
        odd.data = DATA if number else b"x" * len(DATA)

    odd.cut_at, odd.before = [1_000_000, None], lie
    assert got(address, tmp_path, sha256=SHA256).sha256 == SHA256 and odd.asked == [None, "bytes=1000000-", None]


@pytest.mark.parametrize(
    ("known", "says"),
    [({"sha256": "0" * 64}, "its sha256 is"), ({"git_blob": "0" * 40}, "its git blob is"), ({"bytes": 1000}, "its bytes is")],
)
def test_wrong_bytes_never_get_the_files_name(address: str, tmp_path: Path, known: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        got(address, tmp_path, **known)
    assert left_in(tmp_path) == []


def test_what_came_is_kept_for_the_next_time(odd: Odd, address: str, tmp_path: Path) -> None:
    odd.cut_at, odd.codes = [1_000_000], [200] + [503] * 100
    with pytest.raises(OutOfReach, match="1,000,000 bytes are kept"):
        got(address, tmp_path, Pace(patience_s=0.2, first_pause_s=0.02))
    assert left_in(tmp_path) == ["trace.csv.part", "trace.csv.part.json"], "nothing has the file's name"
    odd.codes, odd.cut_at = [], [None]
    assert got(address, tmp_path, sha256=SHA256).bytes == len(DATA) and odd.asked[-1] == "bytes=1000000-"


def test_a_busy_server_is_asked_again_after_growing_pauses(odd: Odd, address: str, tmp_path: Path) -> None:
    odd.codes = [503, 429, 500]
    pauses: list[float] = []
    told: list[str] = []
    got(address, tmp_path, Pace(patience_s=60, first_pause_s=1.0, pause=pauses.append, told=told.append), sha256=SHA256)
    assert pauses == [1, 2, 4] and "answered 503; trying again in 1 s" in told[0]


def test_patience_is_bounded_in_time_whatever_a_server_asks_for(odd: Odd, address: str, tmp_path: Path) -> None:
    odd.codes = [503] * 1000
    clock = [0.0]

    def pause(seconds: float) -> None:
        clock[0] += seconds

    with pytest.raises(OutOfReach, match="answered 503, and nothing has come for"):
        got(address, tmp_path, Pace(patience_s=300, now=lambda: clock[0], pause=pause))
    assert 200 < clock[0] <= 300 and left_in(tmp_path) == []


def test_an_address_that_is_gone_is_said_at_once_and_the_next_is_tried(odd: Odd, address: str, tmp_path: Path) -> None:
    odd.codes = [404]
    with pytest.raises(OutOfReach, match="answered 404"):
        got(address, tmp_path)
    odd.asked.clear()
    fetched = fetch(Wanted((address + "?old", address), sha256=SHA256), tmp_path / "trace.csv", pace=PACE)
    assert fetched.address == address and len(odd.asked) == 2


def test_nobody_is_followed_out_of_http(odd: Odd, address: str, tmp_path: Path) -> None:
    odd.codes, odd.location = [302], "ftp://127.0.0.1/trace.csv"
    with pytest.raises(OutOfReach, match="sends on to ftp"):
        got(address, tmp_path)
    odd.asked.clear()
    odd.location = address + "/moved"
    assert got(address, tmp_path, sha256=SHA256).checked


def test_a_closed_port_ends_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutOfReach, match="refused"):
        got("http://127.0.0.1:1/x", tmp_path, Pace(patience_s=0.05, first_pause_s=0.02))


def test_a_file_that_is_there_is_checked_and_not_fetched_again(odd: Odd, address: str, tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_bytes(DATA)
    assert got(address, tmp_path, sha256=SHA256).was_there and not odd.asked
    (tmp_path / "trace.csv").write_bytes(b"mine")
    with pytest.raises(InvalidInput, match="is there already, but"):
        got(address, tmp_path, sha256=SHA256)
    assert (tmp_path / "trace.csv").read_bytes() == b"mine"


def test_two_processes_do_not_fetch_the_same_file(address: str, tmp_path: Path) -> None:
    with (tmp_path / "trace.csv.part").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Refused, match="another process"):
            got(address, tmp_path)


def test_every_entry_can_be_fetched_or_says_how_it_is_got() -> None:
    for known in CATALOGUE.values():
        assert known.license and known.confirmed and bool(known.addresses) != bool(known.ask), known.name
        assert len(known.sha256) in (0, 64) and len(known.git_blob) in (0, 40), known.name
        for each in known.addresses:
            parts = urlsplit(each)
            assert parts.scheme == "https" and parts.hostname and " " not in each, each
        pinned = "raw.githubusercontent.com" in "".join(known.addresses)
        assert not pinned or known.sha256 or known.git_blob, f"{known.name}: a file at a commit has a sum"
    with pytest.raises(InvalidInput, match="expected you to get it yourself"):
        known_trace("msr-cambridge")
    with pytest.raises(InvalidInput, match="expected one of azure-llm-2023-code"):
        known_trace("azure-nothing")


@pytest.fixture
def listed(address: str, monkeypatch: pytest.MonkeyPatch) -> Known:
    known = Known("own", "a trace of the test", "CC0-1.0", "nobody", "the test", "csv", (address,), len(DATA), SHA256)
    monkeypatch.setattr(catalogue, "CATALOGUE", {"own": known})
    return known


def test_the_verb_shows_the_licence_and_writes_only_with_consent(
    listed: Known, odd: Odd, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFSPEC_CACHE", str(tmp_path))
    assert main(["trace", "fetch", "own"]) == 2
    said = capsys.readouterr()
    assert "licence: CC0-1.0" in said.err and "expected --yes" in said.err and not said.out and not odd.asked
    assert main(["trace", "fetch", "own", "--yes"]) == 0
    said = capsys.readouterr()
    assert Path(said.out.strip()) == tmp_path / "fetched" / "own" / "trace.csv" and Path(said.out.strip()).read_bytes() == DATA
    assert "licence: CC0-1.0" in said.err and "agrees with what is known" in said.err and "--format csv" in said.err


def test_the_verb_prints_one_document(listed: Known, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "fetch", "own", "--yes", "--json", "--to", str(tmp_path)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["path"] == str(tmp_path / "trace.csv") and document["sha256"] == SHA256 and document["checked"]
    assert main(["trace", "fetch", "--list", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["own"]
    assert main(["trace", "fetch"]) == 2 and main(["trace", "fetch", "other", "--yes"]) == 3


def test_every_format_that_the_catalogue_names_is_there() -> None:
    named = {known.format for known in CATALOGUE.values() if known.format}
    assert named <= formats().keys()
