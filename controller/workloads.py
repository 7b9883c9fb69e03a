"""Compiles the traces that a plan needs: one file for each different workload, shared by all its trials."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from controller.campaign import NOMINAL, Campaign
from controller.plan import Plan, Trial
from protos.violations import CATALOGUE
from traces.compile import Compiled, compile_workload, open_compiled
from traces.document import load_document
from traces.errors import InvalidInput
from traces.source import open_trace
from traces.transforms import Dosed, Reading, TransformSpec, apply, transform_of, transforms
from traces.transforms.written import specs_of_entries


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
            bent = apply(trace, bends_of(campaign), campaign.seed)
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
        made[trial.workload] = compile_workload(
            open_trace(campaign.resolve(work.trace), format=work.format, options=work.options, seed=campaign.seed),
            [*bends_of(campaign), *bends_asked(trial)],
            driver=campaign.system.driver,
            rate_per_s=work.rate,
            duration_ns=duration_ns,
            seed=campaign.seed,
            out_dir=folder,
            spread=work.spread,
            projection=work.projection,
        )
    return made


def bends_asked(trial: Trial) -> list[TransformSpec]:
    """The violations of the workload in a trial, as transforms of its trace."""
    return [TransformSpec(v.name, v.dose, dict(v.options)) for v in trial.violations if CATALOGUE[v.name].axis == "workload"]


def doses_given(workloads: Mapping[str, Compiled], trial: Trial) -> dict[str, float]:
    """What the compiled trace really holds of each violation of the workload: never what was asked, always counted. One that it has too few
    requests to tell is left out.
    """
    found = {}
    for asked in trial.violations:
        if CATALOGUE[asked.name].axis == "workload":
            given = _dose_given(workloads[trial.workload].path, workloads[NOMINAL].path, asked.name, tuple(sorted(asked.options.items())))
            if given is not None:
                found[asked.name] = given
    return found


@cache
def _dose_given(made: Path, nominal: Path, name: str, options: tuple[tuple[str, str], ...]) -> float | None:
    """Read once for all trials that replay it: files are named by their content."""
    transform = transforms()[name]
    if not isinstance(transform, Dosed):
        raise TypeError(f"{name} is in the catalogue of violations, and cannot be read back")
    return transform.dose(open_compiled(made), open_compiled(nominal), TransformSpec(name, None, dict(options)))


def bends_of(campaign: Campaign) -> list[TransformSpec]:
    """The document's transforms. Paths of other traces are as seen from its folder."""
    specs = specs_of_entries(campaign.workload.transforms, "workload.transforms")
    return [_seen_from_folder(campaign, spec) if isinstance(transform_of(spec), Reading) else spec for spec in specs]


def _seen_from_folder(campaign: Campaign, spec: TransformSpec) -> TransformSpec:
    there = campaign.resolve(str(spec.value))
    return replace(spec, value=there) if Path(there).exists() else spec
