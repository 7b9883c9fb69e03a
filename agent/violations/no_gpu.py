"""`no-gpu`: a machine without GPUs, as CUDA, HIP, ROCr and SYCL see it. The system starts under the variables that hide every device.

A proxy: who opens the device files itself still finds them, and so does NVML. That a process of the system has done so is seen, and then
the dose was not given.
"""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.scope import Cgroups, Scope
from agent.violations import Capability, Context, Reading
from traces.errors import PreflightFailed

_MECHANISM = "variables of CUDA, HIP, ROCr and SYCL"
_DEVICES = ("nvidia[0-9]*", "kfd", "dri/renderD*")
HIDING: Mapping[str, str] = {
    "CUDA_VISIBLE_DEVICES": "",
    "HIP_VISIBLE_DEVICES": "",
    "ROCR_VISIBLE_DEVICES": "",
    "NVIDIA_VISIBLE_DEVICES": "void",
    "ONEAPI_DEVICE_SELECTOR": "!*:gpu",
}


def devices(root: Path) -> list[Path]:
    """The device files of GPUs."""
    return sorted(path for pattern in _DEVICES for path in root.glob(pattern))


class Hidden:
    mechanism = _MECHANISM
    fidelity = "proxy"
    env = HIDING
    prelude: Sequence[Mapping[str, Any]] = ()

    def __init__(self, scope: Scope, root: Path) -> None:
        self._scope = scope
        self._devices = {str(path) for path in devices(root)}

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
        return "undone"  # it ends with the processes that were started under it


class NoGpu:
    name = "no-gpu"

    def __init__(self, root: Path = Path("/dev")) -> None:
        self._root = root

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        if not devices(self._root):
            return Capability(False, reason=f"no {', '.join(_DEVICES)} in {self._root}: no GPU here, so there is nothing to take away")
        return Capability(True, _MECHANISM, "proxy", "who opens the device files itself still finds them", 1.0)

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Hidden:
        if context.target is None:
            raise PreflightFailed("violation no-gpu: it prepares a system under test, and there is none here")
        return Hidden(context.target, self._root)


VIOLATION = NoGpu()
