"""From a campaign and the nodes to ordered trials: a pure function of document, seed and nodes.

Order is blocked random: a block holds each variant under each condition once, nominal included, in an order drawn from (seed,
block), so that drift is shared and each comparison with nominal is made within a block.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from controller.attempts import AskedViolation
from controller.campaign import NOMINAL, Campaign
from controller.capabilities import changes, why_not
from controller.where import Label, compile_where
from protos.topology import Topology
from protos.violations import CATALOGUE
from traces.errors import PreflightFailed

OVERHEAD_S = 5.0
"""What a trial takes beside its phases: start of the system, readiness, arming, collecting. A trial with violations takes 1 s more."""


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


@dataclass(frozen=True)
class Trial:
    """One variant under one condition, one repeat, on named agents. `workload` names the trace that it replays."""

    id: str
    order: int
    block: int
    repeat: int
    variant: str
    condition: str
    violations: tuple[AskedViolation, ...]
    workload: str
    target_agent: str
    target_cores: tuple[int, ...]
    load_agents: tuple[str, ...]
    load_cores: tuple[int, ...]

    @property
    def title(self) -> str:
        return f"{self.variant} · {self.condition} · repeat {self.repeat}"


@dataclass(frozen=True)
class Refusal:
    """A condition that a node cannot do, and why. Its trials are left out, and said so."""

    condition: str
    violation: str
    node: str
    reason: str


@dataclass(frozen=True)
class Plan:
    campaign: str
    spec_hash: str
    seed: int
    trials: tuple[Trial, ...]
    refusals: tuple[Refusal, ...] = ()
    warnings: tuple[str, ...] = ()
    trial_s: float = 0.0
    nodes: tuple[str, ...] = field(default_factory=tuple)
    target: Mapping[str, Any] = field(default_factory=dict)
    """What the target said of itself: its labels, and its capabilities that this plan asks for."""

    @property
    def eta_s(self) -> float:
        return self.trial_s * len(self.trials)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "eta_s": self.eta_s}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Plan":
        fields = {k: v for k, v in raw.items() if k != "eta_s"}
        fields["trials"] = tuple(_trial(t) for t in raw["trials"])
        fields["refusals"] = tuple(Refusal(**r) for r in raw["refusals"])
        for name in ("warnings", "nodes"):
            fields[name] = tuple(raw[name])
        return cls(**fields)


def _trial(raw: Mapping[str, Any]) -> Trial:
    fields = dict(raw)
    fields["violations"] = tuple(AskedViolation(**v) for v in raw["violations"])
    for name in ("target_cores", "load_agents", "load_cores"):
        fields[name] = tuple(raw[name])
    return Trial(**fields)


UNPLACED = "any"


def make_plan(campaign: Campaign, nodes: Sequence[NodeInfo] | None) -> Plan:
    """Raises PreflightFailed where no node fits a role. With `nodes` None nothing is placed and nothing refused."""
    target, loads, warnings = (UNPLACED, (UNPLACED,), ()) if nodes is None else _place(campaign, nodes)
    conditions = campaign.expanded()
    refusals: tuple[Refusal, ...] = ()
    seen: Mapping[str, Any] = {}
    if nodes is not None:
        node = next(n for n in nodes if n.name == target)
        refusals = tuple(_refusals(conditions, node, campaign))
        seen = _seen(conditions, node)
        conditions = {n: v for n, v in conditions.items() if n not in {r.condition for r in refusals}}
    cells = [(variant, condition) for variant in campaign.system.variants for condition in conditions]
    trials: list[Trial] = []
    for block in range(campaign.design.blocks):
        rng = np.random.Generator(np.random.PCG64([campaign.seed, block]))
        for at in rng.permutation(len(cells)):
            variant, condition = cells[at]
            violations = conditions[condition]
            trials.append(
                Trial(
                    id=f"t{len(trials):03d}-{variant}-{condition}-r{block + 1}",
                    order=len(trials),
                    block=block + 1,
                    repeat=block + 1,
                    variant=variant,
                    condition=condition,
                    violations=violations,
                    workload=_workload_key(violations),
                    target_agent=target,
                    target_cores=campaign.nodes.target.cores,
                    load_agents=loads,
                    load_cores=campaign.nodes.load.cores,
                )
            )
    phases = campaign.phases
    trial_s = OVERHEAD_S + phases.warmup_s + phases.measure_s + phases.cooldown_ms / 1000 + (1.0 if len(conditions) > 1 else 0.0)
    return Plan(
        campaign=campaign.campaign,
        spec_hash=campaign.spec_hash,
        seed=campaign.seed,
        trials=tuple(trials),
        refusals=refusals,
        warnings=(*warnings, *_may_stop(campaign)),
        trial_s=trial_s,
        nodes=tuple(n.name for n in nodes or ()),
        target=seen,
    )


def _may_stop(campaign: Campaign) -> tuple[str, ...]:
    design = campaign.design
    if design.until is None:
        return ()
    return (
        f"ends after block {design.repeats} or later, once every interval of {design.until.metric} is within "
        f"{design.until.half_width:.3g} of its value; {design.blocks} blocks at most",
    )


def _workload_key(violations: Sequence[AskedViolation]) -> str:
    bends = [
        ",".join((f"{v.name}={v.dose:g}", *(f"{option}={value}" for option, value in sorted(v.options.items()))))
        for v in violations
        if CATALOGUE[v.name].axis == "workload"
    ]
    return "+".join(bends) or NOMINAL


def placed_again(plan: Plan, campaign: Campaign, nodes: Sequence[NodeInfo], wanted: Collection[str]) -> Plan:
    """The same trials on the agents that there are now: a resumed run may meet them under new names, or changed.

    `wanted` are the trials still to be run. Raises PreflightFailed where the target can no longer do what one of them needs;
    what else has changed since the plan was made is in the warnings.
    """
    target, loads, warnings = _place(campaign, nodes)
    node = next(n for n in nodes if n.name == target)
    needed = {t.condition: t.violations for t in plan.trials if t.id in wanted}
    if gone := _refusals(needed, node, campaign):
        first, more = gone[0], f" (and {len(gone) - 1} more)" if len(gone) > 1 else ""
        raise PreflightFailed(
            f"{first.condition}: {first.violation} on {first.node}: {first.reason}; it could when this run was planned{more}; "
            "mend that and resume, or start a new run"
        )
    conditions = campaign.expanded()
    able_now = {r.condition for r in plan.refusals} - {r.condition for r in _refusals(conditions, node, campaign)}
    said = [f"changed since this run was planned: {what}" for what in changes(plan.target, _seen(conditions, node))]
    said += [f"{name} was refused when this run was planned and could be done now: it stays left out" for name in sorted(able_now)]
    trials = tuple(replace(t, target_agent=target, load_agents=loads) for t in plan.trials)
    return replace(plan, trials=trials, warnings=(*warnings, *_may_stop(campaign), *said), nodes=tuple(n.name for n in nodes))


def _place(campaign: Campaign, nodes: Sequence[NodeInfo]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The target's agent, the load agents, and what to be wary of. Load goes on nodes of its own where there are enough."""
    held = [f"{n.name}: {n.quarantine}" for n in nodes if n.quarantine is not None]
    nodes = [n for n in nodes if n.quarantine is None]
    if held and not nodes:
        raise PreflightFailed(f"nodes: no node takes trials, all are quarantined: {'; '.join(held)}")
    want_target, want_load = campaign.nodes.target, campaign.nodes.load
    fits = _matching("nodes.target", want_target.where, want_target.cores, nodes)
    target = fits[0]
    loads = _matching("nodes.load", want_load.where, want_load.cores, nodes)
    apart = [n for n in loads if n.name != target.name]
    chosen = (apart if len(apart) >= want_load.count else loads)[: want_load.count]
    if len(chosen) < want_load.count:
        raise PreflightFailed(
            f"nodes.load.count: {want_load.count} load nodes are asked for, {len(loads)} fit; "
            f"attach more agents or lower the count (there are: {_names(nodes)})"
        )
    warnings = [f"quarantined and left out: {each}" for each in held]
    if target in chosen:
        shared = sorted(set(want_target.cores) & set(want_load.cores))
        if shared and len(target.cores) > 1:
            raise PreflightFailed(
                f"nodes: load and target share core {shared[0]} of {target.name}, so the load would measure itself; "
                "give nodes.load.cores and nodes.target.cores without a common core"
            )
        if shared:
            warnings.append(f"{target.name} has one core: load and target share it, and verdicts will say so")
        else:
            warnings.append(f"load and target share {target.name}, on cores of their own: they share caches, memory and kernel")
    return target.name, tuple(n.name for n in chosen), tuple(warnings)


def _names(nodes: Sequence[NodeInfo]) -> str:
    return ", ".join(f"{n.name} ({len(n.cores)} cores)" for n in nodes) or "none"


def _matching(role: str, where: str | None, cores: Sequence[int], nodes: Sequence[NodeInfo]) -> list[NodeInfo]:
    fits = list(nodes)
    if where is not None:
        test = compile_where(where, f"{role}.where")
        fits = [n for n in nodes if test(n.labels)]
        if not fits:
            shown = "; ".join(f"{n.name}: " + ", ".join(f"{k}={v}" for k, v in sorted(n.labels.items())) for n in nodes)
            raise PreflightFailed(f"{role}.where: no node matches {where!r}; there are {shown or 'no nodes'}")
    able = [n for n in fits if set(cores) <= set(n.cores)]
    if not able:
        lacking = sorted(set(cores) - set(fits[0].cores)) if fits else list(cores)
        have = ", ".join(map(str, fits[0].cores)) if fits else "none"
        raise PreflightFailed(
            f"{role}.cores: core {lacking[0]} does not exist on {_names(fits)}; its cores, as far as its policy allows them, are {have}"
        )
    return able


def _refusals(conditions: Mapping[str, Sequence[AskedViolation]], node: NodeInfo, campaign: Campaign) -> list[Refusal]:
    target_cores, phases = campaign.nodes.target.cores, campaign.phases
    seconds = phases.warmup_s + phases.measure_s + phases.drain_ms / 1000
    return [
        Refusal(condition, asked.name, node.name, reason)
        for condition, violations in conditions.items()
        for asked in violations
        if (reason := why_not(asked, node.capabilities, node.cores, target_cores, node.topology, seconds)) is not None
    ]


def _seen(conditions: Mapping[str, Sequence[AskedViolation]], node: NodeInfo) -> dict[str, Any]:
    names = sorted({asked.name for violations in conditions.values() for asked in violations})
    return {
        "labels": dict(node.labels),
        "capabilities": {n: dict(node.capabilities[n]) for n in names if n in node.capabilities},
    }
