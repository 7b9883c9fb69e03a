"""How a child of the agent starts: in its cgroups, on its cores, with a clean environment, and bound to die with the agent.

The upper half runs in the agent; run as a file this is the child itself until it becomes the program (standard library only).
Spawn from one long-lived thread: the kernel's parent-death signal fires when the spawning *thread* ends (prctl(2)).
"""

import ctypes
import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_PR_SET_PDEATHSIG = 1
_KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "OFFSPEC_STATE_DIR",
)
"""What a child inherits. Ray's workers run with OMP_NUM_THREADS=1, RAY_* and more: none of it may reach a system under test."""


class LaunchFailed(Exception):
    """The program could not be started; str() says why in words."""


@dataclass
class Child:
    """A started program."""

    process: "subprocess.Popen[bytes]"
    started_s: float
    cores: tuple[int, ...]

    @property
    def pid(self) -> int:
        return self.process.pid

    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self.process.poll()


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {"PATH": os.defpath, **kept, **extra}


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cgroups: Sequence[str] = (),
    cores: Sequence[int] = (),
    cwd: str | None = None,
    output: IO[bytes] | int = subprocess.DEVNULL,
    oom_score_adj: int = 0,
    prelude: Sequence[Mapping[str, Any]] = (),
    held: Sequence[int] = (),
) -> Child:
    """Starts a program and returns once it *is* that program; `prelude`: steps of agent.prelude that it takes before; `held`: descriptors
    that it gets, under the same numbers. Raises LaunchFailed in one line.
    """
    read, write = os.pipe()
    order = {
        "argv": list(argv),
        "env": clean_environment(env),
        "cgroups": list(cgroups),
        "cores": list(cores),
        "oom_score_adj": oom_score_adj,
        "prelude": list(prelude),
        "parent": os.getpid(),
        "status": write,
    }
    with os.fdopen(read, "rb") as status:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, json.dumps(order)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                pass_fds=(write, *held),
                start_new_session=True,
            )
        finally:
            os.close(write)
        said = status.read().decode(errors="replace")
    if said:
        process.wait()
        raise LaunchFailed(said)
    return Child(process, time.monotonic(), tuple(cores))


def facts(pid: int) -> dict[str, Any]:
    """What the kernel says of a child: nice, oom_score_adj, affinity, limits. Empty where it is gone."""
    try:
        return {
            "nice": os.getpriority(os.PRIO_PROCESS, pid),
            "oom_score_adj": int(Path(f"/proc/{pid}/oom_score_adj").read_text()),
            "affinity": sorted(os.sched_getaffinity(pid)),
            "nofile": resource.prlimit(pid, resource.RLIMIT_NOFILE)[0],
        }
    except (OSError, ValueError):
        return {}


def differences(found: Mapping[str, Any], cores: Sequence[int]) -> list[str]:
    """In which ways a child is not as asked, in words."""
    wrong = []
    if found.get("nice", 0) != 0:
        wrong.append(f"nice is {found['nice']}, not 0")
    if found.get("oom_score_adj", 0) > 0:
        wrong.append(f"oom_score_adj is {found['oom_score_adj']}, not 0")
    if cores and found and found["affinity"] != sorted(cores):
        wrong.append(f"affinity is {found['affinity']}, not {sorted(cores)}")
    return wrong


def _become(order: Mapping[str, Any]) -> str:
    """In the child: takes on everything that was asked, then the program. Returns only to say what failed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        return f"prctl: {os.strerror(ctypes.get_errno())}"
    if os.getppid() != order["parent"]:
        os._exit(1)  # the agent died before the signal was armed
    for group in order["cgroups"]:
        try:
            Path(group, "cgroup.procs").write_text(str(os.getpid()))
        except OSError as error:
            return f"{group}: {error.strerror}"
    try:
        if order["cores"]:
            os.sched_setaffinity(0, order["cores"])
    except OSError as error:
        return f"cores {order['cores']}: {error.strerror}"
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        if nice != 0:
            os.setpriority(os.PRIO_PROCESS, 0, 0)
        Path("/proc/self/oom_score_adj").write_text(str(order["oom_score_adj"]))
    except OSError:
        nice = -1  # not allowed: `facts` shows it and the trial is judged by it
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGPIPE, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.set_inheritable(order["status"], False)
    if order["prelude"] and (unable := _taken(order["prelude"])):
        return unable
    program = order["argv"][0]
    try:
        os.execvpe(program, order["argv"], order["env"])
    except FileNotFoundError:
        return f"{program}: no such program on this node; install it, or give its path"
    except OSError as error:
        return f"{program}: {error.strerror}"


def _taken(steps: Sequence[Mapping[str, Any]]) -> str:
    """In the child: the steps of the prelude, or why one cannot be taken. It lies beside this file; the project is not on the path here."""
    found = importlib.util.spec_from_file_location("prelude", Path(__file__).with_name("prelude.py"))
    assert found is not None and found.loader is not None
    prelude = importlib.util.module_from_spec(found)
    found.loader.exec_module(prelude)
    try:
        prelude.take(steps)
    except prelude.Unable as error:
        return str(error)
    return ""


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    os.write(asked["status"], _become(asked).encode())
    sys.exit(127)
