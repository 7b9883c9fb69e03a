"""`membw`: a neighbour on the memory bus, in GB/s (1e9 bytes a second) read and written together.

Paced native streams over a buffer larger than the caches, on a core that is not the system's unless asked otherwise: the bus is
what is shared. Streams burn CPU as well, so they stay off the system's core by default.
"""

import os
import struct
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from agent.launcher import LaunchFailed
from agent.scope import Cgroups, Scope
from agent.violations import Capability, Context, Reading, place
from traces.errors import PreflightFailed, UsageError

_MECHANISM = "paced native streams"
_COUNTER_WAIT_S = 5.0


class Streams:
    """The streams in their scope, and the file in which they count."""

    mechanism = _MECHANISM
    fidelity = "exact"

    def __init__(self, scope: Scope, counter: Path) -> None:
        self._scope = scope
        self._counter = counter
        self._bytes = self._moved()
        self._read_ns = time.monotonic_ns()

    def _moved(self) -> int:
        return int(struct.unpack("<Q", self._counter.read_bytes()[:8].ljust(8, b"\0"))[0])

    def measure(self) -> Reading:
        if not self._scope.members():
            return Reading(None, "counter")
        now_ns, moved = time.monotonic_ns(), self._moved()
        rate = (moved - self._bytes) / max(1, now_ns - self._read_ns)
        self._bytes, self._read_ns = moved, now_ns
        return Reading(rate, "counter")

    def undo(self) -> str:
        result = self._scope.end()
        self._counter.unlink(missing_ok=True)
        return result


class MemoryBandwidth:
    name = "membw"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        free = int(os.sysconf("SC_AVPHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE"))
        if free < 1 << 30:
            return Capability(
                False,
                reason=f"{free >> 20} MiB of memory are free; the streams need 256 MiB and leave the rest alone",
            )
        return Capability(True, _MECHANISM, "exact")

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Streams:
        default = "other-core" if len(context.all_cores) > len(context.target_cores) else "anywhere"
        core = place(options, context, default)
        threads = int(float(options.get("threads", 1)))
        if threads < 1:
            raise UsageError(f"violation membw: threads {threads}: expected 1 or more")
        counter = context.work_dir / f"membw-{os.getpid()}-{time.monotonic_ns()}"
        counter.write_bytes(bytes(8))
        scope = Scope("membw-neighbour", context.ledger, context.cgroups)
        argv = [
            sys.executable,
            "-m",
            "agent.antagonists",
            "membw",
            "--gbps",
            f"{dose:g}",
            "--counter",
            str(counter),
        ]
        try:
            child = scope.spawn([*argv, "--threads", str(threads)], cores=[] if core is None else [core])
        except (LaunchFailed, OSError) as error:
            scope.end()
            raise PreflightFailed(f"violation membw: {error}") from None
        streams = Streams(scope, counter)
        # The buffer is touched before the first byte counts: a dose is in force when it is given, not when it is asked.
        deadline = time.monotonic() + _COUNTER_WAIT_S
        while dose > 0 and streams._moved() == 0 and child.exit_code() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        streams.measure()
        return streams


VIOLATION = MemoryBandwidth()
