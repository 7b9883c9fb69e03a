"""A plan for a person: what will run, in which order, what is left out and why, and how long it takes."""

from controller.attempts import AskedViolation
from controller.plan import Plan
from controller.progress import human_duration


def notes(plan: Plan) -> list[str]:
    """Refusals and warnings, one line each."""
    refused = [f"refused: {r.condition}: {r.violation} on {r.node}: {r.reason}" for r in plan.refusals]
    return [*refused, *(f"note: {w}" for w in plan.warnings)]


def plan_text(plan: Plan) -> str:
    lines = [
        f"{plan.campaign}: {len(plan.trials)} trials, about {human_duration(plan.eta_s)} "
        f"({plan.trial_s:g} s each); seed {plan.seed}, content {plan.spec_hash[:12]}",
        *notes(plan),
        "",
        f"{'#':>4} {'block':>5}  {'variant':<16} {'condition':<28} {'doses':<34} target -> load",
    ]
    for t in plan.trials:
        doses = ", ".join(_dose(v) for v in t.violations) or "-"
        where = f"{t.target_agent} cores {','.join(map(str, t.target_cores))} <- {','.join(t.load_agents)}"
        where += f" cores {','.join(map(str, t.load_cores))}"
        lines.append(f"{t.order:>4} {t.block:>5}  {t.variant:<16} {t.condition:<28} {doses:<34} {where}")
    return "\n".join(lines)


def _dose(asked: AskedViolation) -> str:
    return asked.options.get("where", "") if asked.name == "nodes" else f"{asked.name} {asked.dose:g} {asked.unit}"
