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
from traces.scratch import owned

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
    by_hand: str = ""
    """What takes it away where we cannot prove that nobody needs it."""

    @property
    def ours(self) -> bool:
        return self.origin == "offspec"

    @property
    def remedy(self) -> str:
        if self.by_hand:
            return self.by_hand
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
    if not living:
        found += [Leftover("offspec", f"our link {name}", by_hand=f"ip link delete {name}") for name in net.get("our link", {})]
        found += [Leftover("offspec", f"our queue {where}", by_hand=_without_queue(where)) for where in net.get("our queue", {})]
    found += [_rule(rule) for rule in fire["our rule"] if orphaned(_lease_of_rule(rule))]
    found += _spaces(root, living)
    found += [_swap(path) for path in swap_areas(root)["our swap"] if not any(path.startswith(folder) for _, folder in living.values())]
    found += [_folder(path) for path in _temporary(root) if not _in_use(path, living)]
    found += [_cache_group(path) for path in sorted((root / "sys/fs/resctrl").glob(f"{marks.CGROUP}*")) if not living and path.is_dir()]
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
    named = [path for path in (root / "run/netns").glob(f"{marks.NAMESPACE}*") if not any(lease in path.name for lease in living)]
    return [Leftover("offspec", f"network namespace {path.name}", {"kind": "namespace", "path": str(path)}) for path in sorted(named)]


def _cache_group(path: Path) -> Leftover:
    return Leftover("offspec", f"cache group {path}", by_hand=f"rmdir {path}")


def _rule(rule: str) -> Leftover:
    return Leftover("offspec", f"firewall rule: {rule}", by_hand="delete this rule with the tool that shows it (nft or iptables)")


def _without_queue(where: str) -> str:
    link, _, handle = where.partition(" ")
    return f"tc qdisc delete dev {link} root handle {handle}"


def _folder(path: Path) -> Leftover:
    """Ours only with our mark in it: a name alone proves nothing."""
    if (path / marks.FOLDER_MARK).is_file():
        return Leftover("offspec", f"folder {path}", {"kind": "tree", "path": str(path), "mark": marks.FOLDER_MARK})
    by_hand = "its name begins like ours, but it bears no mark of ours: remove it by hand if nobody needs it"
    return Leftover("unknown", f"folder {path}", by_hand=by_hand)


def _swap(path: str) -> Leftover:
    return Leftover("offspec", f"swap area {path}", {"kind": "swap", "path": path, "lift": []})


def _temporary(root: Path) -> list[Path]:
    places = [root / tempfile.gettempdir().lstrip("/"), root / "dev/shm"]
    return sorted(path for place in places for path in place.glob(f"{marks.TEMPORARY}*"))


def _in_use(path: Path, living: Mapping[str, Any]) -> bool:
    """A folder that a living guard or owner answers for, or that a living process stands in or holds a file of."""
    if any(lease in path.name for lease in living) or owned(path):
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
    """Takes away what is provably ours, has no owner, and stands in no journal. What has no step is left, and told."""
    counts = {UNDONE: 0, FOREIGN: 0, FAILED: 0}
    for each in found:
        if each.step is not None:
            counts[run_step(dict(each.step))] += 1
    return counts
