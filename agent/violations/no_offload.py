"""`no-offload`: the network segments, merges and sums nothing. Between load and system lies a link of its own (agent/hop.py) whose
ends leave all that to the processor: each packet goes through the stack by itself.

The same link with its offloads on is what `net-latency` of 0 is where the kernel has netem. An interface of the machine: `no-nic-offload`.
"""

from collections.abc import Mapping

from agent import kernel_path, queues
from agent.detour import LINK, Detour, standing
from agent.scope import Cgroups
from agent.violations import Capability, Context, Reading


class Unaided:
    fidelity = "equivalent"

    def __init__(self, detour: Detour) -> None:
        self._detour, self._path = detour, detour.path
        self.port = detour.port
        self.mechanism = f"ethtool features {LINK} (adds {detour.own_ns / 1e6:.3f} ms)"
        self._path.offload(False)
        self._detour.end_trips()
        self._before = self._path.count()

    def measure(self) -> Reading:
        """That the features are off, and that no packet was longer on average than a frame of the link can be."""
        before, self._before = self._before, self._path.count()
        on = sorted({name for end in self._before for name in end["offloads"]})
        sizes = []
        for now, then in zip(self._before, before, strict=True):
            packets = now["link_packets"] - then["link_packets"]
            sizes.append((now["link_bytes"] - then["link_bytes"]) / packets if packets else 0.0)
        remark = f"{', '.join(on) or 'no offload'} on; packets of {sizes[1]:.0f} bytes to the system and {sizes[0]:.0f} back on average"
        right = not on and max(sizes) <= queues.FRAME_BYTES
        return Reading(float(right), "features and packet sizes", self._detour.cost.look(), remark=remark)

    def undo(self) -> str:
        return self._detour.end()


class NoOffload:
    name = "no-offload"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        able = kernel_path.able()
        if not able.link:
            return Capability(False, reason=f"no link of its own between load and system: {able.reason()}")
        return Capability(True, f"ethtool features {LINK}", "equivalent", max_dose=1.0)

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Unaided:
        with standing(self.name, context, link=True) as detour:
            return Unaided(detour)


VIOLATION = NoOffload()
