"""`swap-tier`: memory of which only so many MiB are fast. What the system holds beyond that lies in swap, and is fetched page by page.

A limit on the system's own cgroup with swap beside it, set before it starts: the kernel keeps what was used last and puts away the rest.
A proxy for a slower tier: it is far slower than CXL or persistent memory, and its grain is a page that faults. `swap_mib` is how much may
lie there (1024); a system that wants more is killed. The node's own swap serves where it is large enough; else a swap file is made, which
is the machine's while it lasts, so its owner must allow this violation. How much of the system lies there and how many major faults it has
stand beside every reading: none means that it fits into its fast memory, and nothing was violated in effect.
"""

import time
from collections.abc import Mapping

from agent import swap
from agent.ledger import Ledger
from agent.scope import Cgroups, Scope
from agent.undo import default_state_dir
from agent.violations import Capability, Context, Reading
from traces.errors import PreflightFailed

_MIB = 1 << 20
_SWAP_MIB = 1024.0


class Tiered:
    fidelity = "proxy"

    def __init__(self, scope: Scope, ledger: Ledger, where: str, step: int | None) -> None:
        self._scope = scope
        self._ledger = ledger
        self._step = step
        self.mechanism = f"cgroup v{scope.version} memory limit over swap in {where}"
        self._seen = (time.monotonic_ns(), scope.major_faults())

    def measure(self) -> Reading:
        (then_ns, before), self._seen = self._seen, (time.monotonic_ns(), self._scope.major_faults())
        now_ns, faults = self._seen
        limit, swapped = self._scope.memory_limit_bytes(), self._scope.swapped_bytes()
        return Reading(
            None if limit is None else limit / _MIB,
            "memory.max" if self._scope.version == 2 else "memory.limit_in_bytes",
            major_faults_per_s=None if faults is None or before is None else (faults - before) * 1e9 / max(1, now_ns - then_ns),
            swapped_mib=None if swapped is None else swapped / _MIB,
        )

    def undo(self) -> str:
        if self._step is not None:
            return self._ledger.undo(self._step)
        try:
            self._scope.set_memory_limit(None)
        except FileNotFoundError:
            return "undone"  # the system's scope has ended, and its limit with it
        return "undone"


class SwapTier:
    name = "swap-tier"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        if "memory" not in cgroups.homes():
            return Capability(False, reason="no writable memory cgroup; run the agent as root or delegate the memory controller to it")
        if swap.free_bytes() < _SWAP_MIB * _MIB and (lacking := swap.why_no_file(default_state_dir(), round(_SWAP_MIB * _MIB))) is not None:
            return Capability(False, reason=f"{swap.free_bytes() >> 20} MiB of swap are free, and no file of ours can be added: {lacking}")
        return Capability(True, f"cgroup v{cgroups.version} memory limit over swap", "proxy")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Tiered:
        scope = context.target
        if scope is None or not scope.limits_memory:
            raise PreflightFailed("violation swap-tier: it limits a system under test, and there is none in a memory cgroup here")
        beside = round(float(options.get("swap_mib", _SWAP_MIB)) * _MIB)
        step, where = None, ", ".join(str(area.path) for area in swap.areas())
        if swap.free_bytes() < beside:
            if (lacking := swap.why_no_file(context.work_dir, beside)) is not None:
                raise PreflightFailed(f"violation swap-tier: {beside >> 20} MiB of swap are wanted: {lacking}")
            path, step = swap.add(context.work_dir, beside, scope.memory_lifts(), context.ledger)
            where = str(path)
        made = Tiered(scope, context.ledger, where, step)
        try:
            scope.set_memory_limit(round(dose * _MIB), swap_bytes=beside)
        except OSError as error:
            made.undo()
            raise PreflightFailed(f"violation swap-tier: {dose:g} MiB: {error.strerror}; give more") from None
        return made


VIOLATION = SwapTier()
