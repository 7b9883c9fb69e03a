"""`no-nic-offload`: a network interface of this machine segments, merges and sums nothing (ethtool(8), -K): the processor does it for
whoever uses that interface. What was on before is switched on again afterwards, whoever is killed.

Not for loopback: everybody on the node uses it, the load and this agent too, and there `no-offload` has a link of its own.
"""

import socket
from collections.abc import Mapping

from agent import kernel_counts, offload, rights
from agent.ledger import Ledger
from agent.scope import Cgroups
from agent.violations import Capability, Context, Reading
from traces.errors import PreflightFailed


class Unaided:
    mechanism = "ethtool features"
    fidelity = "exact"

    def __init__(self, interface: str, names: tuple[str, ...], ledger: Ledger) -> None:
        self._interface, self._names, self._ledger = interface, names, ledger
        self._step = ledger.record(
            {"kind": "offload", "interface": interface, "index": socket.if_nametoindex(interface), "names": list(names)}
        )
        try:
            offload.switch(interface, dict.fromkeys(names, False))
            if still := self._on():
                raise OSError(0, f"the driver of {interface} does not switch off {', '.join(still)}")
        except OSError as error:
            self.undo()
            raise PreflightFailed(f"violation no-nic-offload: {error.strerror}") from None
        self._before = kernel_counts.passed("thread-self", interface)

    def _on(self) -> list[str]:
        now = offload.working(self._interface)
        return [name for name in self._names if name in now]

    def measure(self) -> Reading:
        before, self._before = self._before, kernel_counts.passed("thread-self", self._interface)
        sizes = [(now[0] - then[0]) / max(1, now[1] - then[1]) for now, then in zip(self._before, before, strict=True)]
        on = self._on()
        remark = f"{', '.join(on) or 'none of them'} on; packets of {sizes[0]:.0f} bytes received and {sizes[1]:.0f} sent on average"
        return Reading(float(not on), "features, read back", remark=remark)

    def undo(self) -> str:
        return self._ledger.undo(self._step)


class NoNicOffload:
    name = "no-nic-offload"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        if not rights.held(rights.NET_ADMIN):
            return Capability(False, reason="it wants CAP_NET_ADMIN; run the agent as root")
        able = []
        for _, name in socket.if_nameindex():
            try:
                if name != "lo" and offload.working(name):
                    able.append(name)
            except OSError:
                continue  # gone meanwhile, or a driver without features
        if not able:
            return Capability(False, reason="no network interface but loopback has an offload that is on and can be switched off")
        return Capability(True, "ethtool features", "exact", f"of {', '.join(able)}", max_dose=1.0)

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Unaided:
        interface = options["interface"]
        if interface == "lo":
            raise PreflightFailed(f"violation {self.name}: lo is everybody's on this node; use no-offload, which has a link of its own")
        try:
            names = offload.working(interface)
        except OSError as error:
            raise PreflightFailed(f"violation {self.name}: interface {interface}: {error.strerror}") from None
        if not names:
            raise PreflightFailed(f"violation {self.name}: interface {interface} has no offload that is on and can be switched off")
        return Unaided(interface, names, context.ledger)


VIOLATION = NoNicOffload()
