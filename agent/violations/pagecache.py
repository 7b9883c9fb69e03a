"""`pagecache`: a neighbour that fills the page cache with its own, in MB/s (1e6 bytes a second) of file reads and writes.

It goes round a file of `file_mib` and drops each chunk's old pages first, so that every chunk comes in anew: the file's size is the most
that it holds of the cache. `write` percent of the chunks are written. What is read counts as the kernel had it from the device, what is
written as it dirtied pages.
"""

from collections.abc import Mapping

from agent import kernel_counts, storage
from agent.paced import OWN_COUNT, Counter, Order, Rated, most
from agent.scope import Cgroups
from agent.undo import default_state_dir
from agent.violations import Capability, Context
from traces.errors import PreflightFailed

_MECHANISM = "paced native reads and writes through the page cache"
_MIB = 1 << 20
_FILE_MIB = 512


def _moved(pid: int) -> int:
    return kernel_counts.io(pid, "read_bytes", "write_bytes")


def _order(file_bytes: int, write_percent: float) -> Order:
    numbers = {"file_bytes": file_bytes, "write_share": write_percent / 100}
    counter = Counter("read_bytes+write_bytes", _moved) if kernel_counts.tells_io() else OWN_COUNT
    return Order("pagecache", "pagecache", _MECHANISM, 1e6, numbers=numbers, files=True, counter=counter)


class PageCache:
    name = "pagecache"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        if reason := storage.why_not(default_state_dir(), _FILE_MIB * _MIB):
            return Capability(False, reason=reason)
        return Capability(True, _MECHANISM, "exact")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Rated:
        file_bytes = round(float(options.get("file_mib", _FILE_MIB)) * _MIB)
        if reason := storage.why_not(context.work_dir, file_bytes):
            raise PreflightFailed(f"violation pagecache: {reason}")
        return Rated(_order(file_bytes, float(options.get("write", 0))), dose, options, context)

    def calibrate(self, context: Context) -> float:
        return most(_order(_FILE_MIB * _MIB, 0), context)


VIOLATION = PageCache()
