"""Killing whoever has to do with a violation, at a random instant, and looking whether the machine is as it was.

A series in slices: `python -m tests.system.chaos node|campaign FIRST LAST [--for SECONDS]` prints the tally of seeds FIRST to LAST, or of
those that its time was enough for; exit code 1 with leaks.
"""

import argparse
import contextlib
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

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
    clean_after_s: list[float] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        times = self.clean_after_s or [0.0]
        return (
            f"{self.runs} runs, {self.in_force} with changes in force when killed, {len(self.leaks)} leaks, clean after "
            f"{statistics.median(times):.2f} s (median), {max(times):.2f} s at most; victims {dict(self.victims)}; "
            f"applied {dict(self.violations)}" + "".join(f"\n  leak: {leak}" for leak in self.leaks)
        )


class Leases:
    """Every lease that a state folder has seen while this watched: its journal is there before anything bears its mark. So what other
    runs do on this machine, or leave on it, is told apart from ours even when all who answered for it are dead.
    """

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.seen: set[str] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _look(self) -> None:
        self.seen |= {path.stem.rpartition("-")[2] for path in self.state_dir.glob("undo/*.jsonl")}

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            self._look()

    def __enter__(self) -> "Leases":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def snapshot(self) -> Snapshot:
        """Marks of our leases, and the settings of the machine."""
        self._look()
        found = take(self.state_dir, lambda lease: lease in self.seen)
        return Snapshot({part: entries if part in _BY_LEASE else self._mine(entries) for part, entries in found.parts.items()})

    def _mine(self, entries: Mapping[str, str]) -> dict[str, str]:
        marks = (str(self.state_dir), *self.seen)
        return {name: value for name, value in entries.items() if any(mark in name for mark in marks)}


_BY_LEASE = ("setting", "agent", "process", "cgroup", "folder", "journal")
"""Parts of a snapshot that hold what is ours or the machine's already; of the others, what has a lease or the state folder in its name."""


def left(leases: Leases, before: Snapshot) -> list[str]:
    found = list(cleanup(before, leases.snapshot()).left)
    found += [f"guard {pid}" for pid in guards_of(leases.state_dir).values()]
    return [*found, *carrying(leases.state_dir), *_of_rays(leases.seen)]


def _of_rays(leases: Set[str]) -> list[str]:
    """Folders of embedded Rays, and processes that hold a file in one that is or was: Ray's helpers overwrite their environment."""
    folders = [f"/tmp/offspec-ray-{lease}" for lease in leases]
    found = [f"folder {path}" for path in folders if Path(path).exists()]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            held = {str(fd.readlink()) for fd in (process / "fd").iterdir()}
            name = (process / "comm").read_text().strip()
        except OSError:
            continue
        if any(each.startswith(f"{path}/") for each in held for path in folders):
            found.append(f"process {process.name} ({name}) of an embedded Ray")
    return found


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


def settle(leases: Leases, before: Snapshot, tally: Tally, what: str, begun: float) -> None:
    """`begun`: the monotonic moment from which the ten seconds count."""
    while (found := left(leases, before)) and time.monotonic() - begun < CLEAN_WITHIN_S:
        time.sleep(0.05)
    tally.clean_after_s.append(time.monotonic() - begun)
    if found:
        tally.leaks.append(f"{what}: {'; '.join(found)}")


def one_node_run(state_dir: Path, seed: int, tally: Tally) -> None:
    """An agent in small or `offspec inject`; some of agent, guard, heir and the antagonists are killed at once."""
    rng = random.Random(seed)
    state_dir.mkdir(parents=True)
    with Leases(state_dir) as leases:
        _one_node_run(leases, rng, seed, tally)


def _one_node_run(leases: Leases, rng: random.Random, seed: int, tally: Tally) -> None:
    state_dir = leases.state_dir
    before = leases.snapshot()
    process = subprocess.Popen(_command(rng, state_dir), env=os.environ | {"OFFSPEC_STATE_DIR": str(state_dir)}, **_SILENT)
    time.sleep(rng.uniform(0.05, 2.0))
    found = guards_of(state_dir)
    pids = {"agent": [process.pid], "guard": [found.get("offspec-guard", 0)], "heir": [found.get("offspec-heir", 0)]}
    pids["children"] = [int(who.partition("@")[0]) for who in leases.snapshot().parts["process"]]
    chosen = rng.choice(_TOGETHER)
    in_force = sum(len(_open(path)) for path in state_dir.glob("undo/*.jsonl"))
    tally.runs += 1
    tally.in_force += in_force > 0
    for name in rng.sample(chosen, len(chosen)):
        tally.victims[name] += 1
        for pid in pids[name]:
            if pid:
                kill(pid)
    begun = time.monotonic()
    if {"guard", "heir"} <= set(chosen) and "agent" not in chosen:
        try:
            # It must see that nobody guards it, undo what it did, and end: unless one of them had bred another between the two kills.
            process.wait(CLEAN_WITHIN_S)
        except subprocess.TimeoutExpired:
            if not guards_of(state_dir):
                tally.leaks.append(f"seed {seed}: an agent without guard and heir goes on")
            begun = time.monotonic()
            kill(process.pid)
    elif "agent" not in chosen:
        time.sleep(rng.uniform(0, 0.5))  # it goes on; then it dies too
        begun = time.monotonic()
        kill(process.pid)
    process.wait()
    if {"agent", "guard", "heir"} <= set(chosen):
        # Nobody of ours lives on this node: what still stands goes at the next start of anything of ours.
        _start_something(state_dir)
    settle(leases, before, tally, f"seed {seed}, killed {chosen} with {in_force} steps open", begun)
    if (state_dir / "in-force").exists():
        tally.violations.update(line.split()[1] for line in (state_dir / "in-force").read_text().splitlines() if line.startswith("applied"))


_TOGETHER = (
    ["agent"], ["guard"], ["heir"], ["agent", "guard"], ["agent", "heir"], ["agent", "children"], ["guard", "heir"],
    ["agent", "guard", "children"], ["agent", "heir", "children"], ["agent", "guard", "heir"],
)  # fmt: skip


def _start_something(state_dir: Path) -> None:
    undo = [sys.executable, "-m", "agent.cli", "undo", "--all"]
    subprocess.run(undo, env=os.environ | {"OFFSPEC_STATE_DIR": str(state_dir)}, capture_output=True, timeout=60)


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
    with Leases(state_dir) as leases:
        _one_campaign_run(leases, place, rng, seed, tally)


def _one_campaign_run(leases: Leases, place: Path, rng: random.Random, seed: int, tally: Tally) -> None:
    state_dir = leases.state_dir
    before = leases.snapshot()
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
    begun = time.monotonic()
    try:
        # Whoever lives goes on to the end of the campaign, or stops for a reason of its own.
        process.wait(150)
        begun = begun if "controller" in chosen else time.monotonic()
    except subprocess.TimeoutExpired:
        tally.leaks.append(f"seed {seed}, killed {chosen}: the controller neither finishes nor stops")
        process.kill()
        process.wait()
    if {"controller", "keeper", "guard", "heir"} <= set(chosen):
        # Everybody who could have done it is dead: the next start of anything of ours does.
        _start_something(state_dir)
    settle(leases, before, tally, f"seed {seed}, killed {chosen}", begun)


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


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.system.chaos")
    parser.add_argument("what", choices=("node", "campaign"))
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int)
    parser.add_argument("--for", dest="seconds", type=float, default=float("inf"), help="begin no run after so many seconds")
    asked = parser.parse_args()
    one = one_node_run if asked.what == "node" else one_campaign_run
    tally, begun = Tally(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        for seed in range(asked.first, asked.last + 1):
            if time.monotonic() - begun > asked.seconds:
                print(f"time is over before seed {seed}")
                break
            told = len(tally.leaks)
            one(Path(folder) / f"s{seed}", seed, tally)
            print(f"seed {seed}: clean after {tally.clean_after_s[-1]:.2f} s", *tally.leaks[told:], sep="\n  leak: ", flush=True)
    print(tally)
    return 1 if tally.leaks else 0


if __name__ == "__main__":
    sys.exit(main())
