"""A setting that changes between two readings: what it was on average, so that a second's reading is that second's."""

import time
from collections.abc import Callable


class OverTime:
    """Weighs each value by how long it was in force. `clock_ns` is a seam for tests."""

    def __init__(self, value: float, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock_ns = clock_ns
        self._value, self._since_ns = value, clock_ns()
        self._begun_ns, self._sum = self._since_ns, 0.0

    def set(self, value: float) -> None:
        """From now on."""
        now_ns = self._clock_ns()
        self._sum += self._value * (now_ns - self._since_ns)
        self._value, self._since_ns = value, now_ns

    def look(self) -> float:
        """The mean since the last look."""
        self.set(self._value)
        whole_ns, whole = self._since_ns - self._begun_ns, self._sum
        self._begun_ns, self._sum = self._since_ns, 0.0
        return whole / whole_ns if whole_ns else self._value
