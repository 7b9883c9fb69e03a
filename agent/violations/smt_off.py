"""`smt-off`: a machine without simultaneous multithreading, by the kernel's own switch (cpu/smt/control), put back afterwards.

It takes the second thread of every core of the machine offline, whoever runs there. Load and target must be on first threads.
"""

from collections.abc import Mapping
from pathlib import Path

from agent import cpu_settings
from agent.cpu_settings import SYSTEM, Settings
from agent.scope import Cgroups
from agent.violations import Capability, Context, Reading
from traces.errors import PreflightFailed

_MECHANISM = "cpu/smt/control"


class Single:
    mechanism = _MECHANISM
    fidelity = "exact"

    def __init__(self, settings: Settings, root: Path) -> None:
        self._settings = settings
        self._root = root

    def measure(self) -> Reading:
        active = cpu_settings.read(self._root / "cpu/smt/active")
        return Reading(float(self._settings.held() and active == "0"), "smt/control, smt/active")

    def undo(self) -> str:
        return self._settings.undo()


class SmtOff:
    name = "smt-off"

    def __init__(self, root: Path = SYSTEM) -> None:
        self._root = root

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        path = self._root / _MECHANISM
        said = cpu_settings.read(path)
        if said != "on":
            return Capability(False, reason=f"{path} says {said or 'nothing'}: there is no second thread here to be switched off")
        if not cpu_settings.writable(path):
            return Capability(False, reason=f"{path} is not writable; run the agent as root")
        return Capability(True, _MECHANISM, "exact", max_dose=1.0)

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Single:
        path = self._root / _MECHANISM
        if cpu_settings.read(path) != "on":
            raise PreflightFailed(f"violation smt-off: {path} does not say on, so there is nothing to switch off")
        return Single(Settings(self.name, {path: "off"}, context.ledger), self._root)


VIOLATION = SmtOff()
