"""The doses in force: asked once, read every second, written down. A dose that nobody measured was not given."""

import threading
import time
from typing import Any

import pyarrow as pa

from agent.violations import Applied, Reading, Summing, Varying
from protos.profile import Profile
from protos.records import DOSES
from protos.violations import ViolationSpec

_SECOND_NS = 1_000_000_000
_TURN_S = 0.02
"""How often it is looked whether a dose over time has changed: well within the 50 ms by which it may miss its time."""
_STAIR_S = 0.5
"""A line is followed as a stair of its means: each setting of a quota fills its period anew, so that many would give more than asked."""


class _InForce:
    """A dose and what it gave. With a profile the dose asked changes, and is set to what is due."""

    def __init__(self, spec: ViolationSpec, asked: float, applied: Applied, profile: Profile | None) -> None:
        self.spec = spec
        self.most = asked
        self.applied = applied
        self.profile = profile
        self.at_ns = time.monotonic_ns()
        self.readings: list[tuple[int, Reading]] = []
        self.late_ms: dict[int, float] = {}
        self._set = asked if profile is None else profile.at(0)

    @property
    def asked(self) -> float:
        return self._set

    def asked_in(self, second: int) -> float:
        """The mean over a second of the trial."""
        return self.most if self.profile is None else self.profile.mean(second, second + 1) if second >= 0 else self.profile.at(0)

    def follow(self, t0_ns: int, due_s: float) -> None:
        """Sets what is due for the turn that began at `due_s`, and notes how late that came to be."""
        assert self.profile is not None and isinstance(self.applied, Varying)
        if self.profile.lines:
            due_s = int(due_s / _STAIR_S + 1e-6) * _STAIR_S
            dose = self.profile.mean(due_s, due_s + _STAIR_S)
        else:
            due_s, dose = self.profile.begun(due_s + _TURN_S / 2), self.profile.at(due_s + _TURN_S / 2)
        if dose == self._set:
            return
        try:
            self.applied.set(dose)
        except OSError:
            return  # gone: its readings say so
        self._set = dose
        late_ms = (time.monotonic_ns() - t0_ns) / 1e6 - due_s * 1000
        self.late_ms[int(due_s)] = max(self.late_ms.get(int(due_s), 0.0), late_ms)


def within(spec: ViolationSpec, asked: float, given: float | None) -> bool:
    """Whether a reading counts as the dose that was asked for."""
    if given is None:
        return False
    return abs(given - asked) <= max(spec.tolerance * abs(asked), spec.tolerance_abs) + 1e-9


class DoseWatch:
    """Reads each dose once a second, aligned to T0 as soon as it is known."""

    def __init__(self) -> None:
        self._in_force: list[_InForce] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._again = threading.Event()
        self._thread: threading.Thread | None = None
        self._follower: threading.Thread | None = None
        self._t0_ns: int | None = None
        self._undone: dict[str, int] = {}
        self.summaries: dict[str, str] = {}
        """What violations that were undone say of all that they did, by name."""

    def any(self) -> bool:
        return bool(self._in_force)

    def add(self, spec: ViolationSpec, asked: float, applied: Applied, profile: Profile | None = None) -> None:
        with self._lock:
            self._in_force.append(_InForce(spec, asked, applied, profile))

    def applied(self) -> list[dict[str, Any]]:
        return [
            {
                "violation": d.spec.name,
                "unit": d.spec.unit,
                "asked": d.most,
                "mechanism": d.applied.mechanism,
                "fidelity": d.applied.fidelity,
                "at_mono_ns": d.at_ns,
            }
            for d in self._in_force
        ]

    def start(self) -> None:
        if self._thread is None and self._in_force:
            self._thread = threading.Thread(target=self._watch, name="dose", daemon=True)
            self._thread.start()

    def set_t0(self, t0_ns: int) -> None:
        self._t0_ns = t0_ns
        self._again.set()
        if any(dose.profile is not None for dose in self._in_force):
            self._follower = threading.Thread(target=self._follow, args=(t0_ns,), name="dose-profile", daemon=True)
            self._follower.start()

    def _follow(self, t0_ns: int) -> None:
        """From T0 on, turn by turn; turns that were missed are not made up for, what is due now is set."""
        turn = 0
        while True:
            wait_s = (t0_ns - time.monotonic_ns()) / 1e9 + turn * _TURN_S
            if self._ended.wait(max(0.0, wait_s)):
                return
            with self._lock:
                if self._ended.is_set():
                    return
                for dose in self._in_force:
                    if dose.profile is not None:
                        dose.follow(t0_ns, turn * _TURN_S)
            turn = max(turn + 1, int((time.monotonic_ns() - t0_ns) / 1e9 / _TURN_S))

    def _watch(self) -> None:
        self._read()
        while not self._ended.is_set():
            now = time.monotonic_ns()
            phase = (now - (self._t0_ns or 0)) % _SECOND_NS
            self._again.clear()
            # Readings end with the seconds of the trial, so that one second's dose is that second's.
            if not self._again.wait((_SECOND_NS - phase) / 1e9) and not self._ended.is_set():
                self._read()

    def _read(self) -> None:
        with self._lock:
            if self._ended.is_set():
                return
            for dose in self._in_force:
                try:
                    reading = dose.applied.measure()
                except OSError:
                    reading = Reading(None, "gone")
                dose.readings.append((time.monotonic_ns(), reading))

    def measure(self, applied: Applied) -> Reading:
        """A reading now, for who looks for himself; not in the midst of a change of dose."""
        with self._lock:
            return applied.measure()

    def now(self) -> list[dict[str, Any]]:
        with self._lock:
            return [
                {
                    "violation": d.spec.name,
                    "unit": d.spec.unit,
                    "asked": d.asked,
                    "given": d.readings[-1][1].given if d.readings else None,
                }
                for d in self._in_force
            ]

    def verify(self, window_s: float) -> list[dict[str, Any]]:
        """Watches for a while and says of each dose whether it is given."""
        marks = {id(d): len(d.readings) for d in self._in_force}
        deadline = time.monotonic() + window_s + 1.1
        while time.monotonic() < deadline and any(len(d.readings) < marks[id(d)] + 2 for d in self._in_force):
            time.sleep(0.02)
        found = []
        for d in self._in_force:
            # The first reading after the mark covers a part of a second only.
            given = [r.given for _, r in d.readings[marks[id(d)] + 1 :]]
            known = [g for g in given if g is not None]
            mean = sum(known) / len(known) if known else None
            found.append(
                {
                    "violation": d.spec.name,
                    "unit": d.spec.unit,
                    "asked": d.asked,
                    "mean": mean,
                    "confirmed": within(d.spec, d.asked, mean),
                }
            )
        return found

    def table(self, agent: str) -> pa.Table:
        """protos.records.DOSES: a reading stands for the second that it ended."""
        rows = []
        with self._lock:
            for d in self._in_force:
                for at_ns, reading in d.readings[1:]:
                    second = round((at_ns - (self._t0_ns or at_ns)) / _SECOND_NS) - 1
                    rows.append(
                        {
                            "agent": agent,
                            "violation": d.spec.name,
                            "second": second,
                            "unit": d.spec.unit,
                            "asked": d.asked_in(second),
                            "given": reading.given,
                            "late_ms": d.late_ms.get(second),
                            "source": reading.source,
                            "cpu_percent": reading.cpu_percent,
                            "throttled_ms": reading.throttled_ms,
                            "throttled_periods": reading.throttled_periods,
                            "major_faults_per_s": reading.major_faults_per_s,
                            "swapped_mib": reading.swapped_mib,
                            "remark": reading.remark,
                            "mechanism": d.applied.mechanism,
                            "fidelity": d.applied.fidelity,
                        }
                    )
        return pa.Table.from_pylist(rows, DOSES)

    def undo(self) -> dict[str, int]:
        """Ends the watch and takes every violation back, the last one first."""
        self._ended.set()
        self._again.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)
        if self._follower is not None:
            self._follower.join(5)
        with self._lock:
            pending, self._in_force = self._in_force, []
        for dose in reversed(pending):
            result = dose.applied.undo()
            self._undone[result] = self._undone.get(result, 0) + 1
            if isinstance(dose.applied, Summing) and dose.applied.summary is not None:
                self.summaries[dose.spec.name] = dose.applied.summary
        return dict(self._undone)
