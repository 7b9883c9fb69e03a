"""Datagrams to a sink of our own: what `net` (bits) and `softirq` (packets) share.

In a network namespace that ends with the process, where we may make one: its loopback has the kernel's own counters, and nobody else's
packets are in them. Else on the node's loopback, or on the address that was asked for, by the sender's own count.
"""

import os
from collections.abc import Mapping
from functools import cache

from agent import kernel_counts
from agent.launcher import LaunchFailed, spawn
from agent.paced import OWN_COUNT, Counter, Order

_HEADERS_BYTES = {4: 28, 6: 48}
"""IP and UDP."""
_OWN_NETWORK = ({"step": "own-network"},)
_LOOPBACK = "127.0.0.1"


@cache
def may_have_own_network() -> bool:
    """Whether a child may have a network namespace: it is tried with one that ends at once."""
    if os.geteuid() != 0:
        return False
    try:
        return spawn(["true"], env={}, prelude=_OWN_NETWORK).process.wait(10) == 0
    except LaunchFailed:
        return False


def mechanism(address: str | None) -> str:
    if address is not None:
        return f"paced native datagrams to {address}"
    return f"paced native datagrams over loopback{' of its own' if may_have_own_network() else ''}"


def _bytes(pid: int) -> int:
    return kernel_counts.received(pid)[0]


def _packets(pid: int) -> int:
    return kernel_counts.received(pid)[1]


def order(name: str, options: Mapping[str, str], packet_bytes: int, unit_bytes: float | None, place: str) -> Order:
    """Packets of so many bytes, IP header included; one unit of dose is `unit_bytes`, or a packet."""
    address = options.get("address")
    apart = address is None and may_have_own_network()
    headers = _HEADERS_BYTES[6 if address is not None and ":" in address else 4]
    size = max(headers, round(float(options.get("packet_bytes", packet_bytes))))
    if apart:
        counter = Counter("lo rx_packets", _packets) if unit_bytes is None else Counter("lo rx_bytes", _bytes)
    else:
        counter = OWN_COUNT
    by_bytes = apart and unit_bytes is not None
    per_unit = 1.0 if unit_bytes is None else unit_bytes if by_bytes else unit_bytes / size
    return Order(
        name, "packets", mechanism(address), per_unit, fidelity="exact" if apart else "equivalent", place=place,
        numbers={"payload_bytes": size - headers}, address=address or _LOOPBACK, prelude=_OWN_NETWORK if apart else (),
        counter=counter, counted_per_paced=float(size) if by_bytes else 1.0,
    )  # fmt: skip
