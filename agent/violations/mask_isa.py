"""`mask-isa`: a processor without some instructions, as libraries see it. The system starts under the variables by which glibc, OpenSSL,
NumPy, PyTorch, oneDNN, OpenBLAS, MKL and Go are told not to use them (agent/isa.py).

A proxy: whoever asks CPUID itself still finds them. What a child under these variables really sees is asked of glibc's loader and of
OpenSSL before the system starts; the dose counts as given where all who know a feature no longer use it, and as long as the system still
carries the variables. Which of them obey, and which features CPUID itself still shows, stands beside every reading.

To answer CPUID itself one would have to trap it. Some processors can (arch_prctl(2), ARCH_SET_CPUID), which a probe tries; but execve(2)
takes the trap away again, and glibc's loader asks before any code of ours could set it in the new program. That leaves a tracer (ptrace(2))
of every process and thread, which stops them at each signal too: it would change the very timing that is measured, so it is not done.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from agent import cpuid, isa
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
        self._remark = statement(self._views, isa.still_shown(features, self.env))

    def measure(self) -> Reading:
        if not self._views:
            return Reading(None, "no library here says what it sees", remark=self._remark)
        carries = self._scope.carries(self.env)
        given = float(carries and not any(self._views.values()))
        return Reading(given, f"seen by {', '.join(sorted(self._views))}", remark=self._remark)

    def undo(self) -> str:
        return "undone"  # it ends with the processes that were started under it


def statement(views: Mapping[str, bool], shown: Sequence[str]) -> str:
    """How far the claim goes. `views`: library -> whether it would still use what it was told to leave; `shown`: what CPUID shows."""
    obey, ignore = ([library for library in sorted(views) if views[library] is uses] for uses in (False, True))
    parts = [f"{words}: {', '.join(names)}" for words, names in (("obeyed by", obey), ("not obeyed by", ignore)) if names]
    parts.append(f"CPUID still shows {', '.join(shown)} to whoever asks it" if shown else "CPUID could not be asked, or shows none of them")
    return "; ".join(parts)


class MaskIsa:
    name = "mask-isa"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        if not isa.present():
            return Capability(False, reason="this processor's features have other names; it is written for x86-64")
        trap = "could be made to fault here, but not from before a program's start" if cpuid.faults() else "cannot be made to fault here"
        return Capability(True, _MECHANISM, "proxy", f"code that asks CPUID itself still sees the features: CPUID {trap}", 1.0)

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Masked:
        if context.target is None:
            raise PreflightFailed("violation mask-isa: it prepares a system under test, and there is none here")
        asked = isa.names(options["features"].split(","))
        here = tuple(name for name in asked if name in isa.present())
        if not here:
            raise PreflightFailed(f"violation mask-isa: this processor has none of {', '.join(asked)}, so there is nothing to take away")
        return Masked(context.target, here)


VIOLATION = MaskIsa()
