"""A condition on another machine, for real: two agents, of which one lives where the machine's identity is another (a mount namespace)."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.scope import Cgroups

pytestmark = pytest.mark.skipif(
    Cgroups().version == 0 or len(os.sched_getaffinity(0)) < 2 or os.geteuid() != 0 or not shutil.which("unshare"),
    reason="wants root, a writable cpu cgroup, two cores and unshare",
)
CAMPAIGN = """\
campaign: moved
systems:
  store:
    driver: redis
    variants:
      block: {command: ["{python}", -m, agent.targets, resp, --mode, block, --port, "{port}"]}
    ready: {ping: 10s}
nodes: {target: {where: "machine_id != 'MACHINE'"}, load: {where: "machine_id != 'MACHINE'"}}
workload: {trace: "poisson:500,keys=100,size=64,get=0.9"}
conditions:
  elsewhere: {hardware: {nodes: {where: "machine_id == 'MACHINE'"}}}
  nowhere: {hardware: {nodes: {where: "cores > 100000"}}}
design: {repeats: 1}
phases: {warmup: 1s, measure: 2s, drain: 500ms, cooldown: 100ms}
gates: {slip_p99: "<= 500ms", steal: "<= 100%", foreign: "<= 100%"}
"""
IDENTITY = "from agent.inventory import machine_id; print(machine_id())"


def test_the_same_system_runs_on_another_machine_and_the_report_says_on_which(tmp_path: Path) -> None:
    identity = tmp_path / "machine-id"
    identity.write_text("0123456789abcdef0123456789abcdef\n")
    inside = ["unshare", "--mount", "sh", "-c", f'mount --bind {identity} /etc/machine-id && exec "$@"', "sh"]
    if not Path("/etc/machine-id").exists():
        pytest.skip("this machine has no /etc/machine-id to be hidden")
    machine = subprocess.run([*inside, sys.executable, "-c", IDENTITY], capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / "c.yaml").write_text(CAMPAIGN.replace("MACHINE", machine))
    env = {**os.environ, "OFFSPEC_STATE_DIR": str(tmp_path / "state")}
    words = ["run", str(tmp_path / "c.yaml"), "--fleet", "static:2", "--json", "--runs", str(tmp_path / "runs")]
    with subprocess.Popen(
        [sys.executable, "-m", "controller.cli", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as run:
        assert run.stderr is not None
        said = next(line for line in run.stderr if "python -m agent" in line).split("python -m ", 1)[1].split()
        agents = []
        try:
            for name, wrapper in (("here", []), ("there", inside)):
                told = [name if word == "NAME" else word for word in said]
                more = ["--exit-with-controller", "--state-dir", str(tmp_path / name)]
                agents.append(subprocess.Popen([*wrapper, sys.executable, "-m", *told, *more], env=env))
            out, err = run.communicate(timeout=120)
        finally:
            run.kill()
            deadline = time.monotonic() + 20
            for agent in agents:
                agent.terminate()
                agent.wait(max(0.1, deadline - time.monotonic()))
    document = json.loads(out)
    ran = {entry["condition"]: (entry["target_agent"], entry["load_agents"]) for entry in document["trials"]}
    assert ran == {"nominal": ("here", ["here"]), "elsewhere": ("there", ["here"])}, err
    assert all(entry["completed"] > 500 for entry in document["trials"])
    (dose,) = next(entry["dose"] for entry in document["trials"] if entry["condition"] == "elsewhere")
    assert (dose["verdict"], dose["mechanism"]) == ("confirmed", "on node there")
    assert "refused: nowhere: nodes on " in err and "elsewhere: load comes over the network" in err
    report = next((tmp_path / "runs").glob("*/*/report.md")).read_text()
    assert "| elsewhere | there | " in report and "| nominal | here | " in report
