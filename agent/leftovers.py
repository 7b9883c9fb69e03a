"""What lies about on a node that no living process answers for: of ours, and of other tools that break things on purpose.

Ours can be removed (`offspec undo --all`); what others left is told with what recognised it, and never touched: whoever removes another
one's queue or rule removes what was there on purpose. Names and marks of others are from their documentation and sources.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import marks
from agent.snapshot import cgroups, network, processes, rules, swap_areas
from agent.undo import FAILED, FOREIGN, UNDONE, run_step

_PROGRAMS: Mapping[str, str] = {
    "stress-ng": "stress-ng",
    "stress": "stress",
    "chaosd": "chaosd",
    "chaos-daemon": "Chaos Mesh",
    "memStress": "Chaos Mesh",
    "chaos_os": "ChaosBlade",
    "chaos_burncpu": "ChaosBlade",
    "chaos_burnmem": "ChaosBlade",
    "chaos_burnio": "ChaosBlade",
    "blade": "ChaosBlade",
    "pumba": "Pumba",
    "toxiproxy-server": "Toxiproxy",
    "gremlind": "Gremlin",
    "gpu_burn": "gpu-burn",
    "iperf3": "iperf3",
    "fio": "fio",
}
"""Programs whose whole purpose is load or harm, by the name of their process."""
_PUMBA_MAJOR = "504d:"
_STATE_OF_OTHERS: Mapping[str, str] = {"opt/chaosblade/chaosblade.dat": "ChaosBlade", "usr/local/chaosd/chaosd.dat": "chaosd"}


@dataclass(frozen=True)
class Leftover:
    """One thing; `step` takes it away where it is ours and may be."""

    origin: str
    what: str
    step: Mapping[str, Any] | None = None

    @property
    def ours(self) -> bool:
        return self.origin == "offspec"

    @property
    def remedy(self) -> str:
        if not self.ours:
            return "not ours, never touched: ask its owner"
        return "offspec undo --all" if self.step is not None or self.what.startswith("undo journal") else "remove it by hand"

    def to_json(self) -> dict[str, Any]:
        return {"origin": self.origin, "what": self.what, "ours": self.ours, "remedy": self.remedy}


def find(state_dir: Path, root: Path = Path("/")) -> list[Leftover]:
    """Looks without changing anything. Journals whose owner lives, and what that owner has made, are no leftovers."""
    living = marks.guards()

    def orphaned(lease: str) -> bool:
        return lease not in living

    net, fire = network(), rules()
    found = [Leftover("offspec", f"undo journal {path}") for path in sorted(state_dir.glob("undo/*.jsonl")) if orphaned(_lease(path))]
    found += _scopes(processes(orphaned), cgroups(root, orphaned))
    found += [Leftover("offspec", f"{kind} {name}") for kind in ("our link", "our queue") for name in net.get(kind, {})] * (not living)
    found += [Leftover("offspec", f"firewall rule: {rule}") for rule in fire["our rule"] if orphaned(_lease_of_rule(rule))]
    found += _spaces(root, living)
    found += [_swap(path) for path in swap_areas(root)["our swap"] if not any(path.startswith(folder) for _, folder in living.values())]
    found += [Leftover("offspec", f"folder {path} (no longer used by anybody?)") for path in _temporary(root) if not _in_use(path, living)]
    return [*found, *of_others(_running(), net.get("queue", {}), list(fire["rule"]), root)]


def _lease(journal: Path) -> str:
    return journal.stem.rpartition("-")[2]


def _lease_of_rule(rule: str) -> str:
    return rule.partition(marks.RULE)[2].split('"')[0].split()[0] if marks.RULE in rule else ""


def _scopes(running: Mapping[str, str], groups: Mapping[str, str]) -> list[Leftover]:
    """One leftover for each scope: its processes and its groups go by one step."""
    found: dict[str, list[str]] = {}
    for path in groups:
        found.setdefault("/".join(Path(path).parts[-2:]), []).append(path)
    owners: dict[str, list[str]] = {}
    for who, command in running.items():
        pid = who.partition("@")[0]
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        token = next((e.decode(errors="replace") for e in environ if e.startswith(marks.TOKEN.encode())), None)
        if token is not None:
            owners.setdefault(token.removeprefix(marks.TOKEN), []).append(f"process {pid} ({command[:60]})")
    made = []
    for scope in sorted({*found, *owners}):
        step = {"kind": "scope", "name": scope, "paths": found.get(scope, []), "token": marks.TOKEN + scope}
        made.append(Leftover("offspec", f"scope {scope}: {', '.join([*owners.get(scope, []), *found.get(scope, [])])}", step))
    return made


def _spaces(root: Path, living: Mapping[str, Any]) -> list[Leftover]:
    named = [path.name for path in (root / "run/netns").glob(f"{marks.NAMESPACE}*")]
    return [Leftover("offspec", f"network namespace {name}") for name in named if not any(lease in name for lease in living)]


def _swap(path: str) -> Leftover:
    return Leftover("offspec", f"swap area {path}", {"kind": "swap", "path": path, "lift": []})


def _temporary(root: Path) -> list[Path]:
    places = [root / tempfile.gettempdir().lstrip("/"), root / "dev/shm"]
    return sorted(path for place in places for path in place.glob(f"{marks.TEMPORARY}*"))


def _in_use(path: Path, living: Mapping[str, Any]) -> bool:
    """A folder that a living guard answers for, or that a living process stands in or holds a file of."""
    if any(lease in path.name for lease in living):
        return True
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            held = [(folder / "cwd").readlink(), *(fd.readlink() for fd in (folder / "fd").iterdir())]
        except OSError:
            continue  # ended while we looked
        if any(each == path or path in each.parents for each in held):
            return True
    return False


def _running() -> dict[int, str]:
    """Live processes that are in no scope of ours -> the name of their program."""
    ours = {int(who.partition("@")[0]) for who in processes(lambda lease: True)}
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) not in ours:
            try:
                state = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[0]
                name = Path(Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")).name
            except OSError:
                continue
            if state not in "ZX" and name:
                found[int(entry)] = name
    return found


def of_others(running: Mapping[int, str], queues: Mapping[str, str], fire: Sequence[str], root: Path = Path("/")) -> list[Leftover]:
    """Pure but for two looks at files: what other tools' marks are on this machine."""
    found = []
    for pid, name in sorted(running.items()):
        origin = _PROGRAMS.get(name) or ("stress-ng" if name.startswith("stress-ng") else None)
        if origin is not None:
            found.append(Leftover(origin, f"process {pid} ({name})"))
    for where, kind in sorted(queues.items()):
        if _PUMBA_MAJOR in where:
            found.append(Leftover("Pumba", f"queue {kind} on {where}"))
        elif kind == "netem":
            found.append(Leftover("unknown", f"queue netem on {where} (tc, Pumba, chaosd, Litmus and others make such)"))
    chains = sorted({word for rule in fire for word in rule.replace("{", " ").split() if word.startswith("CHAOS-")})
    found += [Leftover("Chaos Mesh", f"firewall chain {chain}") for chain in chains]
    found += [Leftover(tool, f"state file {root / path}") for path, tool in _STATE_OF_OTHERS.items() if (root / path).exists()]
    return found


def remove_ours(found: Sequence[Leftover]) -> dict[str, int]:
    """Takes away what is ours, has no owner, and stands in no journal. What has no step is left, and told."""
    counts = {UNDONE: 0, FOREIGN: 0, FAILED: 0}
    for each in found:
        if each.step is not None:
            counts[run_step(dict(each.step))] += 1
    return counts
