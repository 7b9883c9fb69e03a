"""Compiles the traces that a plan needs: one file for each different workload, shared by all its trials."""

from collections.abc import Mapping
from pathlib import Path

from controller.campaign import Campaign
from controller.plan import Plan
from protos.violations import CATALOGUE
from traces.compile import Compiled, compile_workload
from traces.source import open_trace
from traces.transforms import TransformSpec


def compile_all(campaign: Campaign, plan: Plan, folder: Path) -> Mapping[str, Compiled]:
    """Workload key -> compiled trace. Takes what is compiled already from `folder`. Raises InvalidInput for a bad trace."""
    work = campaign.workload
    duration_ns = (campaign.phases.warmup_s + campaign.phases.measure_s) * 1_000_000_000
    made: dict[str, Compiled] = {}
    for trial in plan.trials:
        if trial.workload in made:
            continue
        bends = [TransformSpec(v.name, v.dose, dict(v.options)) for v in trial.violations if CATALOGUE[v.name].axis == "workload"]
        system, _ = campaign.variant(trial.variant)
        made[trial.workload] = compile_workload(
            open_trace(campaign.trace_path, format=work.format, seed=campaign.seed),
            [*work.transform_specs, *bends],
            driver=system.driver,
            rate_per_s=work.rate_per_s,
            duration_ns=duration_ns,
            seed=campaign.seed,
            out_dir=folder,
            spread=work.spread,
            projection=work.projection,
        )
    return made
