"""What the figures were taken on."""

import contextlib
import os
import platform
import re
import resource
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[3]


def cpu_model() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    return found.group(1).strip() if found else platform.machine()


def commit() -> str:
    """Short hash; a `+` behind it if the tree has changes; "?" outside of git."""
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "?"
    return said.stdout.strip()


def steal_s() -> float:
    """Of all cores, since the machine started."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


def taken_s(cores: Collection[int]) -> float:
    """CPU time of these cores that somebody had since the machine started, the hypervisor's part (steal) with it; to 10 ms."""
    total = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in {f"cpu{core}" for core in cores}:
            user, nice, system, _, _, irq, softirq, steal = (int(each) for each in fields[:8])
            total += user + nice + system + irq + softirq + steal
    return total / os.sysconf("SC_CLK_TCK")


def ours_s() -> float:
    """CPU time of this process, of its children that have ended, and of those that live: between two runs, the server."""
    told = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        told += used.ru_utime + used.ru_stime
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            told += times.user + times.system
    return told


def machine(stolen_before_s: float) -> dict[str, Any]:
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "steal_s": round(steal_s() - stolen_before_s, 2),
    }
