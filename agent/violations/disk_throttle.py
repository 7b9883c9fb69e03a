"""`disk-throttle`: a slower disk. The system reads at most so many MB/s (1e6 bytes) from the disk of its folder, and writes as much.

A limit on the system's own cgroup. The kernel counts what passed; where that is less than the limit, the system wanted less or the disk
gave less, and the limit in force is read back.
"""

import time
from collections.abc import Mapping

from agent import storage
from agent.held_folder import stands_before
from agent.scope import Cgroups, Scope
from agent.undo import default_state_dir
from agent.violations import Capability, Context, Reading
from traces.errors import PreflightFailed

_MB = 1e6
_MET = 0.9
"""Who passes this much of the limit is one that the limit holds."""


def _mechanism(version: int) -> str:
    return "cgroup v2 io.max" if version == 2 else "cgroup v1 blkio.throttle"


class Throttled:
    fidelity = "exact"

    def __init__(self, scope: Scope, device: str, dose: float) -> None:
        self._scope = scope
        self._device = device
        self.mechanism = f"{_mechanism(scope.version)} on {device}"
        self.set(dose)

    def set(self, dose: float) -> None:
        self._scope.set_io_limit(self._device, round(dose * _MB))
        self._seen = (time.monotonic_ns(), self._scope.io_bytes(self._device))

    def measure(self) -> Reading:
        (then_ns, before), self._seen = self._seen, (time.monotonic_ns(), self._scope.io_bytes(self._device))
        now_ns, count = self._seen
        passed = max(n - b for n, b in zip(count, before, strict=True)) * 1e9 / max(1, now_ns - then_ns)
        limit = self._scope.io_limit(self._device)
        if limit is None or passed >= _MET * limit:
            return Reading(None if limit is None else passed / _MB, "bytes of the cgroup")
        return Reading(limit / _MB, "limit in force")

    def undo(self) -> str:
        try:
            self._scope.set_io_limit(self._device, None)
        except FileNotFoundError:
            return "undone"  # the system's scope has ended, and its limit with it
        return "undone"


class DiskThrottle:
    name = "disk-throttle"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        if "io" not in cgroups.homes():
            return Capability(False, reason="no writable io (v2) or blkio (v1) cgroup; run the agent as root or delegate one to it")
        where = default_state_dir()
        if storage.disk_of(where) is None:
            return Capability(False, reason=f"{where} lies on no disk of its own; give a folder on one by OFFSPEC_STATE_DIR")
        return Capability(True, _mechanism(cgroups.version), "exact")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Throttled:
        if context.target is None or not context.target.limits_io:
            raise PreflightFailed("violation disk-throttle: it limits a system under test, and there is none in an io cgroup here")
        if any(stands_before(context.work_dir, pid) for pid in context.target.members()):
            raise PreflightFailed(
                "violation disk-throttle: disk-latency does the system's I/O here, which its limit does not reach; take one"
            )
        device = storage.disk_of(context.work_dir)
        if device is None:
            raise PreflightFailed(f"violation disk-throttle: {context.work_dir} lies on no disk of its own")
        try:
            return Throttled(context.target, device, dose)
        except OSError as error:
            raise PreflightFailed(f"violation disk-throttle: {device}: {error.strerror}") from None


VIOLATION = DiskThrottle()
