"""A folder whose disk is slower for those who see it by a mount of ours. What it adds is measured, not believed.

Beside whatever the system does, one file of a page is read directly by the mount and directly below it, by turns: their difference is the
time that the mount adds, whatever the disk took for both. What the mount itself costs is measured before anything is held, and taken off.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.launcher import LaunchFailed
from agent.paced import Cost
from agent.scope import Scope
from agent.slow_disk import DELAY, DEVICE, FAILED, HELD, MOUNT_TYPE, PAGE_WORDS, PID, STEPS, WHERE
from agent.violations import Context
from agent.words import TRIPS_WORDS, Trips, Words
from traces.errors import PreflightFailed

_CAP_SYS_ADMIN = 21
_READY_S = 15.0
_LOOK_S = 0.005
_SAMPLES = 30


def why_none(device: Path = DEVICE, status: Path = Path("/proc/self/status")) -> str | None:
    """Why no folder can be held here, in words; None where it can."""
    rights = next((line for line in status.read_text().splitlines() if line.startswith("CapEff:")), "CapEff: 0")
    if not int(rights.split()[1], 16) >> _CAP_SYS_ADMIN & 1:
        return "no right to mount (CAP_SYS_ADMIN); run the agent as root"
    try:
        os.close(os.open(device, os.O_RDWR))
    except FileNotFoundError:
        return f"no {device}: this kernel has no FUSE, or its module is not loaded; try modprobe fuse"
    except OSError as error:
        return f"{device}: {error.strerror}; let the agent open it"
    return None


def stands_before(folder: Path, pid: int) -> bool:
    """Whether a process sees a folder by a mount of ours; not if it is gone."""
    at = str(folder).replace(" ", "\\040")
    try:
        lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    except OSError:
        return False
    return any(f" {at} " in line and f" - {MOUNT_TYPE} " in line for line in lines)


class HeldFolder:
    """One that holds nothing yet. Raises PreflightFailed, with nothing left behind."""

    def __init__(self, name: str, context: Context) -> None:
        stem = context.work_dir / f"{name}-{os.getpid()}-{time.monotonic_ns()}"
        self._page = Words(stem.with_suffix(".page"), PAGE_WORDS)
        self._trips_page = Words(stem.with_suffix(".trips"), TRIPS_WORDS)
        self._trips = Trips(self._trips_page)
        self._scope = Scope(f"{name}-{time.monotonic_ns()}", context.ledger, context.cgroups)
        order = {"folder": str(context.work_dir), "page_path": str(self._page.path), "trips_path": str(self._trips_page.path)}
        try:
            self._daemon = self._scope.spawn([sys.executable, "-m", "agent.slow_disk", json.dumps(order)])
            self._await_samples()
        except (LaunchFailed, OSError) as error:
            self.end()
            raise PreflightFailed(f"violation {name}: {error}") from None
        for words in (self._page, self._trips_page):
            words.path.unlink()  # all who need them have them, and the system's folder is its own
        self.prelude: tuple[Mapping[str, Any], ...] = ({"step": "join-mounts", "pid": self._page[PID], "folder": str(context.work_dir)},)
        self.own_ns = max(0.0, self.added_ns() or 0.0)
        self.cost = Cost(self._scope)

    def _await_samples(self) -> None:
        deadline = time.monotonic() + _READY_S
        while min(self._trips_page[1], self._trips_page[2]) < _SAMPLES:
            if self._page[FAILED]:
                raise LaunchFailed(f"{STEPS[self._page[WHERE]]}: {os.strerror(self._page[FAILED])}")
            if (code := self._daemon.exit_code()) is not None:
                raise LaunchFailed(f"the process that shows the folder ended with {code}")
            if time.monotonic() > deadline:
                raise LaunchFailed(f"no reads by the mount within {_READY_S:g} s")
            time.sleep(_LOOK_S)

    @property
    def alive(self) -> bool:
        return self._daemon.exit_code() is None and not self._page[FAILED]

    def hold(self, delay_ns: float) -> None:
        """From now on, before each request that reaches the disk."""
        self._page[DELAY] = round(max(0.0, delay_ns))

    def added_ns(self) -> float | None:
        """What the mount has added to a direct read since the last look, by the middle of either way; None: none has ended."""
        by_mount, directly = self._trips.look()
        return statistics.median(by_mount) - statistics.median(directly) if by_mount and directly else None

    def held(self) -> int:
        """How many requests of the system were held so far; one of our own may be among them."""
        return max(0, self._page[HELD] - self._trips_page[1])

    def end(self) -> str:
        """undone | foreign | failed; twice is harmless."""
        result = self._scope.end()
        self._page.close()
        self._trips_page.close()
        return result
