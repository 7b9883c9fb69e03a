"""What a person sees on stderr while a run goes on. On a terminal one line is rewritten; without one a line comes for every
ended trial, and at least every 30 s. Prints only; decides nothing."""

import sys
import time
from typing import Any, TextIO

_QUIET_LIMIT_S = 30.0


def human_duration(seconds: float) -> str:
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


class Progress:
    """Counts trials and estimates the rest from those done in this process, else from the plan."""

    def __init__(self, total: int, done: int, trial_s: float, *, stream: TextIO | None = None, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._quiet = quiet
        self._total = total
        self._done = done
        self._planned_trial_s = trial_s
        self._begun = time.monotonic()
        self._done_here = 0
        self._trial_begun = self._begun
        self._what = ""
        self._last_line = 0.0

    def say(self, text: str) -> None:
        """One line that stays."""
        if not self._quiet:
            self._clear()
            print(text, file=self._stream, flush=True)
            self._last_line = time.monotonic()

    def trial(self, what: str) -> None:
        self._what = what
        self._trial_begun = time.monotonic()
        self.phase("begins")

    def phase(self, text: str) -> None:
        """What the current trial is doing now."""
        if self._quiet:
            return
        line = f"[{self._done + 1:>{len(str(self._total))}}/{self._total}] {self._what}: {text}  ETA {self._eta()}"
        if self._live:
            print(f"\r\x1b[2K{line[:159]}", end="", file=self._stream, flush=True)
        elif time.monotonic() - self._last_line > _QUIET_LIMIT_S:
            self.say(line)

    def telemetry(self, second: Any) -> None:
        """A second of the replay as an agent reports it (offspec.v1.Telemetry)."""
        self.phase(
            f"second {second.second}: {second.completed}/{second.scheduled} done, response p50 {second.response_p50_ns / 1e3:.0f} us, "
            f"p99 {second.response_p99_ns / 1e3:.0f} us"
        )

    def ended(self, text: str) -> None:
        """The current trial is over for good."""
        self._done += 1
        self._done_here += 1
        self.say(f"[{self._done:>{len(str(self._total))}}/{self._total}] {self._what}: {text}  ETA {self._eta()}")

    def again(self, text: str) -> None:
        """The current trial will be tried again."""
        self.say(f"    {self._what}: {text}")

    def close(self) -> None:
        self._clear()

    def _eta(self) -> str:
        left = self._total - self._done
        each = (time.monotonic() - self._begun) / self._done_here if self._done_here else self._planned_trial_s
        spent = 0.0 if self._done_here == self._done else min(each, time.monotonic() - self._trial_begun)
        return human_duration(max(0.0, left * each - spent)) if left else "0s"

    def _clear(self) -> None:
        if self._live and not self._quiet:
            print("\r\x1b[2K", end="", file=self._stream, flush=True)
