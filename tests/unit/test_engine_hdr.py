"""Histogram blobs of the engine: readable by other HDR tools, merged without a rounding."""

import base64
import socket
import threading
import zlib
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

engine: Any = pytest.importorskip("agent._engine", reason="the native module is not built: make setup")

HOUR_NS = 3_600_000_000_000
V2_COMPRESSED = 0x1C849304
V2_PLAIN = 0x1C849303


def plain(histogram: HdrHistogram) -> bytes:
    """The V2 encoding without its compression and base64, as other tools and the engine store it."""
    packed = base64.b64decode(histogram.encode())
    assert int.from_bytes(packed[:4], "big") & ~0xF0 == V2_COMPRESSED & ~0xF0
    return zlib.decompress(packed[8:])


def other_tool(blob: bytes) -> HdrHistogram:
    """Reads a plain V2 blob by PyPI's hdrhistogram, which wants it compressed."""
    body = zlib.compress(blob)
    head = (V2_COMPRESSED | 0x10).to_bytes(4, "big") + len(body).to_bytes(4, "big")
    return HdrHistogram.decode(base64.b64encode(head + body))


def of(values: Sequence[int]) -> HdrHistogram:
    histogram = HdrHistogram(1, HOUR_NS, 3)
    for value in values:
        histogram.record_value(value)
    return histogram


VALUES = st.lists(st.integers(1, HOUR_NS), max_size=60)


@settings(max_examples=25, deadline=None)
@given(parts=st.lists(VALUES, max_size=5))
def test_merging_gives_the_same_counts_as_recording_all_in_one(parts: list[list[int]]) -> None:
    merged = engine.hdr_merge([plain(of(values)) for values in parts])
    whole = of([value for values in parts for value in values])
    assert engine.hdr_count(merged) == whole.total_count
    read = other_tool(merged)
    assert int.from_bytes(merged[:4], "big") & ~0xF0 == V2_PLAIN & ~0xF0
    assert {i.value_iterated_to: i.count_at_value_iterated_to for i in read.get_recorded_iterator()} == {
        i.value_iterated_to: i.count_at_value_iterated_to for i in whole.get_recorded_iterator()
    }


@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.integers(1, HOUR_NS), min_size=1, max_size=100))
def test_quantiles_agree_with_the_other_tool_within_three_digits(values: list[int]) -> None:
    histogram = of(values)
    ours = engine.hdr_quantiles(plain(histogram), [0.0, 0.5, 0.99, 1.0])
    theirs = [histogram.get_value_at_percentile(p) for p in (0, 50, 99, 100)]
    for our, their in zip(ours, theirs, strict=True):
        assert our == pytest.approx(their, rel=2e-3, abs=1)


def test_merging_nothing_gives_an_empty_histogram() -> None:
    empty = engine.hdr_merge([])
    assert engine.hdr_count(empty) == 0
    assert engine.hdr_quantiles(empty, [0.5]) == [0]


def test_what_does_not_merge_exactly_is_refused_by_part() -> None:
    coarse = HdrHistogram(1, HOUR_NS, 2)
    coarse.record_value(5)
    with pytest.raises(ValueError, match="part 1: 2 digits"):
        engine.hdr_merge([plain(of([5])), plain(coarse)])
    with pytest.raises(ValueError, match="part 0: not an HdrHistogram"):
        engine.hdr_merge([b"no histogram"])


@pytest.mark.parametrize("quantile", [-0.1, 1.1, float("nan")])
def test_a_quantile_out_of_range_is_refused(quantile: float) -> None:
    with pytest.raises(ValueError, match="expected 0 to 1"):
        engine.hdr_quantiles(engine.hdr_merge([]), [quantile])


def test_a_replay_writes_blobs_that_the_other_tool_reads() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def echo() -> None:
            peer, _ = listener.accept()
            with peer:
                while data := peer.recv(4096):
                    peer.sendall(data)

        threading.Thread(target=echo, daemon=True).start()
        port = listener.getsockname()[1]
        run = engine.Replay(driver="tcp", host="127.0.0.1", port=port, connections=1)
        run.connect()
        intervals: list[Any] = []
        table = pa.table({"arrival_ns": pa.array(range(0, 100_000_000, 1_000_000), pa.int64())})
        run.run(table, engine.monotonic_ns(), intervals.extend)
    [interval] = intervals
    for blob in (interval.slip, interval.service, interval.response):
        read = other_tool(blob)
        assert read.total_count == engine.hdr_count(blob) == 100
        assert read.get_value_at_percentile(50) == pytest.approx(engine.hdr_quantiles(blob, [0.5])[0], rel=2e-3)


@pytest.mark.parametrize(
    ("key_id", "key_bytes", "text"),
    [(0, 0, "0"), (0, 4, "0000"), (0xAB, 4, "00ab"), (0xABCDEF, 2, "abcdef"), (2**64 - 1, 1, "f" * 16)],
)
def test_a_key_is_its_hex_padded_to_its_size(key_id: int, key_bytes: int, text: str) -> None:
    assert engine.key_text(key_id, key_bytes) == text
