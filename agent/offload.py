"""What a network interface does in the kernel's stead: segments, merges, checksums. Read and switched by the ethtool ioctl
(linux/ethtool.h, netdevice(7)). Standard library only: the guard puts back with it what was switched off.
"""

import array
import fcntl
import socket
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_SIOCETHTOOL = 0x8946
_GSTRINGS, _GSSET_INFO, _GFEATURES, _SFEATURES = 0x1B, 0x37, 0x3A, 0x3B
_FEATURES = 4
_STRING_BYTES = 32
_OFFLOADS = ("tx-checksum", "rx-checksum", "rx-gro", "rx-lro", "rx-udp-gro", "tx-gso")
"""Beginnings of names; every kind of segmentation has that word in its name."""


@dataclass(frozen=True)
class Feature:
    active: bool
    changeable: bool


def is_offload(name: str) -> bool:
    return name.startswith(_OFFLOADS) or "segmentation" in name


def features(interface: str) -> dict[str, Feature]:
    """All features of an interface of this network namespace by the kernel's names. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        names = _names(asking, interface)
        blocks = -(-len(names) // 32)
        got = _ask(asking, interface, struct.pack("=II", _GFEATURES, blocks) + bytes(16 * blocks))
    found = {}
    for at, name in enumerate(names):
        available, _, active, never = struct.unpack_from("=4I", got, 8 + 16 * (at // 32))
        bit = 1 << at % 32
        if name:
            found[name] = Feature(bool(active & bit), bool(available & bit and not never & bit))
    return found


def switch(interface: str, wanted: Mapping[str, bool]) -> None:
    """Raises OSError. What the kernel could not do it leaves without a word: read back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        names = _names(asking, interface)
        blocks = -(-len(names) // 32)
        masks = [[0, 0] for _ in range(blocks)]
        for at, name in enumerate(names):
            if name in wanted:
                masks[at // 32][0] |= 1 << at % 32
                masks[at // 32][1] |= (1 << at % 32) * wanted[name]
        words = b"".join(struct.pack("=II", *mask) for mask in masks)
        _ask(asking, interface, struct.pack("=II", _SFEATURES, blocks) + words)


def working(interface: str) -> tuple[str, ...]:
    """The offloads that work now and can be switched off. Raises OSError."""
    return tuple(name for name, is_now in features(interface).items() if is_offload(name) and is_now.active and is_now.changeable)


def restore(interface: str, names: Iterable[str]) -> bool:
    """Switches on again what is still off. False where the kernel did not. Raises OSError."""
    names = tuple(names)
    switch(interface, dict.fromkeys(names, True))
    now = features(interface)
    return all(name in now and now[name].active for name in names)


def _names(asking: socket.socket, interface: str) -> list[str]:
    count = struct.unpack_from("=I", _ask(asking, interface, struct.pack("=IIQI", _GSSET_INFO, 0, 1 << _FEATURES, 0)), 16)[0]
    got = _ask(asking, interface, struct.pack("=III", _GSTRINGS, _FEATURES, count) + bytes(_STRING_BYTES * count))
    return [got[12 + at * _STRING_BYTES :][:_STRING_BYTES].split(b"\0")[0].decode(errors="replace") for at in range(count)]


def _ask(asking: socket.socket, interface: str, command: bytes) -> bytes:
    held = array.array("B", command)
    # struct ifreq: the name, then a pointer to the command.
    request = struct.pack("16sP16x", interface.encode()[:15], held.buffer_info()[0])
    fcntl.ioctl(asking, _SIOCETHTOOL, request)
    return held.tobytes()
