"""Keeps one embedded Ray, and removes it. Light, a process of its own, run as a file: `python keeper.py '{"state_dir", "cores"}'`.

Starts `ray start --head --block` with a private folder and free ports, prints {"address"} on stdout once it answers, and waits for
the end of its standard input. That comes when the controller is done, or dead, however it died. Then every process below this one
is killed (it is their subreaper, so none can escape by a double fork), what their agent left undone is undone from its journal, and
the folder is removed. `ray stop` is never used: it ends every Ray on the host.

With "clean" in its order it only undoes what dead owners left, such as a keeper that was killed together with its guard and heir.

The keeper has a guard of its own, as an agent has: Ray's processes and folder are undo steps, so that they go when the keeper is killed.
Ray's helpers write their titles over their environment, token and all; so Ray runs in this process's session, which none of them leaves
and every agent does. The first step, and so the last undone, is to look after the agents' journals as the keeper would have done.
"""

import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a file: the rest of the installation that it lies in

from agent.ledger import Ledger, work_folder
from agent.undo import replay_leftovers, session_here
from traces.errors import OffspecError

_PR_SET_CHILD_SUBREAPER = 36
_UP_S = 50.0
_AGENT_GRACE_S = 4.0
_KILL_S = 4.0
_LOOK_S = 2.0
_OBJECT_STORE_BYTES = 80 << 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ray_command(port: int, folder: str) -> list[str]:
    return [
        str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--port", str(port),
        "--node-ip-address", "127.0.0.1", "--temp-dir", folder, "--num-cpus", "1", "--num-gpus", "0",
        "--object-store-memory", str(_OBJECT_STORE_BYTES), "--include-dashboard", "false",
        "--include-log-monitor", "false", "--disable-usage-stats", "--min-worker-port", "0", "--max-worker-port", "0",
    ]  # fmt: skip


def ray_environment(folder: str) -> dict[str, str]:
    """Workers at ordinary priority, no memory monitor (memory interference must not kill the agent), nothing sent anywhere."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "GRPC_"))}
    return kept | {
        "HOME": folder,
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
        "RAY_worker_oom_score_adjustment": "0",
        "RAY_memory_monitor_refresh_ms": "0",
        "RAY_enable_metrics_collection": "false",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "1",
        "RAY_worker_register_timeout_seconds": "60",
    }


def descendants() -> list[int]:
    """Every live process below this one. Zombies are reaped on the way: this process is their last parent."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                break
        except ChildProcessError:
            break
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # ended while we looked
            if fields[0] not in "ZX":
                children.setdefault(int(fields[1]), []).append(int(entry))
    found: list[int] = []
    below = [os.getpid()]
    while below:
        for child in children.get(below.pop(), []):
            found.append(child)
            below.append(child)
    return found


def words_of(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def is_agent(pid: int) -> bool:
    return words_of(pid)[1:3] == [b"-m", b"agent"]


def is_guard(pid: int) -> bool:
    return any(word.endswith(b"/guard.py") for word in words_of(pid))


def remove_everything(ledger: Ledger, state_dir: str) -> None:
    """Agents first get a moment to undo by themselves; then all is killed, and the journals settle the rest."""
    ours = ledger.lease.encode()
    for pid in descendants():
        if is_agent(pid):
            send(pid, signal.SIGTERM)
    deadline = time.monotonic() + _AGENT_GRACE_S
    while any(is_agent(pid) or (is_guard(pid) and ours not in words_of(pid)) for pid in descendants()) and time.monotonic() < deadline:
        time.sleep(0.05)
    deadline = time.monotonic() + _KILL_S
    while (left := [pid for pid in descendants() if ours not in words_of(pid)]) and time.monotonic() < deadline:
        for pid in left:
            send(pid, signal.SIGKILL)
        time.sleep(0.02)
    replay_leftovers(Path(state_dir))
    ledger.close()


def send(pid: int, number: int) -> None:
    """To a process below us, and to nobody who has its number by now."""
    try:
        held = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if pid in descendants():
            signal.pidfd_send_signal(held, number)
    except ProcessLookupError:
        return  # ended meanwhile
    finally:
        os.close(held)


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 0.2):
            return True
    except OSError:
        return False


def main(order: dict[str, object]) -> int:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if os.getsid(0) != os.getpid():
        os.setsid()
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # only the end of the pipe ends us: whoever signals the group means the controller
    cores = order.get("cores")
    if isinstance(cores, list) and cores:
        try:
            os.sched_setaffinity(0, cores)
        except OSError as error:
            print(f"not confined to cores {cores}: {error}", file=sys.stderr)
    state_dir = str(order["state_dir"])
    if order.get("clean"):
        return replay_leftovers(Path(state_dir))["failed"]
    try:
        ledger = Ledger(Path(state_dir))
    except OffspecError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return error.exit_code
    try:
        ledger.record({"kind": "journals", "state_dir": state_dir})
        # Unix socket paths end at 107 bytes, and Ray's are long: the folder's own name is short and near the root.
        made, _ = work_folder(ledger, Path(f"/tmp/offspec-ray-{ledger.lease}"))
        (made / "state-dir").write_text(state_dir)
        token = f"OFFSPEC_SCOPE={ledger.lease}/ray"
        ledger.record({"kind": "scope", "name": "ray", "paths": [], "token": token, "session": session_here()})
        folder, port = str(made), free_port()
        ray = subprocess.Popen(
            ray_command(port, folder),
            env=ray_environment(folder) | dict([token.split("=")]),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            process_group=0,
        )
        deadline = time.monotonic() + _UP_S
        while not answers(port):
            if ray.poll() is not None or time.monotonic() > deadline or input_ended(0.05):
                return 1
        print(json.dumps({"address": f"127.0.0.1:{port}", "folder": folder}), flush=True)
        while not input_ended(_LOOK_S):
            if ray.poll() is not None:
                return 1
            # An agent, its guard and its heir killed in one instant leave a journal that nobody holds.
            replay_leftovers(Path(state_dir))
    finally:
        remove_everything(ledger, state_dir)
    return 0


def input_ended(timeout_s: float) -> bool:
    readable, _, _ = select.select([sys.stdin], [], [], timeout_s)
    return bool(readable) and not os.read(sys.stdin.fileno(), 4096)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
