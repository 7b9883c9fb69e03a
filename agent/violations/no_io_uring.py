"""`no-io-uring`: a kernel without io_uring, or one whose administrator has switched it off. The system's calls fail by a seccomp filter.

How it is absent matters: ENOSYS is an old kernel, EPERM is kernel.io_uring_disabled or a container's profile, and programs have been
known to fall back on one and to fail on the other. The kernel is asked of every process of the system whether it lies under a filter; a
child of our own under the same filter tells with which error.
"""

import errno
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.launcher import LaunchFailed, spawn
from agent.scope import Cgroups, Scope
from agent.violations import Capability, Context, Reading
from traces.errors import PreflightFailed

_MECHANISM = "seccomp filter"
_ASK = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
sys.exit(0 if libc.syscall(425, 1, ctypes.create_string_buffer(120)) >= 0 else ctypes.get_errno())
"""


def _errno_under(prelude: Sequence[Mapping[str, Any]]) -> int:
    """With which error io_uring_setup fails in a child; 0: it does not. Raises LaunchFailed."""
    child = spawn([sys.executable, "-I", "-S", "-c", _ASK], env={}, prelude=prelude)
    return child.process.wait(10)


class Refused:
    mechanism = _MECHANISM
    fidelity = "exact"
    env: Mapping[str, str] = {}

    def __init__(self, scope: Scope, number: int) -> None:
        self._scope = scope
        self.prelude: Sequence[Mapping[str, Any]] = ({"step": "no-io-uring", "errno": number},)
        self._holds = _errno_under(self.prelude) == number

    def measure(self) -> Reading:
        filtered = [_has_filter(pid) for pid in self._scope.members()]
        return Reading(float(self._holds and all(filtered)) if filtered else None, "Seccomp")

    def undo(self) -> str:
        return "undone"  # it ends with the processes that were started under it


def _has_filter(pid: int) -> bool:
    try:
        return "\nSeccomp:\t2\n" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True  # ended meanwhile


class NoIoUring:
    name = "no-io-uring"

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        if "\nSeccomp:" not in Path("/proc/self/status").read_text():
            return Capability(False, reason="this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)")
        return Capability(True, _MECHANISM, "exact", max_dose=1.0)

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Refused:
        if context.target is None:
            raise PreflightFailed("violation no-io-uring: it prepares a system under test, and there is none here")
        try:
            if _errno_under(()) == errno.ENOSYS:
                raise PreflightFailed("violation no-io-uring: this kernel has no io_uring, so there is nothing to take away")
            return Refused(context.target, getattr(errno, options.get("errno", "ENOSYS")))
        except LaunchFailed as error:
            raise PreflightFailed(f"violation no-io-uring: {error}") from None


VIOLATION = NoIoUring()
