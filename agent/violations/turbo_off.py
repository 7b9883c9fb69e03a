"""`turbo-off`: processors that never run above their rated frequency. The machine's own switch, intel_pstate/no_turbo or cpufreq/boost, put
back afterwards unless somebody else has changed it meanwhile.
"""

from collections.abc import Mapping
from pathlib import Path

from agent import cpu_settings
from agent.cpu_settings import SYSTEM, Settings
from agent.scope import Cgroups
from agent.violations import Capability, Context, Reading
from traces.errors import PreflightFailed


class Rated:
    fidelity = "exact"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        (path,) = settings.values
        self.mechanism = f"{path.parent.name}/{path.name}"

    def measure(self) -> Reading:
        return Reading(float(self._settings.held()), self.mechanism)

    def undo(self) -> str:
        return self._settings.undo()


class TurboOff:
    name = "turbo-off"

    def __init__(self, root: Path = SYSTEM) -> None:
        self._root = root

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        found = cpu_settings.turbo(self._root)
        if found is None:
            return Capability(False, reason="this kernel has no turbo switch here (intel_pstate/no_turbo or cpufreq/boost)")
        path, off, _ = found
        if cpu_settings.read(path) == off:
            return Capability(False, reason=f"{path} says that turbo is off on this node already, so there is nothing to take away")
        if not cpu_settings.writable(path):
            return Capability(False, reason=f"{path} is not writable; run the agent as root")
        return Capability(True, f"{path.parent.name}/{path.name}", "exact", max_dose=1.0)

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Rated:
        found = cpu_settings.turbo(self._root)
        if found is None:
            raise PreflightFailed("violation turbo-off: this node has no turbo switch")
        path, off, _ = found
        return Rated(Settings(self.name, {path: off}, context.ledger))


VIOLATION = TurboOff()
