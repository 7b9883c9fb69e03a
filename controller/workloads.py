"""Compiles the traces that a plan needs: one file for each different workload, shared by all its trials."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from controller.campaign import NOMINAL, Campaign
from controller.document import load_document
from controller.plan import Plan, Trial
from protos.violations import CATALOGUE
from traces.compile import Compiled, compile_workload
from traces.errors import InvalidInput
from traces.source import open_trace
from traces.transforms import TransformSpec, apply


def check_trace(campaign: Campaign, document: Path) -> None:
    """Opens the trace and reads its first rows before anything is started, so that a wrong path costs nothing.

    Raises InvalidInput with the line of `document` that asks for what cannot be had.
    """
    work = campaign.workload
    asks: tuple[str, ...] = ("workload", "trace")
    try:
        trace = open_trace(campaign.resolve(work.trace), format=work.format, options=work.options, seed=campaign.seed)
        if next(iter(trace.batches()), None) is None:
            raise InvalidInput(f"{work.trace}: no rows; expected at least one request; name another trace")
        if work.transforms:
            asks = ("workload", "transforms")
            bent = apply(trace, bends_of(work.transforms), campaign.seed)
            if next(iter(bent.batches()), None) is None:
                raise InvalidInput("no request of the trace is left; give transforms that leave some")
    except InvalidInput as error:
        load_document(document).fail(asks, str(error))


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


def doses_given(workloads: Mapping[str, Compiled], trial: Trial) -> dict[str, float]:
    """What the compiled trace really holds of each violation of the workload: never what was asked, always counted."""
    nominal, made = workloads.get(NOMINAL), workloads[trial.workload]
    found = {}
    for asked in trial.violations:
        if asked.name == "rate_scale" and nominal is not None and nominal.rows:
            found[asked.name] = made.rows / nominal.rows
        elif asked.name == "burst":
            found[asked.name] = gap_cv(made.path)
    return found


def gap_cv(path: Path) -> float:
    """Coefficient of variation of the gaps between arrivals (population standard deviation over mean)."""
    arrivals = pq.read_table(path, columns=["arrival_ns"])["arrival_ns"].to_numpy()
    gaps = np.diff(arrivals)
    return float(gaps.std() / gaps.mean()) if len(gaps) and gaps.mean() > 0 else 0.0


def bends_of(given: tuple[Mapping[str, Any], ...]) -> list[TransformSpec]:
    """The document's transforms: {name: value} or {name: {value: ..., option: ...}}."""
    found = []
    for each in given:
        ((name, value),) = each.items()
        options = dict(value) if isinstance(value, Mapping) else {"value": value}
        main = options.pop("value", None)
        found.append(TransformSpec(name, main, {k: str(v) for k, v in options.items()}))
    return found
