"""`mask-isa`: a processor without some instructions, as libraries see it. The system starts under the variables by which glibc, OpenSSL,
NumPy, PyTorch, oneDNN, OpenBLAS, MKL and Go are told not to use them (agent/isa.py).

A proxy: whoever asks CPUID itself still finds them. What a child under these variables really sees is asked of glibc's loader and of
OpenSSL before the system starts; the dose counts as given where all who know a feature no longer use it, and as long as the system still
carries the variables.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from agent import isa
from agent.scope import Cgroups, Scope
from agent.violations import Capability, Context, Reading
from traces.errors import PreflightFailed

_MECHANISM = "variables of the libraries"


class Masked:
    mechanism = _MECHANISM
    fidelity = "proxy"
    prelude: Sequence[Mapping[str, Any]] = ()

    def __init__(self, scope: Scope, features: tuple[str, ...]) -> None:
        self._scope = scope
        self.env: Mapping[str, str] = isa.masking(features)
        seen = isa.seen(self.env)
        self._views = {
            library: any(answer.get(f, False) for f in features) for library, answer in seen.items() if answer.keys() & set(features)
        }

    def measure(self) -> Reading:
        if not self._views:
            return Reading(None, "no library here says what it sees")
        carries = self._scope.carries(self.env)
        return Reading(float(carries and not any(self._views.values())), f"seen by {', '.join(sorted(self._views))}")

    def undo(self) -> str:
        return "undone"  # it ends with the processes that were started under it


class MaskIsa:
    name = "mask-isa"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        if not isa.present():
            return Capability(False, reason="this processor's features have other names; it is written for x86-64")
        return Capability(True, _MECHANISM, "proxy", "code that asks CPUID itself still sees the features", 1.0)

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Masked:
        if context.target is None:
            raise PreflightFailed("violation mask-isa: it prepares a system under test, and there is none here")
        asked = isa.names(options["features"].split(","))
        here = tuple(name for name in asked if name in isa.present())
        if not here:
            raise PreflightFailed(f"violation mask-isa: this processor has none of {', '.join(asked)}, so there is nothing to take away")
        return Masked(context.target, here)


VIOLATION = MaskIsa()
