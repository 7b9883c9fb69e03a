"""How far each condition's workload lies from nominal's, measured on the compiled traces: the dose of a violation is what was asked of a
transform, this is what the system meets.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from controller.campaign import NOMINAL
from controller.plan import Trial
from protos.violations import CATALOGUE
from traces.compile import Compiled
from traces.compiled import open_compiled
from traces.distance import Comparison, Distance, along, compare
from traces.portrait import Portrait, portrait_of
from traces.transforms import transforms


def off_nominal(trials: Iterable[Trial], workloads: Mapping[str, Compiled]) -> dict[str, dict[str, Any]]:
    """Condition -> violation of the workload -> its distance from nominal along what the violation bends, as `Distance.to_json` has it, and
    `all`: the distance of every dimension. Reads each compiled trace once.
    """
    nominal: Portrait | None = None
    found: dict[str, dict[str, Any]] = {}
    for trial in trials:
        bends = [asked.name for asked in trial.violations if CATALOGUE[asked.name].axis == "workload"]
        if not bends or trial.condition in found or NOMINAL not in workloads:
            continue
        nominal = nominal or portrait_of(open_compiled(workloads[NOMINAL].path))
        made = compare(nominal, portrait_of(open_compiled(workloads[trial.workload].path)), same_keys=True)
        found[trial.condition] = {name: _said(made, name) for name in bends}
    return found


def _said(made: Comparison, violation: str) -> dict[str, Any]:
    chosen: Distance = along(made, transforms()[violation].changes)
    every = {each.dimension: {"distance": each.apart.wasserstein, "floor": each.floor.wasserstein} for each in made.distances}
    return chosen.to_json() | {"all": every, "only_nominal": list(made.only_a), "only_violated": list(made.only_b)}
