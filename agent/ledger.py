"""The agent's side of the guard: every change is recorded there, and synced, before it is made."""

import itertools
import json
import secrets
import socket
import subprocess
import sys
import threading
from pathlib import Path

from agent.undo import FAILED, UNDONE, Step, run_step
from traces.errors import SafetyStop

_PING_S = 0.5
_ACK_S = 5.0


class Ledger:
    """Open steps of this agent. When the guard is gone nothing more may be applied: `record` raises SafetyStop."""

    def __init__(self, state_dir: Path) -> None:
        self.lease = secrets.token_hex(6)
        ours, theirs = socket.socketpair()
        self._socket = ours
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._open: dict[int, Step] = {}
        self._closed = threading.Event()
        guard = Path(__file__).with_name("guard.py")
        self._guard = subprocess.Popen(
            [sys.executable, "-I", str(guard), str(theirs.fileno()), str(state_dir), self.lease],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        theirs.close()
        ours.settimeout(_ACK_S)
        _protect(self._guard.pid)
        threading.Thread(target=self._ping, name="guard-lease", daemon=True).start()

    @property
    def guarded(self) -> bool:
        return not self._closed.is_set() and self._guard.poll() is None

    def record(self, step: Step) -> int:
        """Returns once the guard has the step on disk; only then may the change be made."""
        with self._lock:
            number = next(self._numbers)
            try:
                self._send({"do": "record", "id": number, "step": step})
                answer = json.loads(self._socket.makefile("rb").readline() or b"{}")
            except OSError as error:
                answer = {"error": str(error)}
            if answer.get("ack") != number:
                self._closed.set()
                raise SafetyStop(
                    f"guard: process {self._guard.pid} does not answer, so nothing may be changed on this machine; "
                    "the agent undoes what it did and must be started again"
                )
            self._open[number] = step
            return number

    def undo(self, number: int) -> str:
        """Takes one step back now and tells the guard. Undoing twice is harmless."""
        step = self._open.get(number)
        if step is None:
            return UNDONE
        result = run_step(step)
        if result != FAILED:
            del self._open[number]
        with self._lock:
            try:
                self._send({"do": "done", "id": number, "result": result})
            except OSError:
                self._closed.set()  # the guard is gone; the step itself is undone
        return result

    def undo_all(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for number in sorted(self._open, reverse=True):
            result = self.undo(number)
            counts[result] = counts.get(result, 0) + 1
        return counts

    def end_at(self, boottime_s: float) -> None:
        """Whatever happens to us, everything is undone at this time of CLOCK_BOOTTIME."""
        with self._lock:
            self._send({"do": "end", "at": boottime_s})

    def close(self) -> dict[str, int]:
        counts = self.undo_all()
        self._closed.set()
        self._socket.close()
        try:
            self._guard.wait(_ACK_S)
        except subprocess.TimeoutExpired:
            counts[FAILED] = counts.get(FAILED, 0) + 1
        return counts

    def _send(self, message: dict[str, object]) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def _ping(self) -> None:
        while not self._closed.wait(_PING_S):
            with self._lock:
                try:
                    self._send({"do": "ping"})
                except OSError:
                    self._closed.set()


def _protect(pid: int) -> None:
    """Memory pressure that we make ourselves must not kill the guard; without the right to say so we go on."""
    try:
        Path(f"/proc/{pid}/oom_score_adj").write_text("-900")
    except OSError:
        return
