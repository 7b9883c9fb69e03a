"""`fsync`: a neighbour that waits for its writes to be safe, in syncs a second: 4 KiB written and fdatasync(2), again and again.

The kernel counts a page when it becomes dirty, and this one can become dirty again only once it was synced: so the syncs are counted by the
kernel.
"""

from collections.abc import Mapping

from agent import kernel_counts, storage
from agent.paced import OWN_COUNT, Counter, Order, Rated, most
from agent.scope import Cgroups
from agent.undo import default_state_dir
from agent.violations import Capability, Context
from traces.errors import PreflightFailed

_MECHANISM = "paced native writes and fdatasync"
_BLOCK_BYTES = 4096


def _dirtied(pid: int) -> int:
    return kernel_counts.io(pid, "write_bytes")


def _order(threads: int) -> Order:
    counter = Counter("write_bytes", _dirtied) if kernel_counts.tells_io() else OWN_COUNT
    each = float(_BLOCK_BYTES) if counter.read is not None else 1.0
    return Order("fsync", "fsync", _MECHANISM, each, threads=threads, files=True, counter=counter, counted_per_paced=each)


class Fsync:
    name = "fsync"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        if reason := storage.why_not(default_state_dir(), _BLOCK_BYTES):
            return Capability(False, reason=reason)
        return Capability(True, _MECHANISM, "exact")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Rated:
        if reason := storage.why_not(context.work_dir, _BLOCK_BYTES):
            raise PreflightFailed(f"violation fsync: {reason}")
        return Rated(_order(int(float(options.get("threads", 1)))), dose, options, context)

    def calibrate(self, context: Context) -> float:
        return most(_order(1), context)


VIOLATION = Fsync()
