"""Direct reads and writes of a file of our own: what `disk` (operations) and `disk-bw` (bytes) share.

The file is filled first, with bytes that cannot be compressed: what was never written is read without any I/O. The kernel counts the bytes
that the process had from and to the device.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from agent import kernel_counts, storage
from agent.paced import OWN_COUNT, Counter, Order, Rated, most
from agent.scope import Cgroups
from agent.undo import default_state_dir
from agent.violations import Capability, Context
from traces.errors import PreflightFailed, UsageError

_MECHANISM = "paced native direct I/O"
_KIB, _MIB = 1 << 10, 1 << 20
_FILE_MIB = 256


def _moved(pid: int) -> int:
    return kernel_counts.io(pid, "read_bytes", "write_bytes")


@dataclass(frozen=True)
class DiskLoad:
    """A violation; `unit_bytes` are one unit of its dose, None: one operation is."""

    name: str
    block_kib: int
    unit_bytes: float | None = None

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        if reason := storage.why_not(default_state_dir(), _FILE_MIB * _MIB, direct=True):
            return Capability(False, reason=reason)
        return Capability(True, _MECHANISM, "exact")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Rated:
        file_bytes = round(float(options.get("file_mib", _FILE_MIB)) * _MIB)
        if reason := storage.why_not(context.work_dir, file_bytes, direct=True):
            raise PreflightFailed(f"violation {self.name}: {reason}")
        return Rated(self._order(options, file_bytes), dose, options, context)

    def calibrate(self, context: Context) -> float:
        return most(self._order({}, _FILE_MIB * _MIB), context)

    def _order(self, options: Mapping[str, str], file_bytes: int) -> Order:
        block = round(float(options.get("block_kib", self.block_kib)) * _KIB)
        depth = int(float(options.get("depth", 1)))
        if block % 4096 or not 0 < block * depth <= file_bytes:
            raise UsageError(f"violation {self.name}: block_kib {block / _KIB:g}: give a multiple of 4 that fits the file")
        numbers = {"file_bytes": file_bytes, "block_bytes": block, "write_share": float(options.get("write", 0)) / 100}
        counter = Counter("read_bytes+write_bytes", _moved) if kernel_counts.tells_io() else OWN_COUNT
        counted_per_operation = float(block) if counter.read is not None else 1.0
        unit = counted_per_operation if self.unit_bytes is None else self.unit_bytes * counted_per_operation / block
        return Order(
            self.name, "disk", _MECHANISM, unit, threads=depth, numbers=numbers, files=True, counter=counter,
            counted_per_paced=counted_per_operation,
        )  # fmt: skip
