"""`smt`: a neighbour on the other hardware thread of the system's core, in percent of that thread.

What the two threads share is the core itself: its units, its first caches, its frequency. A machine without SMT, or with it off, refuses:
the same thread would be another violation (`cpu`).
"""

from collections.abc import Mapping

from agent import spinner, topology
from agent.scope import Cgroups
from agent.spinner import Spinner
from agent.violations import Capability, Context, cores_for


class Smt:
    name = "smt"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        if all(len(cpu.siblings) < 2 for cpu in topology.here().cpus):
            return Capability(False, reason=f"no core has a second hardware thread here (SMT control: {topology.smt_control()})")
        return spinner.probe(cgroups)

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Spinner:
        beside = cores_for({"place": "sibling"}, context, "sibling", 1)
        return Spinner(self.name, dose, options, beside, context)


VIOLATION = Smt()
