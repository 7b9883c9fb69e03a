"""A scope owns every process of one purpose: the system under test, one antagonist. Limits are set on it, use is read from it,
and it ends whole, whatever its processes did (setsid, double fork).

Works with cgroup v2, with v1 (and a v2 mount beside it for killing), and without cgroups: then a token in the environment tells
the members, and limits are refused.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from agent.launcher import Child, spawn
from agent.ledger import Ledger
from agent.undo import kill_members, members

_NO_LIMIT = 1 << 60
"""cgroup v1 has no word for "unlimited": a number of pages that no machine has stands for it."""


@dataclass(frozen=True)
class Cgroups:
    """What this node's cgroups can do. `root` is a seam for tests."""

    root: Path = Path("/sys/fs/cgroup")

    @cached_property
    def version(self) -> int:
        """2, 1, or 0 for none that we may write."""
        if self._usable(self.root) and "cpu" in self._read(self.root / "cgroup.controllers").split():
            return 2
        return 1 if self._usable(self.root / "cpu") else 0

    def _read(self, path: Path) -> str:
        try:
            return path.read_text()
        except OSError:
            return ""

    def _usable(self, path: Path) -> bool:
        return (path / "cgroup.procs").exists() and os.access(path, os.W_OK)

    def homes(self) -> dict[str, Path]:
        """Hierarchies that a scope lives in: `cpu`, `memory`, `io` and `devices` for limits, `cpuacct` for use, `kill` for ending it at one
        stroke, which is always of version 2.
        """
        if self.version == 2:
            able = self._read(self.root / "cgroup.controllers").split()
            more: dict[str, Path] = {name: self.root for name in ("memory", "io") if name in able}
            return {"cpu": self.root, "cpuacct": self.root, **more, "kill": self.root}
        found = {name: self.root / name for name in ("cpu", "cpuacct", "memory") if self._usable(self.root / name)}
        if self._usable(self.root / "blkio"):
            found["io"] = self.root / "blkio"
        if self._usable(self.root / "devices"):
            found["devices"] = self.root / "devices"
        if self._usable(self.root / "unified"):
            found["kill"] = self.root / "unified"
        return found


class Scope:
    """One scope. Made with its undo step recorded first; `end` is that step."""

    def __init__(self, name: str, ledger: Ledger, cgroups: Cgroups) -> None:
        self.name = name
        self.token = f"OFFSPEC_SCOPE={ledger.lease}/{name}"
        self.version = cgroups.version
        self._ledger = ledger
        self._cgroups = cgroups
        self._at = {kind: home / "offspec" / ledger.lease / name for kind, home in cgroups.homes().items()}
        self.paths = list(dict.fromkeys(str(p) for p in self._at.values()))
        self._undo = ledger.record({"kind": "scope", "name": name, "paths": self.paths, "token": self.token})
        for kind, path in self._at.items():
            _make(path)
            if cgroups.version == 2 and kind in ("cpu", "memory", "io"):
                self._delegate(path, kind)

    def _delegate(self, path: Path, controller: str) -> None:
        for parent in reversed(path.relative_to(self._cgroups.root).parents):
            control = self._cgroups.root / parent / "cgroup.subtree_control"
            if control.exists() and controller not in control.read_text().split():
                control.write_text(f"+{controller}")

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cores: Sequence[int] = (),
        cwd: str | None = None,
        output: IO[bytes] | int = subprocess.DEVNULL,
        prelude: Sequence[Mapping[str, Any]] = (),
        held: Sequence[int] = (),
    ) -> Child:
        """Starts a program in the scope. Raises launcher.LaunchFailed."""
        name, _, value = self.token.partition("=")
        env = {**(env or {}), name: value}
        return spawn(argv, env=env, cgroups=self.paths, cores=cores, cwd=cwd, output=output, prelude=prelude, held=held)

    def members(self) -> list[int]:
        return members(self.paths, self.token)

    def kill(self) -> list[int]:
        """Ends every process in it, keeps the scope; returns who would not go."""
        return kill_members(self.paths, self.token)

    def end(self) -> str:
        """Kills and removes; returns how that went (agent.undo)."""
        return self._ledger.undo(self._undo)

    @property
    def v2_path(self) -> Path | None:
        """Its directory in the hierarchy of version 2, None where there is none that we may write."""
        return self._at.get("kill")

    @property
    def devices_path(self) -> Path | None:
        """Its directory in the devices hierarchy of version 1."""
        return self._at.get("devices")

    @property
    def limits(self) -> bool:
        """Whether quota and weight can be set."""
        return "cpu" in self._at

    def set_quota(self, share: float, period_us: int) -> None:
        """At most `share` of one CPU (2.0: two CPUs) in each period."""
        quota = max(1000, round(share * period_us))
        if self.version == 2:
            (self._at["cpu"] / "cpu.max").write_text(f"{quota} {period_us}")
        else:
            # Each writing fills the period anew: what need not be written would be given on top.
            if int((self._at["cpu"] / "cpu.cfs_period_us").read_text()) != period_us:
                (self._at["cpu"] / "cpu.cfs_quota_us").write_text("-1")
                (self._at["cpu"] / "cpu.cfs_period_us").write_text(str(period_us))
            (self._at["cpu"] / "cpu.cfs_quota_us").write_text(str(quota))

    def clear_quota(self) -> None:
        if self.version == 2:
            (self._at["cpu"] / "cpu.max").write_text("max 100000")
        else:
            (self._at["cpu"] / "cpu.cfs_quota_us").write_text("-1")

    def quota(self) -> float | None:
        """The share of one CPU in force, read back; None without a limit."""
        if self.version == 2:
            quota, period = (self._at["cpu"] / "cpu.max").read_text().split()
            return None if quota == "max" else int(quota) / int(period)
        quota_us = int((self._at["cpu"] / "cpu.cfs_quota_us").read_text())
        return None if quota_us < 0 else quota_us / int((self._at["cpu"] / "cpu.cfs_period_us").read_text())

    def throttled(self) -> tuple[int, int, int] | None:
        """(nanoseconds that its tasks were held by the quota, summed over CPUs; periods so far in which they were; periods so far), as
        the kernel counts them (cpu.stat: Documentation/scheduler/sched-bwc.rst). None where it does not.
        """
        found = dict(line.split() for line in (self._at["cpu"] / "cpu.stat").read_text().splitlines())
        held_ns = int(found["throttled_time"]) if "throttled_time" in found else int(found.get("throttled_usec", -1)) * 1000
        return None if held_ns < 0 else (held_ns, int(found["nr_throttled"]), int(found["nr_periods"]))

    def set_weight(self, shares: int) -> None:
        """Weight against other scopes, as v1 shares (1024: an ordinary neighbour). In v2 an ordinary one weighs 100."""
        if self.version == 2:
            (self._at["cpu"] / "cpu.weight").write_text(str(min(10_000, max(1, round(shares * 100 / 1024)))))
        else:
            (self._at["cpu"] / "cpu.shares").write_text(str(shares))

    @property
    def limits_memory(self) -> bool:
        return "memory" in self._at

    def set_memory_limit(self, limit_bytes: int | None, swap_bytes: int = 0) -> None:
        """At most so much memory, page cache included, and so much swap beside it; None takes the limit away."""
        if limit_bytes is None:
            for path, text in self.memory_lifts():
                path.write_text(text)
            return
        folder = self._at["memory"]
        if self.version == 2:
            (folder / "memory.max").write_text(str(limit_bytes))
            _write_if_there(folder / "memory.swap.max", str(swap_bytes))
            return
        # Memory with swap may never be the smaller of the two: a limit goes in from below, and out from above.
        (folder / "memory.limit_in_bytes").write_text(str(limit_bytes))
        _write_if_there(folder / "memory.memsw.limit_in_bytes", str(limit_bytes + swap_bytes))

    def memory_lifts(self) -> list[tuple[Path, str]]:
        """What takes a limit of memory away: which text goes into which file, in this order. Swap accounting is not in every kernel."""
        v2, v1 = ("memory.swap.max", "memory.max"), ("memory.memsw.limit_in_bytes", "memory.limit_in_bytes")
        names, text = (v2, "max") if self.version == 2 else (v1, "-1")
        return [(path, text) for name in names if (path := self._at["memory"] / name).exists()]

    def swapped_bytes(self) -> int | None:
        """How much of it lies in swap; None where nobody keeps that."""
        current = self._at["memory"] / "memory.swap.current"
        if current.exists():
            return int(current.read_text())
        return self._memory_stat().get("swap")

    def major_faults(self) -> int | None:
        """How often its processes had to wait for a page from a disk, so far."""
        return self._memory_stat().get("pgmajfault")

    def _memory_stat(self) -> dict[str, int]:
        lines = (self._at["memory"] / "memory.stat").read_text().splitlines()
        return {name: int(value) for name, value in (line.split() for line in lines)}

    def memory_limit_bytes(self) -> int | None:
        """The limit in force, read back; None without one."""
        if self.version == 2:
            text = (self._at["memory"] / "memory.max").read_text().strip()
            return None if text == "max" else int(text)
        limit = int((self._at["memory"] / "memory.limit_in_bytes").read_text())
        return None if limit >= _NO_LIMIT else limit

    @property
    def limits_io(self) -> bool:
        return "io" in self._at

    def set_io_limit(self, device: str, bytes_per_s: int | None) -> None:
        """At most so much read from a device ("major:minor", a whole disk), and as much written; None: no limit. Raises OSError."""
        folder = self._at["io"]
        if self.version == 2:
            each = "max" if bytes_per_s is None else str(bytes_per_s)
            (folder / "io.max").write_text(f"{device} rbps={each} wbps={each}")
            return
        for way in ("read", "write"):
            (folder / f"blkio.throttle.{way}_bps_device").write_text(f"{device} {bytes_per_s or 0}")

    def io_limit(self, device: str) -> int | None:
        """Bytes a second in force, read back: the wider of both ways; None where one of them has none."""
        folder = self._at["io"]
        if self.version == 2:
            found = _of_device(folder / "io.max", device).replace("=", " ").split()
            said = [found[found.index(way) + 1] if way in found else "max" for way in ("rbps", "wbps")]
        else:
            said = [_of_device(folder / f"blkio.throttle.{way}_bps_device", device) or "max" for way in ("read", "write")]
        return None if "max" in said else max(map(int, said))

    def io_bytes(self, device: str) -> tuple[int, int]:
        """(read, written) of a device so far, by the kernel's count."""
        folder = self._at["io"]
        if self.version == 2:
            found = dict(word.split("=") for word in _of_device(folder / "io.stat", device).split())
            return int(found.get("rbytes", 0)), int(found.get("wbytes", 0))
        counts = (folder / "blkio.throttle.io_service_bytes").read_text()
        lines = [line.split() for line in counts.splitlines()]
        each = {words[1]: int(words[2]) for words in lines if len(words) == 3 and words[0] == device}
        return each.get("Read", 0), each.get("Write", 0)

    def carries(self, env: Mapping[str, str]) -> bool:
        """Whether each of its processes was started with these variables. One that has ended meanwhile counts as having them, and so does
        one that wrote its title over its environment, as nginx does, after its libraries had read it.
        """
        wanted = [f"{name}={value}".encode() for name, value in env.items()]
        for pid in self.members():
            try:
                held = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            except OSError:
                continue
            overwritten = len(held) > 1 and not any(b"=" in word for word in held)
            if not overwritten and any(each not in held for each in wanted):
                return False
        return True

    def usage_ns(self) -> int | None:
        """CPU time that its processes ever used; None where nobody keeps that."""
        for kind, name in (("cpuacct", "cpuacct.usage"), ("kill", "cpu.stat"), ("cpu", "cpu.stat")):
            path = self._at.get(kind)
            if path is None or not (path / name).exists():
                continue
            text = (path / name).read_text()
            if name == "cpuacct.usage":
                return int(text)
            for line in text.splitlines():
                if line.startswith("usage_usec "):
                    return int(line.split()[1]) * 1000
        return None

    def resident_bytes(self) -> int:
        total = 0
        for pid in self.members():
            try:
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except OSError:
                continue  # ended meanwhile
        return total * os.sysconf("SC_PAGE_SIZE")

    def cores_allowed(self) -> set[int]:
        """CPUs that any of its tasks may run on."""
        allowed: set[int] = set()
        for pid in self.members():
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    allowed |= os.sched_getaffinity(int(task))
            except OSError:
                continue
        return allowed


def _make(path: Path) -> None:
    """Another agent may remove the parents, empty for a moment, while we make ours in them."""
    for _ in range(100):
        try:
            path.mkdir(parents=True, exist_ok=True)
            return
        except FileNotFoundError:
            continue
    path.mkdir(parents=True, exist_ok=True)


def _write_if_there(path: Path, text: str) -> None:
    """Swap accounting is not in every kernel."""
    if path.exists():
        path.write_text(text)


def _of_device(path: Path, device: str) -> str:
    """What a file with a line for each device says of this one; "" where it has none."""
    lines = (line.partition(" ") for line in path.read_text().splitlines())
    return next((rest.strip() for name, _, rest in lines if name == device), "")
