"""How much memory a neighbour may have without starving the machine: a twentieth of it, 512 MiB at least, stays."""

import os
from pathlib import Path

_LEFT_BYTES = 512 << 20
_LEFT_SHARE = 0.05


def whole_bytes() -> int:
    return int(os.sysconf("SC_PHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE"))


def ever_bytes() -> float:
    """What could be lent if nothing else ran."""
    return max(0.0, whole_bytes() - max(_LEFT_BYTES, _LEFT_SHARE * whole_bytes()))


def now_bytes() -> float:
    """What can be lent now, by the kernel's own estimate of what is available without swapping."""
    available = int(os.sysconf("SC_AVPHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE"))
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
    return max(0.0, available - (whole_bytes() - ever_bytes()))
