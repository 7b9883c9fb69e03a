"""What this node is and can do: facts that the kernel declares, labels for `where`, and a capability for each violation.

Declared facts only; what is unreadable is absent, never guessed. Takes milliseconds and changes nothing.
"""

import hashlib
import os
import platform
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent import calibrated, policy, topology
from agent.scope import Cgroups
from agent.undo import boot_id
from agent.violations import registry


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def machine_id() -> str:
    """A stable name of the machine that does not give its machine-id away."""
    raw = _read("/etc/machine-id") or f"{socket.gethostname()}"
    return hashlib.blake2b(raw.encode(), digest_size=8, person=b"offspec").hexdigest()


def _cpuinfo() -> dict[str, str]:
    found: dict[str, str] = {}
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() and key.strip() not in found:
            found[key.strip()] = value.strip()
        if not line:
            break
    return found


def _memory_bytes() -> int:
    return int(os.sysconf("SC_PHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE"))


def cores() -> list[int]:
    """Cores that this process may use at all (its cpuset), whatever its own affinity is now."""
    text = next(
        (line for line in (_read("/proc/1/status") or "").splitlines() if line.startswith("Cpus_allowed_list")),
        "",
    )
    listed = text.partition(":")[2].strip()
    if not listed:
        return sorted(os.sched_getaffinity(0))
    found = topology.cpu_list(listed)
    online = os.cpu_count() or 1
    return [c for c in found if c < online]


def fingerprint(cgroups: Cgroups) -> dict[str, Any]:
    cpu = _cpuinfo()
    caches = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (_read(str(index / n)) for n in ("level", "type", "size"))
        caches[f"L{level} {kind}"] = size
    facts: dict[str, Any] = {
        "hostname": socket.gethostname(),
        "machine_id": machine_id(),
        "boot_id": boot_id(),
        "cpu_model": cpu.get("model name") or platform.processor() or platform.machine(),
        "cpu_vendor": cpu.get("vendor_id"),
        "microcode": cpu.get("microcode"),
        "flags_hash": hashlib.blake2b(cpu.get("flags", "").encode(), digest_size=6).hexdigest(),
        "cores": len(cores()),
        "caches_declared": caches,
        "memory_bytes": _memory_bytes(),
        "kernel": platform.release(),
        "kernel_cmdline_hash": hashlib.blake2b((_read("/proc/cmdline") or "").encode(), digest_size=6).hexdigest(),
        "clocksource": _read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "smt": _read("/sys/devices/system/cpu/smt/control"),
        "transparent_hugepage": _read("/sys/kernel/mm/transparent_hugepage/enabled"),
        "numa_nodes": len(list(Path("/sys/devices/system/node").glob("node[0-9]*"))) or 1,
        "cgroup_version": cgroups.version,
        "virtual": "hypervisor" in cpu.get("flags", ""),
        "python": platform.python_version(),
        "load_1min": os.getloadavg()[0],
    }
    return {name: value for name, value in facts.items() if value is not None}


def labels(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts that a campaign may select nodes by."""
    chosen = (
        "hostname",
        "machine_id",
        "cpu_model",
        "cpu_vendor",
        "cores",
        "kernel",
        "numa_nodes",
        "virtual",
        "smt",
        "governor",
    )
    return {n: facts[n] for n in chosen if n in facts} | {"mem_gib": round(facts["memory_bytes"] / 2**30, 1)}


def probe(cgroups: Cgroups) -> dict[str, Any]:
    """The answer to the controller's Probe."""
    facts = fingerprint(cgroups)
    count = len(cores())
    tried = calibrated.known()
    able = {n: replace(violation.probe(cgroups, count), calibrated=tried.get(n)) for n, violation in registry().items()}
    ruled, mine = policy.ruled(able), policy.cores_of(cores())
    found = {"fingerprint": facts, "labels": labels(facts), "cores": mine, "capabilities": {n: each.to_json() for n, each in ruled.items()}}
    return found | {"topology": topology.here().to_json()}
