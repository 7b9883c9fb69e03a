"""Compiles the traces that a plan needs: one file for each different workload, shared by all its trials."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

from controller.analysis.doses import dose_amiss, workload_dose_summaries
from controller.attempts import AskedViolation
from controller.campaign import Campaign
from controller.plan import Plan, Trial, workload_key
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
    """Workload key -> compiled trace, also of the steps by which a workload with several violations comes about. Takes what is compiled
    already from `folder`. Raises InvalidInput for a bad trace.
    """
    work = campaign.workload
    duration_ns = (campaign.phases.warmup_s + campaign.phases.measure_s) * 1_000_000_000
    made: dict[str, Compiled] = {}
    for trial in plan.trials:
        for step in steps_of(trial):
            key = workload_key(step)
            if key in made:
                continue
            made[key] = compile_workload(
                open_trace(campaign.resolve(work.trace), format=work.format, options=work.options, seed=campaign.seed),
                [*bends_of(campaign), *(TransformSpec(v.name, v.dose, dict(v.options)) for v in step)],
                driver=campaign.system.driver,
                rate_per_s=work.rate,
                duration_ns=duration_ns,
                seed=campaign.seed,
                out_dir=folder,
                spread=work.spread,
                projection=work.projection,
            )
    return made


def steps_of(trial: Trial) -> list[tuple[AskedViolation, ...]]:
    """The violations of its workload, first none of them and then one more in each step."""
    bends = tuple(asked for asked in trial.violations if CATALOGUE[asked.name].axis == "workload")
    return [bends[:count] for count in range(len(bends) + 1)]


def doses_given(workloads: Mapping[str, Compiled], trial: Trial) -> dict[str, float]:
    """What the compiled trace really holds of each violation of the workload: never what was asked, always counted. One that it has too few
    requests to tell is left out. Each is read in the trace that it made beside the one that it was given, since what bends the trace after
    it may well change its figure: inserts that `churn` adds are writes for `op_mix`.
    """
    found = {}
    for before, after in pairwise(steps_of(trial)):
        asked = after[-1]
        made, without = (workloads[workload_key(step)].path for step in (after, before))
        given = _dose_given(made, without, asked.name, tuple(sorted(asked.options.items())))
        if given is not None:
            found[asked.name] = given
    return found


def doses_amiss(workloads: Mapping[str, Compiled], plan: Plan) -> list[str]:
    """In words, each dose of the workload that its trace does not hold: the trials of that condition will not be believed, and what can be
    said before they take their time is said then.
    """
    found = {}
    for trial in plan.trials:
        if trial.condition not in found:
            given = workload_dose_summaries(trial.violations, doses_given(workloads, trial))
            found[trial.condition] = [dose_amiss(dose) for dose in given if dose["verdict"] != "confirmed"]
    return [f"{condition}: {words}; its trials will be invalid" for condition, amiss in found.items() for words in amiss]


@cache
def _dose_given(made: Path, without: Path, name: str, options: tuple[tuple[str, str], ...]) -> float | None:
    """Read once for all trials that replay it: files are named by their content."""
    transform = transforms()[name]
    if not isinstance(transform, Dosed):
        raise TypeError(f"{name} is in the catalogue of violations, and cannot be read back")
    return transform.dose(open_compiled(made), open_compiled(without), TransformSpec(name, None, dict(options)))


def bends_of(campaign: Campaign) -> list[TransformSpec]:
    """The document's transforms. Paths of other traces are as seen from its folder."""
    specs = specs_of_entries(campaign.workload.transforms, "workload.transforms")
    return [_seen_from_folder(campaign, spec) if isinstance(transform_of(spec), Reading) else spec for spec in specs]


def _seen_from_folder(campaign: Campaign, spec: TransformSpec) -> TransformSpec:
    there = campaign.resolve(str(spec.value))
    return replace(spec, value=there) if Path(there).exists() else spec
