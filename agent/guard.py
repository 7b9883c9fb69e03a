"""The guard: processes beside the agent that undo everything when the agent falls silent. Standard library only.

Started as a file: `python -I -S guard.py FD STATE_DIR LEASE`, in a session of its own. It answers {"ready": pid}, or {"error": why} where
its journal cannot be written. Then JSON lines over the socket FD, each with one answer:
    {"do": "record", "id": n, "step": {...}}  -> {"ack": n} | {"error"}   synced in the journal; undone at its "until", if it has one
    {"do": "done", "id": n, "result": ...}    -> {"ack": n}               the agent has undone it itself
    {"do": "ping"}                            -> {"ack": 0}               the lease goes on
    {"do": "end", "at": boottime_s}           -> {"ack": 0}               undo everything then, whatever happens
End of file, SIGTERM, a lease of LEASE_S without a word, or the end time: all open steps are undone, last first, {"undone": ...} is said and
the guard ends. Times are of CLOCK_BOOTTIME: a machine that slept does not sleep its violations longer.

There are two of it. The heir, a process that watches the guard, takes its place the moment the guard dies without having ended: same
socket, same journal, same lock, and an heir of its own. So nothing stays behind unless guard, heir and agent are killed in one instant;
then what they started dies by its parent-death signal, and the next start of anything of ours on this node replays the journal.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from undo import UndoJournal

LEASE_S = 3.0
_PR_SET_NAME = 15
_LONGEST_LINE = 1 << 20


def boottime_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def main(fd: int, state_dir: Path, lease: str) -> int:
    from undo import UndoJournal

    link = socket.socket(fileno=fd)
    os.set_inheritable(fd, False)
    # Whoever signals our session means the agent; SIGTERM alone is for us and means: undo now.
    for each in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(each, signal.SIG_IGN)
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    with contextlib.suppress(
        OSError
    ):  # memory pressure that we make ourselves must not kill the guard; without the right to say so we go on
        Path("/proc/self/oom_score_adj").write_text("-900")
    _name("offspec-guard")
    try:
        guard = Guard(link, UndoJournal(state_dir, lease), told)
        heir = _breed()
    except OSError as error:
        _say(link, {"error": f"{error.filename or state_dir}: {error.strerror}"})
        return 4
    if heir is None:
        heir = guard.inherit()
    else:
        _say(link, {"ready": os.getpid()})
    guard.serve(heir)
    return 0


@dataclass
class Heir:
    """The process that watches us, as seen from here."""

    pid: int
    fd: int

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.fd, signal.SIGKILL)
        self.bury()

    def bury(self) -> None:
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def _breed() -> Heir | None:
    """Forks the heir. Returns it in the guard; in the heir returns None, and only once the guard is dead."""
    guard = os.getpid()
    pid = os.fork()
    if pid:
        return Heir(pid, os.pidfd_open(pid))
    os.setsid()
    _name("offspec-heir")
    with contextlib.suppress(ProcessLookupError):
        watched = os.pidfd_open(guard)
        while os.getppid() == guard and not select.select([watched], [], [], 60.0)[0]:
            continue
        os.close(watched)
    _name("offspec-guard")
    return None


@dataclass
class Guard:
    """One lease. `told` becomes readable with a signal."""

    link: socket.socket
    journal: "UndoJournal"
    told: int
    _end_at: float = float("inf")
    _ends: dict[int, float] = field(default_factory=dict)
    _buffer: bytes = b""

    def inherit(self) -> Heir:
        """In an heir whose guard is dead: what the journal says is what is open. Returns our own heir."""
        self.journal.reload()
        self._end_at = self.journal.end_at
        self._ends = {number: float(step["until"]) for number, step in self.journal.open.items() if "until" in step}
        self._buffer = b""
        heir = _breed()
        return heir if heir is not None else self.inherit()

    def serve(self, heir: Heir) -> None:
        """Until it is time to undo everything; then does, says how that went, and ends the heir."""
        expires = time.monotonic() + LEASE_S
        while True:
            left = min(expires - time.monotonic(), min((self._end_at, *self._ends.values())) - boottime_s())
            link = self.link.fileno()
            readable = select.select([link, heir.fd, self.told], [], [], max(0.0, left))[0]
            if self.told in readable:
                break
            if heir.fd in readable:
                heir.bury()
                bred = _breed()
                heir = bred if bred is not None else self.inherit()
                continue
            if link in readable:
                if not self._heard():
                    break
                expires = time.monotonic() + LEASE_S
            now = boottime_s()
            if time.monotonic() >= expires or now >= self._end_at:
                break
            for number in [n for n, until in self._ends.items() if now >= until]:
                del self._ends[number]
                self.journal.undo(number)
        # The agent must not believe that it is still covered while we undo.
        with contextlib.suppress(OSError):
            self.link.shutdown(socket.SHUT_RD)
        counts = self.journal.undo_all()
        _say(self.link, {"undone": counts})
        self.journal.close()
        heir.end()
        with contextlib.suppress(OSError):
            self.link.shutdown(socket.SHUT_RDWR)

    def _heard(self) -> bool:
        """Obeys what the agent said; False when it is gone, or says what is no line of ours (a guard died in the midst of reading one)."""
        try:
            data = self.link.recv(65536)
        except OSError:
            return False
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        try:
            for line in lines:
                _say(self.link, self._obey(json.loads(line)))
        except (ValueError, KeyError, TypeError):
            return False
        return bool(data) and len(self._buffer) < _LONGEST_LINE

    def _obey(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            match message["do"]:
                case "record":
                    number, step = message["id"], message["step"]
                    self.journal.record(number, step)
                    if "until" in step:
                        self._ends[number] = float(step["until"])
                    return {"ack": number}
                case "done":
                    self.journal.done(message["id"], message["result"])
                    self._ends.pop(message["id"], None)
                    return {"ack": message["id"]}
                case "end":
                    self.journal.end(message["at"])
                    self._end_at = message["at"]
        except OSError as error:
            return {"error": f"{self.journal.path}: {error.strerror}"}
        return {"ack": 0}


def _say(link: socket.socket, message: dict[str, Any]) -> None:
    """An agent that no longer hears is one that the next read finds gone."""
    with contextlib.suppress(OSError):
        link.sendall(json.dumps(message).encode() + b"\n", socket.MSG_DONTWAIT)


def _name(words: str) -> None:
    """What ps shows, so that a person knows the two apart."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, words.encode(), 0, 0, 0)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
