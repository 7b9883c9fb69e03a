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
from controller.capabilities import beyond_calibration, changes
from controller.placement import Conditions, NodeInfo, Placements, Refusal, place
from protos.violations import CATALOGUE
from traces.errors import PreflightFailed

OVERHEAD_S = 5.0
"""What a trial takes beside its phases: start of the system, readiness, arming, collecting. A trial with violations takes 1 s more."""


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
    elsewhere: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The same of the nodes that conditions ask for instead, by condition."""

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
    conditions: Conditions = campaign.expanded()
    placed = None if nodes is None else place(campaign, nodes, conditions, {})
    seen, elsewhere = ({}, {}) if placed is None else _all_seen(conditions, placed)
    if placed is not None:
        conditions = {n: v for n, v in conditions.items() if n in placed.of}
    cells = [(variant, condition) for variant in campaign.system.variants for condition in conditions]
    trials: list[Trial] = []
    for block in range(campaign.design.blocks):
        rng = np.random.Generator(np.random.PCG64([campaign.seed, block]))
        for at in rng.permutation(len(cells)):
            variant, condition = cells[at]
            violations = tuple(conditions[condition])
            trials.append(
                Trial(
                    id=f"t{len(trials):03d}-{variant}-{condition}-r{block + 1}",
                    order=len(trials),
                    block=block + 1,
                    repeat=block + 1,
                    variant=variant,
                    condition=condition,
                    violations=violations,
                    workload=workload_key(violations),
                    target_agent=UNPLACED if placed is None else placed.of[condition].target.name,
                    target_cores=campaign.nodes.target.cores,
                    load_agents=(UNPLACED,) if placed is None else placed.of[condition].loads,
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
        refusals=() if placed is None else placed.refusals,
        warnings=(*(() if placed is None else placed.warnings), *_may_stop(campaign), *_untried(conditions, placed)),
        trial_s=trial_s,
        nodes=tuple(n.name for n in nodes or ()),
        target=seen,
        elsewhere=elsewhere,
    )


def _untried(conditions: Conditions, placed: Placements | None) -> tuple[str, ...]:
    """What is asked with options for which nobody tried whether its node gives so much."""
    if placed is None:
        return ()
    found = []
    for name, violations in conditions.items():
        for asked in violations:
            able = placed.of[name].target.capabilities.get(asked.name)
            if able is not None and (said := beyond_calibration(asked, able)) is not None:
                found.append(f"{name}: {asked.name}: {said}")
    return tuple(found)


def _may_stop(campaign: Campaign) -> tuple[str, ...]:
    design = campaign.design
    if design.until is None:
        return ()
    return (
        f"ends after block {design.repeats} or later, once every interval of {design.until.metric} is within "
        f"{design.until.half_width:.3g} of its value; {design.blocks} blocks at most",
    )


def workload_key(violations: Sequence[AskedViolation]) -> str:
    """Names the trace that these violations make of the nominal one; equal only for equal traces."""
    bends = [
        ",".join((f"{v.name}={v.dose:.12g}", *(f"{option}={value}" for option, value in sorted(v.options.items()))))
        for v in violations
        if CATALOGUE[v.name].axis == "workload"
    ]
    return "+".join(bends) or NOMINAL


def placed_again(plan: Plan, campaign: Campaign, nodes: Sequence[NodeInfo], wanted: Collection[str]) -> Plan:
    """The same trials on the agents that there are now: a resumed run may meet them under new names, or changed.

    `wanted` are the trials still to be run. Raises PreflightFailed where the target can no longer do what one of them needs;
    what else has changed since the plan was made is in the warnings.
    """
    conditions = campaign.expanded()
    planned = {NOMINAL: plan.target, **plan.elsewhere}
    machines = {name: str(seen["labels"]["machine_id"]) for name, seen in planned.items() if "machine_id" in seen.get("labels", {})}
    placed = place(campaign, nodes, conditions, machines)
    needed = {t.condition for t in plan.trials if t.id in wanted}
    if gone := [refusal for refusal in placed.refusals if refusal.condition in needed]:
        first, more = gone[0], f" (and {len(gone) - 1} more)" if len(gone) > 1 else ""
        raise PreflightFailed(
            f"{first.condition}: {first.violation} on {first.node}: {first.reason}; it could when this run was planned{more}; "
            "mend that and resume, or start a new run"
        )
    able_now = {r.condition for r in plan.refusals} & placed.of.keys()
    target, elsewhere = _all_seen(conditions, placed)
    said = [f"changed since this run was planned: {what}" for what in changes(plan.target, target)]
    for condition in sorted(plan.elsewhere.keys() & elsewhere.keys()):
        said += [f"changed since this run was planned: {condition}: {w}" for w in changes(plan.elsewhere[condition], elsewhere[condition])]
    said += [f"{name} was refused when this run was planned and could be done now: it stays left out" for name in sorted(able_now)]
    trials = []
    for trial in plan.trials:
        there = placed.of.get(trial.condition, placed.of[NOMINAL])  # a condition that has none any more has no trial left to run
        trials.append(replace(trial, target_agent=there.target.name, load_agents=there.loads))
    warnings = (*placed.warnings, *_may_stop(campaign), *said)
    return replace(plan, trials=tuple(trials), warnings=warnings, nodes=tuple(n.name for n in nodes))


def _all_seen(conditions: Conditions, placed: Placements) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What nominal's target said of itself, and what the others did, by condition."""
    home = placed.of[NOMINAL].target
    at_home = {n: v for n, v in conditions.items() if n not in placed.of or placed.of[n].target is home}
    elsewhere = {n: _seen({n: conditions[n]}, each.target) for n, each in placed.of.items() if each.target is not home}
    return _seen(at_home, home), elsewhere


def _seen(conditions: Conditions, node: NodeInfo) -> dict[str, Any]:
    names = sorted({asked.name for violations in conditions.values() for asked in violations})
    return {
        "labels": dict(node.labels),
        "capabilities": {n: dict(node.capabilities[n]) for n in names if n in node.capabilities},
    }
