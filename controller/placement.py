"""Which node is what to a trial: the nominal target, the target of a condition that asks for another machine, and where the load comes
from. Pure: from the document and what the nodes said of themselves.

Load goes on nodes that are no target of anything, where there are enough; else on one that is not this trial's target.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controller.attempts import AskedViolation
from controller.campaign import NOMINAL, Campaign
from controller.capabilities import why_not
from controller.where import Label, compile_where
from protos.topology import Topology
from protos.violations import CATALOGUE
from traces.errors import PreflightFailed


@dataclass(frozen=True)
class NodeInfo:
    """What a plan must know of one node: its agent's name, labels, cores, and what each violation can do there."""

    name: str
    labels: Mapping[str, Label]
    cores: tuple[int, ...]
    capabilities: Mapping[str, Mapping[str, Any]]
    quarantine: str | None = None
    """Why it takes no trial; None for a clean node."""
    topology: Topology = field(default_factory=Topology)

    @classmethod
    def from_probe(cls, name: str, probe: Mapping[str, Any]) -> "NodeInfo":
        labels = dict(probe["labels"])
        cores = tuple(int(c) for c in probe["cores"])
        topology = Topology.from_json(probe["topology"])
        return cls(name, labels, cores, probe["capabilities"], probe.get("quarantine"), topology)

    @property
    def machine(self) -> str:
        """Two agents of one machine have this in common."""
        return str(self.labels.get("machine_id", self.name))


@dataclass(frozen=True)
class Refusal:
    """A condition that a node cannot do, and why. Its trials are left out, and said so."""

    condition: str
    violation: str
    node: str
    reason: str


@dataclass(frozen=True)
class Placement:
    """Where the trials of one condition run."""

    target: NodeInfo
    loads: tuple[str, ...]


@dataclass(frozen=True)
class Placements:
    """By condition, nominal among them; `refusals` of those that have none; what to be wary of."""

    of: Mapping[str, Placement]
    refusals: tuple[Refusal, ...]
    warnings: tuple[str, ...]


Conditions = Mapping[str, Sequence[AskedViolation]]


def place(campaign: Campaign, nodes: Sequence[NodeInfo], conditions: Conditions, machines: Mapping[str, str]) -> Placements:
    """`machines`: by condition, the machine that an earlier plan took, which is taken again where it still fits.

    Raises PreflightFailed where no node fits a role of the nominal trials.
    """
    held = [f"{n.name}: {n.quarantine}" for n in nodes if n.quarantine is not None]
    nodes = [n for n in nodes if n.quarantine is None]
    if held and not nodes:
        raise PreflightFailed(f"nodes: no node takes trials, all are quarantined: {'; '.join(held)}")
    want = campaign.nodes.target
    home = _same_first(_matching("nodes.target", want.where, want.cores, nodes), machines.get(NOMINAL))[0]
    targets: dict[str, NodeInfo] = {}
    refusals: list[Refusal] = []
    for condition, violations in conditions.items():
        elsewhere = _elsewhere(violations)
        if elsewhere is None:
            found: NodeInfo | str = home
        else:
            asked = [violation for violation in violations if violation is not elsewhere]
            found = _other(elsewhere, asked, campaign, nodes, home, machines.get(condition))
        if isinstance(found, str):
            refusals.append(Refusal(condition, "nodes", _told(nodes), found + _left_out(held)))
        else:
            refusals += refused(condition, violations, found, campaign)
            targets[condition] = found
    able = {condition: node for condition, node in targets.items() if condition not in {r.condition for r in refusals}}
    names = {node.name for node in able.values()}
    placed, warnings = {NOMINAL: Placement(home, _loads(campaign, nodes, home, names))}, _wary(campaign, home, nodes, names)
    for condition, node in able.items():
        if node is home:
            placed[condition] = placed[NOMINAL]
            continue
        try:
            placed[condition] = Placement(node, _loads(campaign, nodes, node, names))
        except PreflightFailed as error:
            refusals.append(Refusal(condition, "nodes", node.name, str(error)))
            continue
        warnings += _differs(condition, placed[condition], placed[NOMINAL])
    return Placements(placed, tuple(refusals), (*(f"quarantined and left out: {each}" for each in held), *warnings))


def refused(condition: str, violations: Sequence[AskedViolation], node: NodeInfo, campaign: Campaign) -> list[Refusal]:
    """What this node cannot do of a condition."""
    target_cores, phases = campaign.nodes.target.cores, campaign.phases
    seconds = phases.warmup_s + phases.measure_s + phases.drain_ms / 1000
    return [
        Refusal(condition, asked.name, node.name, reason)
        for asked in violations
        if (reason := why_not(asked, node.capabilities, node.cores, target_cores, node.topology, seconds)) is not None
    ]


def _elsewhere(violations: Sequence[AskedViolation]) -> AskedViolation | None:
    return next((asked for asked in violations if CATALOGUE[asked.name].stage == "place"), None)


def _other(
    asked: AskedViolation, rest: Sequence[AskedViolation], campaign: Campaign, nodes: Sequence[NodeInfo], home: NodeInfo, known: str | None
) -> NodeInfo | str:
    """A node on another machine than the nominal target that the expression matches, or why there is none.

    Of several one that can do the rest of the condition; then the machine that an earlier plan took; then the first.
    """
    where = asked.options["where"]
    test = compile_where(where)
    matching = [n for n in nodes if test(n.labels)]
    if not matching:
        return f"no node matches {where!r}; there are {_labelled(nodes)}"
    apart = [n for n in matching if n.machine != home.machine]
    if not apart:
        return f"{where!r} matches {_told(matching)} alone, on the machine that nominal trials run on ({home.name}): nothing would differ"
    able = [n for n in apart if set(campaign.nodes.target.cores) <= set(n.cores)]
    if not able:
        lacking = sorted(set(campaign.nodes.target.cores) - set(apart[0].cores))
        return f"nodes.target.cores: {apart[0].name} has no core {lacking[0]}; its cores are {', '.join(map(str, apart[0].cores))}"
    return min(_same_first(able, known), key=lambda n: bool(refused("", rest, n, campaign)))


def _same_first(nodes: Sequence[NodeInfo], machine: str | None) -> list[NodeInfo]:
    return sorted(nodes, key=lambda n: n.machine != machine)


def _loads(campaign: Campaign, nodes: Sequence[NodeInfo], target: NodeInfo, targets: Collection[str]) -> tuple[str, ...]:
    """Agents that send the load of trials on a target. Raises PreflightFailed."""
    want = campaign.nodes.load
    loads = _matching("nodes.load", want.where, want.cores, nodes)
    chosen = sorted(loads, key=lambda n: 2 * (n.name == target.name) + (n.name in targets))[: want.count]
    if len(chosen) < want.count:
        raise PreflightFailed(
            f"nodes.load.count: {want.count} load nodes are asked for, {len(loads)} fit; "
            f"attach more agents or lower the count (there are: {_names(nodes)})"
        )
    shared = sorted(set(campaign.nodes.target.cores) & set(want.cores))
    if target in chosen and shared and len(target.cores) > 1:
        raise PreflightFailed(
            f"nodes: load and target share core {shared[0]} of {target.name}, so the load would measure itself; "
            "give nodes.load.cores and nodes.target.cores without a common core"
        )
    return tuple(n.name for n in chosen)


def _wary(campaign: Campaign, home: NodeInfo, nodes: Sequence[NodeInfo], targets: Collection[str]) -> list[str]:
    if home.name not in _loads(campaign, nodes, home, targets):
        return []
    if set(campaign.nodes.target.cores) & set(campaign.nodes.load.cores):
        return [f"{home.name} has one core: load and target share it, and verdicts will say so"]
    return [f"load and target share {home.name}, on cores of their own: they share caches, memory and kernel"]


def _differs(condition: str, there: Placement, nominal: Placement) -> list[str]:
    """What differs from nominal beside the machine under test, so that nobody reads it as that machine's doing."""
    found = []
    if there.loads != nominal.loads:
        found.append(f"{condition}: load comes from {', '.join(there.loads)}, nominal's from {', '.join(nominal.loads)}")
    beside, nominally = there.target.name in there.loads, nominal.target.name in nominal.loads
    if beside != nominally:
        words = ("on the target's own node", "over the network")
        found.append(f"{condition}: load comes {words[not beside]}, nominal's {words[not nominally]}: the way between them differs, too")
    return found


def _told(nodes: Sequence[NodeInfo]) -> str:
    return ", ".join(n.name for n in nodes)


def _left_out(held: Sequence[str]) -> str:
    return f" (quarantined and left out: {'; '.join(held)})" if held else ""


def _names(nodes: Sequence[NodeInfo]) -> str:
    return ", ".join(f"{n.name} ({len(n.cores)} cores)" for n in nodes) or "none"


def _labelled(nodes: Sequence[NodeInfo]) -> str:
    return "; ".join(f"{n.name}: " + ", ".join(f"{k}={v}" for k, v in sorted(n.labels.items())) for n in nodes) or "no nodes"


def _matching(role: str, where: str | None, cores: Sequence[int], nodes: Sequence[NodeInfo]) -> list[NodeInfo]:
    fits = list(nodes)
    if where is not None:
        test = compile_where(where, f"{role}.where")
        fits = [n for n in nodes if test(n.labels)]
        if not fits:
            raise PreflightFailed(f"{role}.where: no node matches {where!r}; there are {_labelled(nodes)}")
    able = [n for n in fits if set(cores) <= set(n.cores)]
    if not able:
        lacking = sorted(set(cores) - set(fits[0].cores)) if fits else list(cores)
        have = ", ".join(map(str, fits[0].cores)) if fits else "none"
        raise PreflightFailed(
            f"{role}.cores: core {lacking[0]} does not exist on {_names(fits)}; its cores, as far as its policy allows them, are {have}"
        )
    return able
