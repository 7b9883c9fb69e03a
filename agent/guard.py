"""The guard: a process beside the agent that undoes everything when the agent falls silent. Standard library only.

Started as a file: `python -I guard.py FD STATE_DIR LEASE`, in a session of its own. Speaks JSON lines over the socket FD:
    {"do": "record", "id": n, "step": {...}}  -> {"ack": n}      synced in the journal when acknowledged
    {"do": "done", "id": n, "result": ...}                       the agent has undone it itself
    {"do": "ping"}                                               the lease goes on
    {"do": "end", "at": seconds of CLOCK_BOOTTIME}               undo then, whatever happens
End of file, a lease of LEASE_S without a ping, or the end time: all open steps are undone, last first, and the guard exits.
"""

import json
import os
import select
import socket
import sys
import time
from pathlib import Path

LEASE_S = 3.0


def main(fd: int, state_dir: Path, lease: str) -> int:
    from undo import UndoJournal

    link = socket.socket(fileno=fd)
    journal = UndoJournal(state_dir, lease)
    os.set_inheritable(fd, False)
    end_at = float("inf")
    expires = time.monotonic() + LEASE_S
    buffer = b""
    while True:
        boottime = time.clock_gettime(time.CLOCK_BOOTTIME)
        left = min(expires - time.monotonic(), end_at - boottime)
        if left <= 0:
            break
        readable, _, _ = select.select([link], [], [], left)
        if not readable:
            continue
        try:
            data = link.recv(65536)
        except OSError:
            data = b""
        if not data:
            break
        buffer += data
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            message = json.loads(line)
            match message["do"]:
                case "record":
                    journal.record(message["id"], message["step"])
                    link.sendall(json.dumps({"ack": message["id"]}).encode() + b"\n")
                case "done":
                    journal.done(message["id"], message["result"])
                case "end":
                    end_at = message["at"]
        expires = time.monotonic() + LEASE_S
    # The agent must not believe that it is still covered while we undo.
    link.close()
    journal.undo_all()
    journal.close()
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
