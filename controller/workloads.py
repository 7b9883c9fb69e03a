"""Compiles the traces that a plan needs: one file for each different workload, shared by all its trials."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
        made[trial.workload] = compile_workload(
            open_trace(campaign.resolve(work.trace), format=work.format, options=work.options, seed=campaign.seed),
            [*bends_of(work.transforms), *bends],
            driver=campaign.system.driver,
            rate_per_s=work.rate,
            duration_ns=duration_ns,
            seed=campaign.seed,
            out_dir=folder,
            spread=work.spread,
            projection=work.projection,
        )
    return made


def bends_of(given: tuple[Mapping[str, Any], ...]) -> list[TransformSpec]:
    """The document's transforms: {name: value} or {name: {value: ..., option: ...}}."""
    found = []
    for each in given:
        ((name, value),) = each.items()
        options = dict(value) if isinstance(value, Mapping) else {"value": value}
        main = options.pop("value", None)
        found.append(TransformSpec(name, main, {k: str(v) for k, v in options.items()}))
    return found
