"""Traces in an object store: a real S3 server (moto's) on loopback, spoken to by Arrow's own S3 client."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import fs

from agent.cli import main
from traces.errors import InvalidInput
from traces.source import open_trace
from traces.storage import cache_folder, is_remote, local_copy, written

ROWS = "arrival_s,op,key,resp_bytes\n0.5,get,a,10\n0.75,get,b,20\n"
SECRETS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, **SECRETS},
    )  # fmt: skip
    try:
        address = f"127.0.0.1:{port}"
        for _ in range(200):
            try:
                urllib.request.urlopen(urllib.request.Request(f"http://{address}/bucket", method="PUT"), timeout=1).close()
                break
            except OSError:
                assert server.poll() is None, "the S3 server ended"
                time.sleep(0.1)
        yield address
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def store(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OFFSPEC_CACHE", str(tmp_path / "cache"))
    return endpoint


def at(store: str, name: str) -> str:
    return f"s3://bucket/{name}?scheme=http&endpoint_override={store}"


def put(store: str, name: str, text: str) -> str:
    files = fs.S3FileSystem(access_key="testing", secret_key="testing", endpoint_override=store, scheme="http")
    with files.open_output_stream(f"bucket/{name}") as sink:
        sink.write(text.encode())
    return at(store, name)


def test_only_addresses_are_remote() -> None:
    assert is_remote("s3://bucket/x.csv") and is_remote("gs://b/x")
    assert not is_remote("poisson:100,for=1s") and not is_remote("/data/x.csv") and not is_remote("C://x")


def test_an_object_is_imported_and_written_back_as_an_object(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = put(store, "in.csv", ROWS), at(store, "out/made.parquet")
    assert main(["trace", "import", source, target, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 2
    assert main(["trace", "info", target, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["arrival"]["rows"] == 2


def test_a_copy_is_used_again_until_the_object_changes(store: str) -> None:
    source = put(store, "again.csv", ROWS)
    first = local_copy(source)
    first_seen = first.stat().st_mtime_ns
    assert local_copy(source) == first and first.stat().st_mtime_ns == first_seen
    put(store, "again.csv", ROWS + "1,get,c,5\n")
    assert sum(batch.num_rows for batch in open_trace(source).batches()) == 3
    assert not list(cache_folder().rglob("*.part"))


def test_what_is_not_there_is_one_line(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "info", at(store, "absent.csv")]) == 3
    assert "absent.csv" in (line := capsys.readouterr().err) and "no such object" in line and line.count("\n") == 1
    with pytest.raises(InvalidInput, match="expected an object"):
        open_trace("nonsense://bucket/x")
    assert main(["trace", "import", put(store, "in.csv", ROWS), at(store, "x.parquet").replace("bucket", "nobucket")]) == 3
    assert capsys.readouterr().err.count("\n") == 1


def test_nothing_is_written_where_the_import_fails(store: str) -> None:
    target = at(store, "half.parquet")
    with pytest.raises(InvalidInput), written(target) as path:
        path.write_bytes(b"half")
        raise InvalidInput("the trace broke")
    with pytest.raises(InvalidInput, match="no such object"):
        local_copy(target)
