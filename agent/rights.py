"""Which capabilities this process has in force (capabilities(7), proc_pid_status(5))."""

from pathlib import Path

NET_ADMIN, SYS_ADMIN = 12, 21


def held(*numbers: int) -> bool:
    """All of these."""
    line = next((each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("CapEff:")), "CapEff: 0")
    return all(int(line.split()[1], 16) >> number & 1 for number in numbers)
