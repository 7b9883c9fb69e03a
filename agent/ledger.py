"""The agent's side of the guard: every change is recorded there, and synced, before it is made."""

import contextlib
import itertools
import json
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.undo import FAILED, UNDONE, Step, replay_leftovers, run_step
from traces.errors import PreflightFailed, SafetyStop

_MARK = ".offspec"
_PING_S = 0.5
_ACK_S = 5.0
_CLOSE_S = 20.0


class Ledger:
    """Open steps of this agent. When the guard is gone nothing more may be applied: `record` raises SafetyStop."""

    def __init__(self, state_dir: Path) -> None:
        """Raises PreflightFailed where the guard cannot keep its journal: then nothing may be changed here."""
        self.lease = secrets.token_hex(6)
        self._state_dir = state_dir
        ours, theirs = socket.socketpair()
        self._socket = ours
        self._answers = ours.makefile("rb")
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._open: dict[int, Step] = {}
        self._closed = threading.Event()
        self._until: float | None = None
        guard = Path(__file__).with_name("guard.py")
        try:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(guard), str(theirs.fileno()), str(state_dir), self.lease],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        except OSError as error:
            self._closed.set()
            ours.close()
            raise PreflightFailed(f"the guard cannot be started ({error}); nothing is changed on this machine without one") from None
        finally:
            theirs.close()
        ours.settimeout(_ACK_S)
        said = self._hear()
        if "ready" not in said:
            self._closed.set()
            why = said.get("error", "its guard did not start")
            raise PreflightFailed(f"{why}; nothing is changed on this machine without an undo journal: give a folder by OFFSPEC_STATE_DIR")
        threading.Thread(target=self._ping, name="guard-lease", daemon=True).start()

    @property
    def guarded(self) -> bool:
        """Whether guard or heir answered a moment ago; one of them is enough."""
        return not self._closed.is_set()

    @contextlib.contextmanager
    def ending(self, seconds: float) -> Iterator[None]:
        """What is recorded within is undone after this time at the latest, by the guard, whatever becomes of us."""
        self._until = time.clock_gettime(time.CLOCK_BOOTTIME) + seconds
        try:
            yield
        finally:
            self._until = None

    def record(self, step: Step) -> int:
        """Returns once the guard has the step on disk; only then may the change be made."""
        number = next(self._numbers)
        if self._until is not None:
            step = {**step, "until": self._until}
        answer = self._ask({"do": "record", "id": number, "step": step})
        if answer.get("ack") != number:
            raise SafetyStop(
                f"guard: {answer.get('error', f'process {self._guard.pid} does not answer')}, so nothing may be changed on this machine; "
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
        self._ask({"do": "done", "id": number, "result": result})  # unheard, the guard undoes it again, which is harmless
        return result

    def undo_all(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for number in sorted(self._open, reverse=True):
            result = self.undo(number)
            counts[result] = counts.get(result, 0) + 1
        return counts

    def end_at(self, boottime_s: float) -> None:
        """Whatever happens to us, everything is undone at this time of CLOCK_BOOTTIME. Raises SafetyStop."""
        answer = self._ask({"do": "end", "at": boottime_s})
        if "ack" not in answer:
            raise SafetyStop(f"guard: {answer.get('error', 'it does not answer')}, so nothing may be changed on this machine")

    def close(self) -> dict[str, int]:
        """Undoes all and waits until guard and heir have ended; what they could not undo is counted as failed."""
        counts = self.undo_all()
        with self._lock:
            self._closed.set()
            if self._socket.fileno() < 0:
                return counts  # closed before
            self._socket.settimeout(_CLOSE_S)
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
            last = self._hear()
            while said := self._hear():
                last = said
        self._answers.close()
        self._socket.close()
        if "undone" not in last:
            # Guard and heir were killed: the journal that they held is ours to finish, lest it stand there open for nothing.
            last = {"undone": replay_leftovers(self._state_dir, self.lease)}
        left = last.get("undone", {}).get(FAILED, 0)
        if left:
            counts[FAILED] = counts.get(FAILED, 0) + left
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guard.wait(_ACK_S)
        return counts

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """One answer to one message; {} and never guarded again where there is none."""
        with self._lock:
            if self._closed.is_set():
                return {}
            try:
                self._socket.sendall(json.dumps(message).encode() + b"\n")
            except OSError:
                self._closed.set()
                return {}
            answer = self._hear()
            if "ack" not in answer and "error" not in answer:
                self._closed.set()
            return answer

    def _hear(self) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(self._answers.readline() or b"{}")
        except (OSError, ValueError):
            return {}
        return answer

    def _ping(self) -> None:
        while not self._closed.wait(_PING_S):
            self._ask({"do": "ping"})


def work_folder(ledger: Ledger, path: Path) -> tuple[Path, int]:
    """A folder for files of ours, made new, and the number of its undo step."""
    number = ledger.record({"kind": "tree", "path": str(path), "mark": _MARK})
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    (path / _MARK).touch()
    return path, number
