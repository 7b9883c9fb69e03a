"""`frequency`: slower processors. Those of the system run at no more than the dose, in MHz.

The upper bound of their cpufreq policies. A policy may rule other cores as well, and its bound is the machine's: it is put back afterwards,
unless somebody else has changed it meanwhile. Without cpufreq (most virtual machines) there is none: `cpu-quota` gives a system less work
a second, but in bursts, and is another assumption.
"""

from collections.abc import Mapping
from pathlib import Path

from agent import cpu_settings
from agent.cpu_settings import SYSTEM, Settings
from agent.scope import Cgroups
from agent.violations import Capability, Context, Reading
from traces.errors import PreflightFailed

_MECHANISM = "cpufreq scaling_max_freq"


class Slower:
    mechanism = _MECHANISM
    fidelity = "exact"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def measure(self) -> Reading:
        """The bound in force, or the frequency itself where a core is beyond it."""
        bounds = [int(said) for path in self._settings.values if (said := cpu_settings.read(path))]
        now = [int(said) for path in self._settings.values if (said := cpu_settings.read(path.with_name("scaling_cur_freq")))]
        return Reading(max([*bounds, *now]) / 1000 if bounds else None, "scaling_max_freq, scaling_cur_freq")

    def undo(self) -> str:
        return self._settings.undo()


class Frequency:
    name = "frequency"

    def __init__(self, root: Path = SYSTEM) -> None:
        self._root = root

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        found = sorted((self._root / "cpu/cpufreq").glob("policy[0-9]*/scaling_max_freq"))
        if not found:
            return Capability(
                False, reason="this kernel has no cpufreq policies here (a virtual machine, or no driver); use cpu-quota instead"
            )
        if cpu_settings.writable(found[0]):
            most = max(cpu_settings.range_khz(path.parent)[1] for path in found)
            return Capability(True, _MECHANISM, "exact", max_dose=most / 1000)
        return Capability(False, reason=f"{found[0]} is not writable; run the agent as root")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Slower:
        cores = context.target_cores or context.all_cores
        ruled = cpu_settings.policies(self._root, cores)
        if not ruled:
            raise PreflightFailed(f"violation frequency: no cpufreq policy rules core {', '.join(map(str, cores))}")
        wanted = round(dose * 1000)
        for policy in ruled:
            least, most = cpu_settings.range_khz(policy)
            if not least <= wanted <= most:
                raise PreflightFailed(f"violation frequency: {dose:g} MHz: {policy.name} does {least / 1000:g} to {most / 1000:g} MHz")
        return Slower(Settings(self.name, {policy / "scaling_max_freq": str(wanted) for policy in ruled}, context.ledger))


VIOLATION = Frequency()
