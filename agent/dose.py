"""The doses in force: asked once, read every second, written down. A dose that nobody measured was not given."""

import threading
import time
from typing import Any

import pyarrow as pa

from agent.violations import Applied, Reading
from protos.records import DOSES
from protos.violations import ViolationSpec

_SECOND_NS = 1_000_000_000


class _InForce:
    def __init__(self, spec: ViolationSpec, asked: float, applied: Applied) -> None:
        self.spec = spec
        self.asked = asked
        self.applied = applied
        self.at_ns = time.monotonic_ns()
        self.readings: list[tuple[int, Reading]] = []


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
        self._t0_ns: int | None = None
        self._undone: dict[str, int] = {}

    def any(self) -> bool:
        return bool(self._in_force)

    def add(self, spec: ViolationSpec, asked: float, applied: Applied) -> None:
        with self._lock:
            self._in_force.append(_InForce(spec, asked, applied))

    def applied(self) -> list[dict[str, Any]]:
        return [
            {
                "violation": d.spec.name,
                "unit": d.spec.unit,
                "asked": d.asked,
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
                            "asked": d.asked,
                            "given": reading.given,
                            "source": reading.source,
                            "cpu_percent": reading.cpu_percent,
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
        with self._lock:
            pending, self._in_force = self._in_force, []
        for dose in reversed(pending):
            result = dose.applied.undo()
            self._undone[result] = self._undone.get(result, 0) + 1
        return dict(self._undone)
