"""The analysis reads the engine's histograms exactly: merged, decoded and asked alike by three implementations."""

import base64
import math
import struct
import zlib

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import _engine
from controller.analysis import hdr


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 10**11), min_size=1, max_size=400), st.lists(st.integers(1, 10**11), max_size=50))
def test_histograms_merge_exactly_and_are_read_alike_by_others(values: list[int], more: list[int]) -> None:
    """Engine, analysis and HdrHistogram's own Python port agree; a quantile is the order statistic within three digits."""
    parts = [_v2(values), _v2(more)]
    merged = _engine.hdr_merge(parts)
    ours = hdr.decode(parts[0]) + hdr.decode(parts[1])
    theirs = HdrHistogram.decode(_compressed(merged))
    everything = sorted(values + more)
    assert _engine.hdr_count(merged) == ours.total == theirs.get_total_count() == len(everything)
    for q in (0.01, 0.5, 0.9, 0.99, 0.999, 1.0):
        exact = everything[math.ceil(q * len(everything) - 1e-9) - 1]
        value = ours.quantile(q)
        assert value == _engine.hdr_quantiles(merged, [q])[0]
        assert exact <= value <= exact * 1.001 + 1
    assert theirs.get_max_value() == ours.quantile(1.0)


def _v2(numbers: list[int]) -> bytes:
    """The uncompressed form out of the other implementation, which only writes the compressed one."""
    histogram = HdrHistogram(1, 120_000_000_000, 3)
    for number in numbers:
        histogram.record_value(number)
    return zlib.decompress(base64.b64decode(histogram.encode())[8:])


def _compressed(raw: bytes) -> bytes:
    body = zlib.compress(raw)
    return base64.b64encode(struct.pack(">ii", 0x1C849304, len(body)) + body)
