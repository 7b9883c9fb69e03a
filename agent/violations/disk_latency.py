"""`disk-latency`: a slower disk under the system's folder. The dose is what is added to each request that reaches the disk, in ms.

The system starts in a mount namespace where its folder is shown by FUSE (agent/held_folder.py). Held are reads that the cache does not
answer, direct writes, and each fsync of a file or folder, once; delays of requests at the same time overlap. Writes to the cache are not
held, and names and attributes are not. What the mount costs by itself is taken off, so that a dose below it cannot be given. It is in
force from before the system starts, so that a preload goes by it, too.

dm-delay would do this below the file system, for journals and write-back as well, but a mapping cannot be put under a file system that is
mounted: the folder would have to lie on another one, made for it, whose other layout would be a second change.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from agent import storage
from agent.held_folder import HeldFolder, why_none
from agent.scope import Cgroups, Scope
from agent.slow_disk import PROBE_BYTES
from agent.undo import default_state_dir
from agent.violations import Capability, Context, Reading
from traces.errors import PreflightFailed

_MS_NS = 1e6
_MECHANISM = "FUSE over the system's folder"


class Slower:
    fidelity = "proxy"
    env: Mapping[str, str] = {}

    def __init__(self, folder: HeldFolder, system: Scope, dose_ms: float) -> None:
        self._folder = folder
        self._system = system
        self.prelude: Sequence[Mapping[str, Any]] = folder.prelude
        self.mechanism = f"{_MECHANISM} (its own {folder.own_ns / _MS_NS:.3f} ms taken off)"
        self.set(dose_ms)

    def set(self, dose: float) -> None:
        self._folder.hold(dose * _MS_NS - self._folder.own_ns)
        self._folder.added_ns()  # what has ended so far was of the time before

    def measure(self) -> Reading:
        added = self._folder.added_ns() if self._folder.alive else None
        remark = f"{self._folder.held()} of the system's requests have reached its disk since it started"
        return Reading(None if added is None else added / _MS_NS, "direct reads", self._folder.cost.look(), remark=remark)

    def undo(self) -> str:
        # Its files would fail under it, and it would tell so as its last words. Who waits for an answer of ours can be killed only after.
        self._system.kill()
        ended = self._folder.end()
        return "failed" if self._system.kill() else ended


class DiskLatency:
    name = "disk-latency"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        if (lacking := why_none()) is not None:
            return Capability(False, reason=lacking)
        if (lacking := storage.why_not(default_state_dir(), PROBE_BYTES, direct=True)) is not None:
            return Capability(False, reason=lacking)
        return Capability(True, _MECHANISM, "proxy", "writes to the cache are not held, fsync is; no extended attributes")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Slower:
        if context.target is None:
            raise PreflightFailed("violation disk-latency: it stands between a system under test and its folder, and there is none here")
        if (lacking := why_none() or storage.why_not(context.work_dir, PROBE_BYTES, direct=True)) is not None:
            raise PreflightFailed(f"violation disk-latency: {lacking}")
        return Slower(HeldFolder(self.name, context), context.target, dose)


VIOLATION = DiskLatency()
