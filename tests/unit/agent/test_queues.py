"""What a queue is told is what the kernel's own structures say: units, places, and attributes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import queues

SHARES = st.floats(0, 1)
TIMES = st.integers(0, 10_000_000_000)


def attributes(options: bytes) -> dict[int, bytes]:
    found = {}
    while options:
        length, kind = struct.unpack_from("=HH", options)
        found[kind] = options[4:length]
        options = options[(length + 3) & ~3 :]
    return found


@given(delay_ns=TIMES, jitter_ns=TIMES, lost=SHARES)
def test_netem_is_told_its_delay_jitter_limit_and_loss_in_the_units_of_tc_netem_qopt(delay_ns: int, jitter_ns: int, lost: float) -> None:
    told = queues.netem(delay_ns=delay_ns, jitter_ns=jitter_ns, lost=lost)
    latency, limit, loss, gap, duplicate, jitter = struct.unpack_from("=6I", told)
    exact = {kind: struct.unpack("=q", value)[0] for kind, value in attributes(told[24:]).items()}
    assert exact == {10: delay_ns + jitter_ns // 2, 11: jitter_ns // 2}, "TCA_NETEM_LATENCY64 and TCA_NETEM_JITTER64, in ns"
    assert latency == exact[10] // 64 and jitter == exact[11] // 64, "ticks of 64 ns"
    assert exact[10] - exact[11] >= delay_ns, "its even draw begins at the delay and is never before its time"
    assert exact[10] + exact[11] <= delay_ns + jitter_ns
    assert loss == min(2**32 - 1, round(lost * 2**32)) and (gap, duplicate) == (0, 0)
    assert limit >= 1000 and limit >= (delay_ns + jitter_ns) / 1e9 * 1e6, "a million packets a second find room for as long as they wait"


def test_a_delay_of_ten_milliseconds_and_a_loss_of_a_quarter_in_bytes() -> None:
    told = queues.netem(delay_ns=10_000_000, lost=0.25)
    assert told[:24] == struct.pack("=6I", 156_250, 11_000, 0x40000000, 0, 0, 0)


@given(st.integers(12_500, 50_000_000_000))
def test_a_token_bucket_is_told_bytes_a_second_of_ethernet_with_room_for_frames(bytes_per_s: int) -> None:
    told = attributes(queues.tbf(bytes_per_s))
    rate, limit = struct.unpack_from("=I", told[1], 8)[0], struct.unpack_from("=I", told[1], 24)[0]
    burst = struct.unpack("=I", told[6])[0]
    assert len(told[1]) == 36 and told[1][1] == 1, "struct tc_tbf_qopt; TC_LINKLAYER_ETHERNET, for which no table of rates is wanted"
    wide = struct.unpack("=Q", told[4])[0] if 4 in told else rate
    assert wide == bytes_per_s and rate == min(bytes_per_s, 2**32 - 1)
    assert burst >= 2 * 1514 and burst == pytest.approx(max(2 * 1514, bytes_per_s * 0.001), abs=1)
    assert limit >= burst + 2 * 1514 or limit == 2**32 - 1


@given(SHARES)
def test_the_filter_of_loss_draws_and_drops_below_the_share(lost: float) -> None:
    told = attributes(queues.loss_filter(lost))
    assert struct.unpack("=H", told[4])[0] == 4 and struct.unpack("=I", told[8])[0] == 1
    load, jump, go_on, drop = (struct.unpack_from("=HBBI", told[5], at * 8) for at in range(4))
    assert load == (0x20, 0, 0, 0xFFFFF038)
    assert jump == (0x35, 0, 1, queues.probability(lost)), "at least the share: the next line; below it: the one after"
    assert go_on == (0x06, 0, 0, 0xFFFFFFFF) and drop == (0x06, 0, 0, 2)
