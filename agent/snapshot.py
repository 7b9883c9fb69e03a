"""What of a machine must be after a trial as it was before: taken at both ends, compared by a pure function.

What bears a mark of ours (agent/marks.py) must be gone. Settings that anybody may have changed must have the value that they had. What
comes and goes by itself on a living machine (others' mounts, links, rules) is told, and held against nobody.
"""

import contextlib
import glob
import os
import socket
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import offload
from agent.marks import CGROUP, FOLDER_MARK, LINK, NAMESPACE, QDISC_MAJOR, RULE, TEMPORARY, TOKEN
from agent.undo import swaps

SETTINGS = (
    "proc/sys/kernel/{io_uring_disabled,numa_balancing,perf_event_paranoid,sched_rt_runtime_us,sched_rt_period_us,timer_migration}",
    "proc/sys/vm/{swappiness,overcommit_memory,overcommit_ratio,dirty_ratio,dirty_background_ratio,dirty_bytes,nr_hugepages}",
    "proc/sys/vm/{nr_overcommit_hugepages,zone_reclaim_mode,compaction_proactiveness}",
    "proc/sys/net/core/{rmem_max,wmem_max,rmem_default,wmem_default,somaxconn,netdev_max_backlog,default_qdisc,busy_poll,busy_read}",
    "proc/sys/net/ipv4/{tcp_congestion_control,tcp_rmem,tcp_wmem,tcp_timestamps,tcp_sack,tcp_fastopen,tcp_slow_start_after_idle}",
    "proc/sys/net/ipv4/{tcp_tw_reuse,ip_forward,ip_local_port_range}",
    "sys/kernel/mm/transparent_hugepage/{enabled,defrag,shmem_enabled}",
    "sys/kernel/mm/hugepages/*/nr_hugepages",
    "sys/kernel/mm/ksm/run",
    "sys/devices/system/node/node*/hugepages/*/nr_hugepages",
    "sys/devices/system/cpu/{online,smt/control,cpufreq/boost,intel_pstate/no_turbo}",
    "sys/devices/system/cpu/cpufreq/policy*/{scaling_governor,scaling_min_freq,scaling_max_freq,energy_performance_preference}",
    "sys/devices/system/cpu/cpu*/cpuidle/state*/disable",
    "sys/devices/system/clocksource/clocksource0/current_clocksource",
    "sys/class/powercap/*/constraint_*_power_limit_uw",
    "sys/block/*/queue/{scheduler,nr_requests,read_ahead_kb,rq_affinity,nomerges,write_cache}",
    "sys/class/net/*/{mtu,tx_queue_len,gro_flush_timeout}",
)
"""The values that a violation may touch, now or one day; {a,b} stands for either."""
_MARKED = (
    "process", "cgroup", "namespace", "our link", "our queue", "our rule", "our mount", "our swap", "folder", "cache group", "journal",
)  # fmt: skip
_KEPT = ("setting", "agent")
_TOOL_S = 5.0


@dataclass(frozen=True)
class Change:
    """`part` and `name` say what; None: not there. `ours`: it must be mended before the next trial."""

    part: str
    name: str
    before: str | None
    after: str | None
    ours: bool

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.part} {self.name}" + (f" ({self.after})" if self.after else "")
        if self.after is None:
            return f"{self.part} {self.name} is gone"
        return f"{self.part} {self.name} was {self.before}, is {self.after}"


@dataclass(frozen=True)
class Snapshot:
    """part -> name -> value."""

    parts: Mapping[str, Mapping[str, str]]

    def to_json(self) -> dict[str, Any]:
        return {part: dict(entries) for part, entries in self.parts.items()}


@dataclass(frozen=True)
class Cleanup:
    """A verdict apart from that on the measurement: it never takes results away."""

    left: tuple[str, ...]
    changed: tuple[str, ...]

    @property
    def verdict(self) -> str:
        return "dirty" if self.left else "clean"

    def to_json(self) -> dict[str, Any]:
        return {"verdict": self.verdict, "left": list(self.left), "changed": list(self.changed)}


def diff(before: Snapshot, after: Snapshot) -> tuple[Change, ...]:
    """What differs, part by part. Pure."""
    found = []
    for part in sorted({*before.parts, *after.parts}):
        was, is_now = before.parts.get(part, {}), after.parts.get(part, {})
        for name in sorted({*was, *is_now}):
            if was.get(name) == is_now.get(name):
                continue
            # A setting of a device that came or went is not one that somebody changed.
            both = name in was and name in is_now
            ours = (part in _MARKED and name in is_now) or (part in _KEPT and both)
            if part not in _KEPT or both:
                found.append(Change(part, name, was.get(name), is_now.get(name), ours))
    return tuple(found)


def cleanup(before: Snapshot, after: Snapshot) -> Cleanup:
    changes = diff(before, after)
    return Cleanup(tuple(str(c) for c in changes if c.ours), tuple(str(c) for c in changes if not c.ours))


def take(state_dir: Path, mine: Callable[[str], bool], work: Path | None = None, root: Path = Path("/")) -> Snapshot:
    """A look at this machine. `mine`: which leases' marks count; `work`: where this agent has its folders; `root` is a seam for tests."""
    return Snapshot(
        {
            "setting": settings(root) | offloads(),
            "agent": _self(),
            "process": processes(mine),
            "cgroup": cgroups(root, mine),
            "folder": folders(work or state_dir / "work"),
            "journal": {path.name: "" for path in state_dir.glob("undo/*.jsonl") if mine(path.stem.rpartition("-")[2])},
            **network(),
            **_named(root),
            **mounts(root),
            **rules(),
            **swap_areas(root),
        }
    )


def settings(root: Path) -> dict[str, str]:
    found = {}
    for pattern in SETTINGS:
        for each in _spelled_out(pattern):
            for path in glob.glob(each, root_dir=root):  # noqa: PTH207 (a path may go while we look, and pathlib minds)
                try:
                    found[path] = (root / path).read_text().strip()
                except (OSError, UnicodeDecodeError):
                    continue  # not readable here, so not ours to change either
    return found


def offloads() -> dict[str, str]:
    """What each network interface does in the kernel's stead."""
    found = {}
    for _, name in socket.if_nameindex():
        with contextlib.suppress(OSError):  # gone meanwhile, or a driver without features
            found[f"offloads of {name}"] = " ".join(offload.working(name))
    return found


def _spelled_out(pattern: str) -> Iterable[str]:
    head, brace, rest = pattern.partition("{")
    if not brace:
        return [pattern]
    words, _, tail = rest.partition("}")
    return [f"{head}{word}{tail}" for word in words.split(",")]


def _self() -> dict[str, str]:
    return {"affinity": ",".join(map(str, sorted(os.sched_getaffinity(0)))), "nice": str(os.getpriority(os.PRIO_PROCESS, 0))}


def processes(mine: Callable[[str], bool]) -> dict[str, str]:
    """Live processes with our token: "<pid>@<start>" -> their command."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            environ = Path(f"/proc/{entry}/environ").read_bytes().split(b"\0")
            token = next((each for each in environ if each.startswith(TOKEN.encode())), None)
            if token is None or not mine(token.decode(errors="replace").removeprefix(TOKEN).partition("/")[0]):
                continue
            fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            command = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if fields[0] not in "ZX":
            found[f"{entry}@{fields[19]}"] = command[:120]
    return found


def cgroups(root: Path, mine: Callable[[str], bool]) -> dict[str, str]:
    """Our groups in every hierarchy, v1 or v2."""
    tops = [root / "sys/fs/cgroup" / CGROUP, *(root / "sys/fs/cgroup").glob(f"*/{CGROUP}")]
    return {str(scope): "" for top in tops for lease in _folders_in(top) if mine(lease.name) for scope in _folders_in(lease)}


def _folders_in(path: Path) -> list[Path]:
    """None where it is not there, or goes while we look: groups come and go at any time."""
    try:
        return [Path(entry.path) for entry in os.scandir(path) if entry.is_dir()]
    except OSError:
        return []


def folders(work: Path) -> dict[str, str]:
    return {folder: "" for folder, _, names in os.walk(work) if FOLDER_MARK in names}


def _named(root: Path) -> dict[str, dict[str, str]]:
    """What is ours by its name alone, and so looked at whoever made it."""
    spaces = [p for p in (root / "run/netns").glob("*")]
    return {
        "namespace": {p.name: "" for p in spaces if p.name.startswith(NAMESPACE)},
        "other namespace": {p.name: "" for p in spaces if not p.name.startswith(NAMESPACE)},
        "cache group": {p.name: "" for p in (root / "sys/fs/resctrl").glob(f"{CGROUP}*") if p.is_dir()},
    }


def network() -> dict[str, dict[str, str]]:
    """Links and queueing disciplines of this network namespace; empty where the kernel does not say."""
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    found: dict[str, dict[str, str]] = {"our link": {}, "link": {}, "our queue": {}, "queue": {}}
    try:
        with IPRoute() as route:
            names = {}
            for link in route.get_links():
                name = names[link["index"]] = str(link.get_attr("IFLA_IFNAME"))
                found["our link" if name.startswith(LINK) else "link"][name] = f"mtu {link.get_attr('IFLA_MTU')}"
            for queue in route.get_qdiscs():
                if not queue["handle"]:
                    continue  # the kernel's own default
                major = queue["handle"] >> 16
                where = f"{names.get(queue['index'], queue['index'])} {major:x}:"
                found["our queue" if major == QDISC_MAJOR else "queue"][where] = str(queue.get_attr("TCA_KIND"))
    except (OSError, NetlinkError):
        return {}
    return found


def mounts(root: Path) -> dict[str, dict[str, str]]:
    """Mount points of this mount namespace -> what is there."""
    found: dict[str, dict[str, str]] = {"our mount": {}, "mount": {}}
    try:
        lines = (root / "proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        words, _, kind = line.partition(" - ")
        point = words.split()[4]
        found["our mount" if f"/{TEMPORARY}" in point else "mount"][point] = " ".join(kind.split()[:2])
    return found


def swap_areas(root: Path) -> dict[str, dict[str, str]]:
    """Swap areas in use -> their size in bytes."""
    found: dict[str, dict[str, str]] = {"our swap": {}, "swap": {}}
    for path, (size, _) in swaps(root / "proc/swaps").items():
        found["our swap" if Path(path).name.startswith(TEMPORARY) else "swap"][path] = str(size)
    return found


def rules() -> dict[str, dict[str, str]]:
    """Firewall rules by the tools that are there; a rule is its own name."""
    lines = [*_said("nft", "-s", "list", "ruleset"), *_said("iptables-save"), *_said("ip6tables-save")]
    kept = [line.strip() for line in lines if not line.startswith((":", "#", "*", "COMMIT"))]
    return {"our rule": {line: "" for line in kept if RULE in line}, "rule": {line: "" for line in kept if RULE not in line}}


def _said(*command: str) -> list[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_TOOL_S).stdout.splitlines()
    except (OSError, subprocess.TimeoutExpired):
        return []
