"""`no-gpu`: a machine without GPUs. The kernel refuses the system every device file of a GPU, and it starts under the variables by which
CUDA, HIP, ROCr and SYCL see none.

Where no cgroup of ours can refuse devices the variables are all there is, a proxy: who opens the device files itself still finds them, and
so does NVML. That a process of the system has one open is seen in any case, and then the dose was not given. The GPU still stands in /sys
and on the PCI bus, for a program that only lists it.
"""

import contextlib
import errno
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent import device_filter
from agent.launcher import LaunchFailed
from agent.scope import Cgroups, Scope
from agent.violations import Capability, Context, Reading
from traces.errors import PreflightFailed

_VARIABLES = "variables of CUDA, HIP, ROCr and SYCL"
_GPUS = ("nvidia[0-9]*", "kfd", "dri/renderD*")
_BESIDE = ("nvidiactl", "nvidia-uvm*", "nvidia-modeset", "nvidia-caps/*", "dri/card*")
"""What belongs to the drivers, and is there without a GPU, too."""
HIDING: Mapping[str, str] = {
    "CUDA_VISIBLE_DEVICES": "",
    "HIP_VISIBLE_DEVICES": "",
    "ROCR_VISIBLE_DEVICES": "",
    "NVIDIA_VISIBLE_DEVICES": "void",
    "ONEAPI_DEVICE_SELECTOR": "!*:gpu",
}
_OPEN = "import os, sys\ntry: os.open(sys.argv[1], os.O_RDWR)\nexcept OSError as error: sys.exit(error.errno)"
_TRIAL_S = 10.0


def devices(root: Path) -> list[Path]:
    """The device files of GPUs."""
    return sorted(path for pattern in _GPUS for path in root.glob(pattern))


def _all_files(root: Path) -> list[Path]:
    return devices(root) + sorted(path for pattern in _BESIDE for path in root.glob(pattern))


class Hidden:
    env = HIDING
    prelude: Sequence[Mapping[str, Any]] = ()

    def __init__(self, scope: Scope, root: Path) -> None:
        self._scope = scope
        self._devices = {str(path) for path in devices(root)}
        by = _refused(scope, root)
        self.mechanism = f"{by}, and {_VARIABLES}" if by else _VARIABLES
        self.fidelity = "equivalent" if by else "proxy"

    def measure(self) -> Reading:
        pids = self._scope.members()
        if not pids:
            return Reading(None, "environ, open files")
        return Reading(float(self._scope.carries(self.env) and not any(self._holds_one(pid) for pid in pids)), "environ, open files")

    def _holds_one(self, pid: int) -> bool:
        for entry in Path(f"/proc/{pid}/fd").glob("*"):
            with contextlib.suppress(OSError):  # closed meanwhile
                if str(entry.readlink()) in self._devices:
                    return True
        return False

    def undo(self) -> str:
        return "undone"  # variables and filter end with the processes and the scope that they were put on


def _refused(scope: Scope, root: Path) -> str:
    """How the kernel refuses the scope the device files, tried by a child in it; "" where it does not."""
    denied = device_filter.numbers(_all_files(root))
    if not denied:
        return ""
    for words, deny, group in (
        ("device filter of cgroup v2", device_filter.deny_by_program, scope.v2_path),
        ("devices.deny of cgroup v1", device_filter.deny_by_list, scope.devices_path),
    ):
        if group is None:
            continue
        try:
            deny(group, denied)
        except OSError:
            continue  # not here: the next, or the variables alone, which the record says
        if _opening(scope, devices(root)[0]) == errno.EPERM:
            return words
    return ""


def _opening(scope: Scope, device: Path) -> int:
    """The errno that a child in the scope gets for opening it; 0: it can."""
    try:
        return scope.spawn([sys.executable, "-I", "-S", "-c", _OPEN, str(device)]).process.wait(_TRIAL_S)
    except LaunchFailed as error:
        raise PreflightFailed(f"violation no-gpu: {error}") from None


class NoGpu:
    name = "no-gpu"

    def __init__(self, root: Path = Path("/dev")) -> None:
        self._root = root

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        if not devices(self._root):
            return Capability(False, reason=f"no {', '.join(_GPUS)} in {self._root}: no GPU here, so there is nothing to take away")
        homes = cgroups.homes()
        v2 = "kill" in homes and device_filter.why_no_program() is None
        if v2 or "devices" in homes:
            by = "device filter of cgroup v2" if v2 else "devices.deny of cgroup v1"
            return Capability(True, f"{by}, and {_VARIABLES}", "equivalent", max_dose=1.0)
        return Capability(True, _VARIABLES, "proxy", "who opens the device files itself still finds them", 1.0)

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Hidden:
        if context.target is None:
            raise PreflightFailed("violation no-gpu: it prepares a system under test, and there is none here")
        return Hidden(context.target, self._root)


VIOLATION = NoGpu()
