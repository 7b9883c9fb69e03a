"""`cpu`: a neighbour on the system's core. The dose is a share of one CPU in percent.

A spinner under a quota of its own. By default it weighs so much that it gets its dose whatever the system does (against what runs on the
machine outside our scopes it is an ordinary neighbour); `weight: 1024` or `nice: 0` makes it one to the system, too: its fair share and no
more. `period_ms` is how its share comes: 50 % of 100 ms are 50 ms at a
stretch.
"""

from collections.abc import Mapping

from agent import spinner
from agent.scope import Cgroups
from agent.spinner import Spinner
from agent.violations import Capability, Context, cores_for


class Cpu:
    name = "cpu"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        return spinner.probe(cgroups)

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Spinner:
        return Spinner(self.name, dose, options, cores_for(options, context, "same-core"), context)


VIOLATION = Cpu()
