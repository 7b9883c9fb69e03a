"""`gpu-memory`: a neighbour that holds memory of the GPU, in MiB.

Taken from the CUDA driver in pieces of 8 MiB and kept; how much that is says NVML, of that process alone where it tells it, else of the
whole device, when what others take meanwhile counts as ours. What the neighbour's context takes beside it (some hundred MiB) is not in the
dose, and told. More than is free is refused.
"""

import sys
import time
from collections.abc import Mapping

from agent import nvml
from agent.gpu_load import gpus
from agent.paced import Cost, Launched, Order
from agent.scope import Cgroups
from agent.violations import Capability, Context, Reading
from traces.errors import PreflightFailed

_MECHANISM = "process that holds CUDA device memory"
_PROGRAM = (sys.executable, "-m", "agent.gpu_hold")
_MIB = 1 << 20
_LOOK_S = 0.01
_GIVEN_S = 20.0


class Held:
    """The process that holds it."""

    fidelity = "exact"

    def __init__(self, dose: float, options: Mapping[str, str], context: Context) -> None:
        self._device = int(float(options.get("device", 0)))
        order = Order("gpu-memory", "hold", _MECHANISM, _MIB, numbers={"device": float(self._device)}, program=_PROGRAM)
        self._launched = Launched(order, options, context)
        self.mechanism = f"{_MECHANISM} on GPU {self._device} {self._launched.where}"
        self._cost = Cost(self._launched.scope)
        try:
            self._before = nvml.memory(self._device, self._launched.child.pid)
            if dose * _MIB > self._before.free:
                raise OSError(f"{dose:g} MiB asked, {self._before.free >> 20} MiB of GPU {self._device} are free")
            self.set(dose)
            deadline = time.monotonic() + _GIVEN_S
            while self._launched.page.done < dose * _MIB:
                if not self._launched.alive or time.monotonic() > deadline:
                    raise OSError(f"the driver did not give {dose:g} MiB, only {self._launched.page.done >> 20} MiB")
                time.sleep(_LOOK_S)
        except OSError as error:
            self.undo()
            raise PreflightFailed(f"violation gpu-memory: {error}") from None

    def set(self, dose: float) -> None:
        self._launched.page.ask(dose * _MIB)

    def measure(self) -> Reading:
        if not self._launched.alive:
            return Reading(None, "nvml")
        now, before = nvml.memory(self._device, self._launched.child.pid), self._before
        if now.of_process is not None and before.of_process is not None:
            context = f"the neighbour's context holds {before.of_process >> 20} MiB more"
            return Reading((now.of_process - before.of_process) / _MIB, "nvml, of the process", self._cost.look(), remark=context)
        others = "NVML tells the whole device only: what others take or give back meanwhile counts as given"
        return Reading((now.used - before.used) / _MIB, "nvml, of the device", self._cost.look(), remark=others)

    def undo(self) -> str:
        return self._launched.end()


class GpuMemory:
    name = "gpu-memory"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        names, reason = gpus()
        if not names:
            return Capability(False, reason=reason)
        try:
            most = nvml.memory(0, 0).total / _MIB
        except OSError as error:
            return Capability(False, reason=f"the NVIDIA driver does not tell the memory of GPU 0: {error}")
        return Capability(True, f"{_MECHANISM} on {names[0]}", "exact", max_dose=most)

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Held:
        return Held(dose, options, context)


VIOLATION = GpuMemory()
