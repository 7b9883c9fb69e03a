"""Killing whoever has to do with a violation, at a random instant, and looking whether the machine is as it was."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from agent import marks
from agent.scope import Cgroups
from agent.snapshot import Snapshot, cleanup, take
from agent.undo import read_open_steps
from agent.violations import registry
from protos.violations import CATALOGUE
from tests.rig import guards_of
from tests.system.chaos_agent import drawn

CLEAN_WITHIN_S = 10.0
CAMPAIGN = """\
campaign: chaos
seed: {seed}
systems:
  store:
    driver: redis
    variants: {{block: {{command: ["{{python}}", -m, agent.targets, resp, --mode, block, --port, "{{port}}"]}}}}
    ready: {{ping: 10s}}
workload: {{trace: "poisson:500,keys=100,size=64,get=0.9", preload: true}}
conditions:
  noisy: {{sharing: {{cpu: {{dose: 30, place: same-core}}, membw: {{dose: 0.2}}}}}}
  smaller: {{hardware: {{cpu-quota: {{dose: 50}}, memory: {{dose: 512}}, no-io-uring: {{}}}}}}
design: {{repeats: 2}}
phases: {{warmup: 1s, measure: 2s, drain: 200ms, cooldown: 100ms}}
gates: {{achieved: ">= 1%", slip_p99: "<= 1s", dose: ">= 1%", steal: "<= 100%"}}
"""


@dataclass
class Tally:
    """What a series of kills has shown; a series in which nothing was in force proves nothing."""

    runs: int = 0
    in_force: int = 0
    victims: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    leaks: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.runs} runs, {self.in_force} with changes in force when killed, {len(self.leaks)} leaks, clean after "
            f"{self.slowest_s:.2f} s at most; victims {dict(self.victims)}; applied {dict(self.violations)}"
        )


def look(state_dir: Path) -> Snapshot:
    """Marks of leases that nobody else's guard on this machine answers for."""
    others = {lease for lease, (_, folder) in marks.guards().items() if folder != str(state_dir)}
    return take(state_dir, lambda lease: lease not in others)


def left(state_dir: Path, before: Snapshot) -> list[str]:
    found = list(cleanup(before, look(state_dir)).left)
    found += [f"guard {pid}" for pid in guards_of(state_dir).values()]
    return [*found, *carrying(state_dir)]


def carrying(state_dir: Path) -> list[str]:
    """Live processes that were started with this state folder, whatever they are."""
    mark = f"OFFSPEC_STATE_DIR={state_dir}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ours = int(folder.name) != os.getpid() and mark in (folder / "environ").read_bytes().split(b"\0")
            if ours and (folder / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                found.append(f"process {folder.name} {(folder / 'cmdline').read_text()[:100]}".replace("\0", " "))
        except OSError:
            continue
    return found


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # ended by itself meanwhile
        os.kill(pid, signal.SIGKILL)


def settle(state_dir: Path, before: Snapshot, tally: Tally, what: str) -> None:
    begun = time.monotonic()
    while (found := left(state_dir, before)) and time.monotonic() - begun < CLEAN_WITHIN_S:
        time.sleep(0.05)
    tally.slowest_s = max(tally.slowest_s, time.monotonic() - begun)
    if found:
        tally.leaks.append(f"{what}: {'; '.join(found)}")


def one_node_run(state_dir: Path, seed: int, tally: Tally) -> None:
    """An agent in small or `offspec inject`; some of agent, guard, heir and the antagonists are killed at once."""
    rng = random.Random(seed)
    state_dir.mkdir(parents=True)
    before = look(state_dir)
    process = subprocess.Popen(_command(rng, state_dir), env=os.environ | {"OFFSPEC_STATE_DIR": str(state_dir)}, **_SILENT)
    time.sleep(rng.uniform(0.05, 2.0))
    found = guards_of(state_dir)
    pids = {"agent": [process.pid], "guard": [found.get("offspec-guard", 0)], "heir": [found.get("offspec-heir", 0)]}
    pids["children"] = [int(who.partition("@")[0]) for who in look(state_dir).parts["process"]]
    chosen = rng.choice([["agent"], ["guard"], ["heir"], ["agent", "guard"], ["agent", "heir"], ["agent", "children"], ["guard", "agent"]])
    in_force = sum(len(_open(path)) for path in state_dir.glob("undo/*.jsonl"))
    tally.runs += 1
    tally.in_force += in_force > 0
    for name in rng.sample(chosen, len(chosen)):
        tally.victims[name] += 1
        for pid in pids[name]:
            if pid:
                kill(pid)
    if "agent" not in chosen:
        time.sleep(rng.uniform(0, 0.5))  # it goes on; then it dies too
        kill(process.pid)
    process.wait()
    settle(state_dir, before, tally, f"seed {seed}, killed {chosen} with {in_force} steps open")
    if (state_dir / "in-force").exists():
        tally.violations.update(line.split()[1] for line in (state_dir / "in-force").read_text().splitlines() if line.startswith("applied"))


_SILENT: dict[str, int | bool] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}


def _command(rng: random.Random, state_dir: Path) -> list[str]:
    if rng.random() < 0.75:
        return [sys.executable, "-m", "tests.system.chaos_agent", str(state_dir), str(rng.randrange(1 << 30))]
    cgroups, cores = Cgroups(), len(os.sched_getaffinity(0))
    able = [n for n, v in registry().items() if CATALOGUE[n].axis == "sharing" and v.probe(cgroups, cores).supported]
    name = rng.choice(able)
    dose, _ = drawn(CATALOGUE[name], rng)
    return [sys.executable, "-m", "agent.cli", "inject", name, "--dose", f"{dose:.4f}", "--for", "60s"]


def _open(path: Path) -> dict[int, object]:
    try:
        return dict(read_open_steps(path))
    except OSError:
        return {}


def one_campaign_run(place: Path, seed: int, tally: Tally) -> None:
    """`offspec run` on an embedded Ray; controller, keeper, agent, guards, Ray's worker, raylet, GCS: some of them at once."""
    rng = random.Random(seed)
    state_dir = place / "state"
    state_dir.mkdir(parents=True)
    (place / "c.yaml").write_text(CAMPAIGN.format(seed=seed))
    before = look(state_dir)
    process = subprocess.Popen(
        [sys.executable, "-m", "controller.cli", "run", str(place / "c.yaml"), "--runs", str(place / "runs")],
        env=os.environ | {"OFFSPEC_STATE_DIR": str(state_dir)}, **_SILENT,
    )  # fmt: skip
    time.sleep(rng.uniform(2.0, 30.0))
    pids = cast_of(state_dir) | {"controller": [process.pid]}
    there = sorted(name for name, found in pids.items() if found)
    # The seeds of a series take turns at who dies for certain; others die with it by chance.
    chosen = list(dict.fromkeys([there[seed % len(there)], *rng.sample(there, min(len(there), rng.choice([0, 0, 1, 2, 3])))]))
    tally.runs += 1
    tally.in_force += any(_open(path) for path in state_dir.glob("undo/*.jsonl"))
    for name in chosen:
        tally.victims[name] += 1
        for pid in pids[name]:
            kill(pid)
    try:
        # Whoever lives goes on to the end of the campaign, or stops for a reason of its own.
        process.wait(150)
    except subprocess.TimeoutExpired:
        tally.leaks.append(f"seed {seed}, killed {chosen}: the controller neither finishes nor stops")
        process.kill()
        process.wait()
    if {"controller", "keeper", "guard", "heir"} <= set(chosen):
        # Everybody who could have done it is dead: the next start of anything of ours does.
        undo = [sys.executable, "-m", "agent.cli", "undo", "--all"]
        subprocess.run(undo, env=os.environ | {"OFFSPEC_STATE_DIR": str(state_dir)}, capture_output=True, timeout=60)
    settle(state_dir, before, tally, f"seed {seed}, killed {chosen}")
    ray = [str(path) for path in Path("/tmp").glob("offspec-ray-*") if _owner_of(path) == str(state_dir)]
    tally.leaks += [f"seed {seed}, killed {chosen}: {folder}" for folder in ray]


def _owner_of(folder: Path) -> str:
    try:
        return (folder / "state-dir").read_text()
    except OSError:
        return ""


def cast_of(state_dir: Path) -> dict[str, list[int]]:
    """Who plays in a run, by part."""
    mark = f"OFFSPEC_STATE_DIR={state_dir}".encode()
    cast: dict[str, list[int]] = {"keeper": [], "agent": [], "guard": [], "heir": [], "worker": [], "raylet": [], "gcs": []}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            comm = (folder / "comm").read_text().strip()
            mine = mark in (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if not mine:
            continue
        name = Path(words[0].decode(errors="replace")).name
        parts = {
            "keeper": any(word.endswith(b"keeper.py") for word in words),
            "agent": words[1:3] == [b"-m", b"agent"],
            "guard": comm == "offspec-guard",
            "heir": comm == "offspec-heir",
            "worker": words[0].startswith(b"ray::"),
            "raylet": name == "raylet",
            "gcs": name == "gcs_server",
        }
        for part, is_it in parts.items():
            if is_it:
                cast[part].append(int(folder.name))
    return cast
