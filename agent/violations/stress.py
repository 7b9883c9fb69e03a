"""`stress`: a stressor of stress-ng by name, in percent of one CPU that it may use at most.

For what has no neighbour of its own here. `workers` of it run under one cgroup quota, so the dose holds whatever the stressor does and
whichever stress-ng it is; what its work is worth (bogo operations) differs between versions and is not a dose: it is read from stress-ng's
own account when it ends, and told with its version. Its own options go in `args`
("--vm-bytes 64m"): those of that stressor alone. Stressors that change the machine, or leave something in its kernel, are refused, and none
gets memory that the machine needs.
"""

import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from functools import cache

from agent import spare_memory
from agent.launcher import Child, LaunchFailed
from agent.ledger import work_folder
from agent.paced import FIRM_WEIGHT, Cost
from agent.scope import Cgroups, Scope
from agent.violations import Capability, Context, Reading, cores_for, said_place
from traces.errors import PreflightFailed, UsageError

_PERIOD_US = 20_000
_ACCOUNT_S = 1.0
"""How long it may take to end by itself; it has what it needs for that."""
_CHANGING = frozenset(
    {
        "apparmor", "binderfs", "bind-mount", "clock", "cpu-online", "dev", "efivar", "idle-page", "ioport", "klog", "loop", "memhotplug",
        "netdev", "pci", "physpage", "procfs", "quota", "ramfs", "rawdev", "reboot", "rtc", "smi", "softlockup", "swap", "sysfs",
        "sysinval", "umount", "watchdog",
    }
)  # fmt: skip
"""They change the machine, or stop it."""
_LEAVING = frozenset({"mq", "msg", "sem-sysv", "shm", "shm-sysv"})
"""They make kernel objects that outlive a process that is killed."""


@cache
def stressors() -> frozenset[str]:
    """Those that the stress-ng of this node has."""
    said = subprocess.run(["stress-ng", "--stressors"], capture_output=True, text=True, timeout=20, check=False)
    return frozenset(said.stdout.split())


def words(stressor: str, workers: int, args: str) -> list[str]:
    """The command line that runs them. Raises UsageError for what is not that stressor's own."""
    if stressor not in stressors():
        raise UsageError(f"violation stress: stress-ng has no stressor {stressor!r} on this node; stress-ng --stressors names them")
    if stressor in _CHANGING | _LEAVING:
        does = "changes the machine" if stressor in _CHANGING else "leaves kernel objects behind"
        raise UsageError(f"violation stress: stressor {stressor} {does}, which cannot be taken back here; choose another")
    given = shlex.split(args)
    wrong = [w for w in given if w.startswith("-") and not re.fullmatch(rf"--{re.escape(stressor)}-[a-z0-9-]+", w)]
    if wrong or (given and not given[0].startswith("--")):
        raise UsageError(f"violation stress: args {(wrong or given)[0]!r}: only options of --{stressor}-... and their values")
    return ["stress-ng", f"--{stressor}", str(workers), "--oomable", "--quiet", *given]


def accounted(text: str) -> str | None:
    """The figures of stress-ng's own YAML (--metrics --yaml), in words; None where it has none."""
    found = {name: value.strip("'\" ") for name, value in re.findall(r"^\s*-?\s*([a-z-]+):[ \t]*(\S.*)$", text, re.MULTILINE)}
    if "bogo-ops" not in found or "bogo-ops-per-second-real-time" not in found:
        return None
    rate, version = float(found["bogo-ops-per-second-real-time"]), found.get("stress-ng-version", "of unknown version")
    return f"{found['bogo-ops']} bogo operations, {rate:.6g} a second, by the account of stress-ng {version}"


class Stressors:
    """They run in their scope. Their number may change, as stress-ng starts what it ends."""

    fidelity = "proxy"

    def __init__(self, dose: float, options: Mapping[str, str], context: Context) -> None:
        stressor = options["stressor"]
        workers = int(float(options.get("workers", 1)))
        argv = words(stressor, workers, options.get("args", ""))
        cores = cores_for(options, context, "other-core", workers)
        self._ledger = context.ledger
        folder, self._files = work_folder(context.ledger, context.work_dir / f"stress-{time.monotonic_ns()}")
        self.summary: str | None = None
        self._account = folder / "account.yaml"
        self._child: Child | None = None
        self._scope = Scope("stress-neighbour", context.ledger, context.cgroups)
        self.mechanism = f"stress-ng --{stressor} under a cgroup v{self._scope.version} quota {said_place(cores)}"
        try:
            if not self._scope.limits:
                raise PreflightFailed("violation stress: no writable cpu cgroup, so nothing would hold its dose")
            self._scope.set_weight(FIRM_WEIGHT)
            self.set(dose)
            if self._scope.limits_memory:
                self._scope.set_memory_limit(int(spare_memory.now_bytes()))
            told = ["--temp-path", str(folder), "--metrics", "--yaml", str(self._account)]
            self._child = self._scope.spawn([*argv, *told], cores=cores, cwd=str(folder))
        except (LaunchFailed, OSError) as error:
            self.undo()
            raise PreflightFailed(f"violation stress: {error}") from None
        except PreflightFailed:
            self.undo()
            raise
        self._cost = Cost(self._scope)

    def set(self, dose: float) -> None:
        self._scope.set_quota(max(dose, 0.1) / 100, _PERIOD_US)

    def measure(self) -> Reading:
        used = self._cost.look()
        return Reading(used if self._scope.members() else None, "cpuacct", used)

    def _ended_by_itself(self) -> str | None:
        """Asks it to end, without its quota, and reads its account: stress-ng writes that only then. None where it does not in time."""
        if self._child is None or self._child.exit_code() is not None:
            return None
        try:
            self._scope.clear_quota()
            self._child.process.send_signal(signal.SIGINT)
            self._child.process.wait(_ACCOUNT_S)
            return accounted(self._account.read_text())
        except (OSError, subprocess.TimeoutExpired):
            return None  # killed with its scope, as ever

    def undo(self) -> str:
        if self.summary is None:
            self.summary = self._ended_by_itself()
        results = (self._scope.end(), self._ledger.undo(self._files))
        return next((r for r in results if r != "undone"), "undone")


class Stress:
    name = "stress"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        if not shutil.which("stress-ng"):
            return Capability(False, reason="stress-ng is not installed (apt install stress-ng)")
        if not cgroups.version:
            return Capability(False, reason="no writable cpu cgroup, so nothing would hold its dose; run the agent as root or delegate one")
        return Capability(True, f"stress-ng under a cgroup v{cgroups.version} quota", "proxy", max_dose=100.0 * cores)

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Stressors:
        return Stressors(dose, options, context)


VIOLATION = Stress()
