"""The Ray actor `AgentHost`: one per machine, starts the agent as a process of its own and watches it. Nothing else.

The agent is not the actor: Ray's workers run niced, first in line for the OOM killer, with OMP_NUM_THREADS=1, and their children
inherit that. All of it is scrubbed here. The only thing of `agent` that the controller imports.
"""

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.undo import replay_leftovers

_INHERITED = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "OFFSPEC_STATE_DIR", "OFFSPEC_POLICY")
_WATCH_S = 0.5


@dataclass(frozen=True)
class AgentConfig:
    """What an agent is started with. `cores`: where the agent's own Python may run; the engine pins itself."""

    controller: str
    name: str
    token: str
    state_dir: str
    log: str
    cores: tuple[int, ...] = ()


class AgentHost:
    """Plain class; `agent_host_actor` makes the Ray actor of it. All methods are idempotent."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._config: AgentConfig | None = None

    def node(self) -> dict[str, Any]:
        return {"pid": os.getpid(), "hostname": os.uname().nodename}

    def ensure(self, config: AgentConfig) -> int:
        """Starts the agent unless it runs already with this configuration; returns its process id."""
        if self._process is not None and self._process.poll() is None and self._config == config:
            return self._process.pid
        self.stop(5.0)
        folder = Path(config.state_dir)
        folder.mkdir(parents=True, exist_ok=True)
        token = folder / f"token-{config.name}"
        token.touch(mode=0o600)
        token.write_text(config.token)
        argv = [sys.executable, "-m", "agent", "--controller", config.controller, "--name", config.name]
        argv += ["--token-file", str(token), "--state-dir", config.state_dir, "--exit-with-controller"]
        env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        with Path(config.log).open("ab") as log:
            self._process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self._config = config
        _ordinary(self._process.pid, config.cores)
        threading.Thread(target=self._leave_with_it, args=(self._process,), daemon=True).start()
        return self._process.pid

    def stop(self, grace_s: float) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()  # its guard undoes what it could not

    def _leave_with_it(self, process: "subprocess.Popen[bytes]") -> None:
        """An agent that ended by itself ended because its controller is gone: so does this worker. Should agent, guard and heir have been
        killed together, this is who undoes what they left; what they still undo themselves is locked.
        """
        while process.poll() is None:
            time.sleep(_WATCH_S)
        if self._process is process:
            assert self._config is not None
            replay_leftovers(Path(self._config.state_dir))
            os._exit(0)


def _ordinary(pid: int, cores: tuple[int, ...]) -> None:
    """Takes Ray's marks off the agent. What is not allowed shows in the children's facts, and trials are judged by those."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, 0)
        Path(f"/proc/{pid}/oom_score_adj").write_text("0")
        if cores:
            os.sched_setaffinity(pid, cores)
    except OSError as error:
        print(f"agent {pid}: {error}", file=sys.stderr)


def agent_host_actor() -> Any:
    """The actor class; imports Ray only now."""
    import ray

    return ray.remote(num_cpus=0, max_restarts=0, max_task_retries=0)(AgentHost)
