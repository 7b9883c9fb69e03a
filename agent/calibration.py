"""The largest dose of each violation that this node gives: tried once, kept until it reboots (agent.calibrated), so that what a machine
cannot give is known before a trial. Nothing is tried unasked.
"""

from collections.abc import Sequence

from agent import calibrated, inventory
from agent.ledger import Ledger, work_folder
from agent.scope import Cgroups
from agent.undo import default_state_dir
from agent.violations import Calibrating, Context, registry
from traces.errors import OffspecError


def able() -> list[str]:
    """Names of the violations that can be tried on this node."""
    cgroups, cores = Cgroups(), len(inventory.cores())
    return [name for name, v in registry().items() if isinstance(v, Calibrating) and v.probe(cgroups, cores).supported]


def calibrate(names: Sequence[str]) -> dict[str, float]:
    """Tries each for a second or two, one after the other, on a machine that should be idle; keeps and returns what was found, in the
    catalogue's unit and for default options. What cannot be tried here is left out. Raises OffspecError where one that should be able
    fails.
    """
    cores = tuple(inventory.cores())
    state_dir = default_state_dir()
    found: dict[str, float] = {}
    ledger = Ledger(state_dir)
    try:
        folder, _ = work_folder(ledger, state_dir / "work" / f"calibrate-{ledger.lease}")
        context = Context(ledger, Cgroups(), cores[:1], cores, folder)
        for name in [n for n in able() if n in names]:
            violation = registry()[name]
            assert isinstance(violation, Calibrating)
            try:
                found[name] = float(f"{violation.calibrate(context):.3g}")
            except OffspecError as error:
                raise type(error)(f"calibrate: {error}") from None
    finally:
        ledger.close()
    calibrated.keep(found)
    return found
