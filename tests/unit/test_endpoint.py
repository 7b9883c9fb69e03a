"""A server by its URL, and what needs somebody's leave."""

from pathlib import Path

import pytest

from agent.endpoint import Endpoint, parse_endpoint
from traces.errors import UsageError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://127.0.0.1", Endpoint("redis", "127.0.0.1", 6379)),
        ("rediss://u:p%40@h:1/3", Endpoint("redis", "h", 1, {"user": "u", "password": "p@", "db": "3"}, "system")),
        ("http://h/a?b=1", Endpoint("http", "h", 80, {"path": "/a?b=1"})),
        ("h2://h", Endpoint("http2", "h", 443, {}, "system")),
        ("grpc://[::1]:9/p.S/M", Endpoint("grpc", "::1", 9, {"path": "/p.S/M"})),
        ("block:///tmp/a%20b", Endpoint("block", "/tmp/a b")),
        ("null:", Endpoint("null", "null")),
        ("postgresql://h/db", Endpoint("postgresql", "h", 0, {"url": "postgresql://h/db"})),
    ],
)
def test_a_url_says_driver_place_and_options(url: str, expected: Endpoint) -> None:
    assert parse_endpoint(url) == expected


@pytest.mark.parametrize("url", ["gopher://h", "tcp://h", "http://", "redis://h:x", "redis://h/name", "block:", "nonsense"])
def test_a_url_that_is_none_is_one_line(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_endpoint(url)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(url)


def test_options_and_trust_are_checked() -> None:
    assert parse_endpoint("http://h", ["path=/x"], ["A: b", "C: d"]).options == {"path": "/x", "headers": "A: b\nC: d"}
    with pytest.raises(UsageError, match="expected NAME=VALUE"):
        parse_endpoint("http://h", ["path"])
    with pytest.raises(UsageError, match="not over TLS"):
        parse_endpoint("http://h", trust="anybody")


def test_what_could_be_destroyed_needs_leave(tmp_path: Path) -> None:
    full, link = tmp_path / "full", tmp_path / "link"
    full.write_bytes(b"dear")
    link.symlink_to("/dev/zero")
    assert Endpoint("block", str(tmp_path / "new")).is_harmless()
    assert Endpoint("block", str(full), options={"access": "ro"}).is_harmless()
    assert not Endpoint("block", str(full)).is_harmless()
    assert not Endpoint("block", str(link), options={"access": "ro"}).is_harmless()
    assert Endpoint("tcp", "127.0.0.9", 1).is_harmless()
    assert not Endpoint("tcp", "10.0.0.1", 1).is_harmless()
