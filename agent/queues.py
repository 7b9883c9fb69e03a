"""Settings of the kernel's queueing disciplines, and of the filter that loses packets, as the bytes that rtnetlink takes. Pure.

Layouts: linux/pkt_sched.h (tc_netem_qopt, tc_tbf_qopt), linux/pkt_cls.h (TCA_BPF_*), linux/filter.h (sock_filter); times within are ticks
of 64 ns (PSCHED_SHIFT of net/pkt_sched.h).
"""

import struct

from agent.marks import QDISC_MAJOR

HANDLE = QDISC_MAJOR << 16
FRAME_BYTES = 1514
"""The largest frame of an Ethernet link of 1500 bytes, as the kernel counts it: without preamble and checksum."""
QUEUE_S = 0.05
"""What a narrow link holds before it drops, as of the relay's datagrams."""
_BURST_S = 0.001
_TICK_NS = 64
_U32 = (1 << 32) - 1
_NETEM_LATENCY64, _NETEM_JITTER64 = 10, 11
_LEAST_PACKETS = 1000
_PACKETS_PER_S = 1_000_000
_TBF_PARMS, _TBF_RATE64, _TBF_BURST = 1, 4, 6
_ETHERNET = 1
_BPF_OPS_LEN, _BPF_OPS, _BPF_FLAGS = 4, 5, 8
_DIRECT_ACTION = 1
_SHOT, _UNSPECIFIED = 2, _U32
_LOAD_RANDOM = 0xFFFFF000 + 56
"""SKF_AD_OFF + SKF_AD_RANDOM: a classic filter's way to draw a number of 32 bits."""
_LOAD, _JUMP_AT_LEAST, _RETURN = 0x20, 0x35, 0x06


def _attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def probability(share: float) -> int:
    """A share of 1 as the kernel compares it with an even draw of 32 bits."""
    return min(_U32, round(share * (1 << 32)))


def netem(*, delay_ns: int = 0, jitter_ns: int = 0, lost: float = 0.0) -> bytes:
    """Each packet is late by `delay_ns` and an even draw from 0 up to `jitter_ns`; the share `lost` of them never arrives.

    netem itself draws evenly from latency - jitter up to latency + jitter (tabledist in net/sched/sch_netem.c). It holds as many packets as
    a million a second are in the longest delay: beyond its limit it would drop, which nobody asked for.
    """
    half_ns = jitter_ns // 2
    latency_ns = delay_ns + half_ns
    limit = _LEAST_PACKETS + -(-(delay_ns + jitter_ns) * _PACKETS_PER_S // 1_000_000_000)
    ticks = [min(_U32, ns // _TICK_NS) for ns in (latency_ns, half_ns)]
    head = struct.pack("=6I", ticks[0], limit, probability(lost), 0, 0, ticks[1])
    # The ticks are for kernels that do not know the exact times (before 4.15).
    return head + _attribute(_NETEM_LATENCY64, struct.pack("=q", latency_ns)) + _attribute(_NETEM_JITTER64, struct.pack("=q", half_ns))


def tbf(bytes_per_s: int) -> bytes:
    """A link that carries so many bytes of frames a second: a millisecond of them at once, two frames at least, and 50 ms in its queue."""
    burst = max(2 * FRAME_BYTES, round(bytes_per_s * _BURST_S))
    limit = min(_U32, burst + max(2 * FRAME_BYTES, round(bytes_per_s * QUEUE_S)))
    rate = struct.pack("=BBHhHI", 0, _ETHERNET, 0, 0, 0, min(_U32, bytes_per_s))
    parms = rate + bytes(12) + struct.pack("=3I", limit, 0, 0)
    wide = _attribute(_TBF_RATE64, struct.pack("=Q", bytes_per_s)) if bytes_per_s > _U32 else b""
    return _attribute(_TBF_PARMS, parms) + wide + _attribute(_TBF_BURST, struct.pack("=I", burst))


def loss_program(lost: float) -> bytes:
    """Draws a number for each packet: below the share it is dropped, else whoever comes next decides."""
    lines = [(_LOAD, 0, 0, _LOAD_RANDOM), (_JUMP_AT_LEAST, 0, 1, probability(lost)), (_RETURN, 0, 0, _UNSPECIFIED), (_RETURN, 0, 0, _SHOT)]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def loss_filter(lost: float) -> bytes:
    """Options of a classifier `bpf` that decides by itself (direct action)."""
    program = loss_program(lost)
    return (
        _attribute(_BPF_OPS_LEN, struct.pack("=H", len(program) // 8))
        + _attribute(_BPF_OPS, program)
        + _attribute(_BPF_FLAGS, struct.pack("=I", _DIRECT_ACTION))
    )
