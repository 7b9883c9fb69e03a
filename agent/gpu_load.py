"""Neighbours on a GPU: what `gpu`, `gpu-membw` and `pcie` share. Found by NVML, driven by the CUDA driver's own library."""

import ctypes
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from agent.cuda import LIBRARY
from agent.paced import Counter, Order, Rated, most
from agent.scope import Cgroups
from agent.violations import Capability, Context

_PROGRAM = (sys.executable, "-m", "agent.gpu_antagonist")
_EVENTS = Counter("cuda events")
_COPIED = Counter("copies done")


def gpus() -> tuple[list[str], str]:
    """Names of the GPUs, and why there are none, in words."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return [], f"no NVIDIA GPU here: {error}"
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(pynvml.nvmlDeviceGetCount())]
        names = [str(pynvml.nvmlDeviceGetName(handle)) for handle in handles]
    except pynvml.NVMLError as error:
        return [], f"the NVIDIA driver does not tell its GPUs: {error}"
    finally:
        pynvml.nvmlShutdown()
    if not names:
        return [], "the NVIDIA driver has no GPU"
    try:
        ctypes.CDLL(LIBRARY)
    except OSError as error:
        return [], f"the CUDA driver's library is missing: {error}"
    return names, ""


@dataclass(frozen=True)
class GpuLoad:
    """A violation; `per_unit` counted units a second (nanoseconds busy, or bytes) are one unit of its dose."""

    name: str
    kind: str
    mechanism: str
    per_unit: float
    fidelity: str = "exact"
    max_dose: float | None = None

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        names, reason = gpus()
        if not names:
            return Capability(False, reason=reason)
        return Capability(True, f"{self.mechanism} on {names[0]}", self.fidelity, max_dose=self.max_dose)

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Rated:
        return Rated(self._order(options), dose, options, context)

    def calibrate(self, context: Context) -> float:
        return most(self._order({}), context)

    def _order(self, options: Mapping[str, str]) -> Order:
        numbers = {"device": float(options.get("device", 0))}
        kind = options.get("direction", self.kind)
        counter = _EVENTS if kind == "sm" else _COPIED
        return Order(self.name, kind, self.mechanism, self.per_unit, self.fidelity, numbers=numbers, counter=counter, program=_PROGRAM)
