"""An agent in small, to be killed: `python -m tests.system.chaos_agent STATE_DIR SEED`.

Applies violations drawn from the registry among those that this node can do, on a system that runs away from its parents, measures and
undoes them, again and again. What is in force stands in <STATE_DIR>/in-force, a line each.
"""

import os
import random
import sys
import time
from pathlib import Path

from agent.ledger import Ledger, work_folder
from agent.scope import Cgroups, Scope
from agent.violations import Confining, Context, Preparing, registry
from protos.violations import CATALOGUE, ViolationSpec, Words
from traces.errors import OffspecError

RUNAWAY = ["sh", "-c", "setsid sleep 1000 & (setsid sh -c 'sleep 1001 &'); sleep 1002"]
_GENTLE = {"percent": (2, 30), "GB/s": (0.05, 0.3), "MB/s": (1, 40), "MiB": (64, 128), "s": (1, 1000), "cores": (1, 1), "ms": (1, 5)}
"""Doses that do a small machine no harm, by unit; of other units the lowest."""


def drawn(spec: ViolationSpec, rng: random.Random) -> tuple[float, dict[str, str]]:
    low, high = _GENTLE.get(spec.unit, (spec.low, spec.low))
    dose = min(max(rng.uniform(low, high), spec.low), spec.high)
    options = {}
    for name, allowed in spec.options.items():
        if isinstance(allowed, Words) and allowed.required:
            options[name] = rng.choice(allowed.of)
        elif isinstance(allowed, tuple) and allowed and rng.random() < 0.5:
            options[name] = rng.choice(allowed)
    return (float(int(dose)) if "dose" in spec.whole else dose), options


def once(ledger: Ledger, cgroups: Cgroups, able: list[str], rng: random.Random, state_dir: Path) -> None:
    folder, step = work_folder(ledger, state_dir / "work" / f"chaos-{os.getpid()}")
    target = Scope("target", ledger, cgroups)
    cores = tuple(sorted(os.sched_getaffinity(0)))
    context = Context(ledger, cgroups, cores[:1], cores, folder, target)
    env: dict[str, str] = {}
    prelude: list[object] = []
    confined: tuple[int, ...] = ()
    applied = []
    chosen = sorted(rng.sample(able, rng.randint(1, min(3, len(able)))), key=lambda name: CATALOGUE[name].stage)
    started = False
    with (state_dir / "in-force").open("a", buffering=1) as log:
        for name in chosen:
            if CATALOGUE[name].stage == "violate" and not started:
                target.spawn(RUNAWAY, env=env, prelude=prelude, cores=confined)  # type: ignore[arg-type]
                started = True
            dose, options = drawn(CATALOGUE[name], rng)
            try:
                made = registry()[name].apply(dose, options, context)
            except OffspecError as error:
                log.write(f"refused {name}: {error}\n")
                continue
            applied.append(made)
            log.write(f"applied {name}\n")
            if isinstance(made, Preparing):
                env |= made.env
                prelude += made.prelude
            if isinstance(made, Confining):
                confined = made.cores
        if not started:
            target.spawn(RUNAWAY, env=env, prelude=prelude, cores=confined)  # type: ignore[arg-type]
        time.sleep(rng.uniform(0, 0.5))
        for made in reversed(applied):
            made.measure()
            made.undo()
    target.end()
    ledger.undo(step)


def main() -> None:
    state_dir, rng = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
    cgroups = Cgroups()
    able = [name for name, violation in registry().items() if violation.probe(cgroups, len(os.sched_getaffinity(0))).supported]
    ledger = Ledger(state_dir)
    try:
        while ledger.guarded:
            once(ledger, cgroups, able, rng, state_dir)
    finally:
        ledger.close()


if __name__ == "__main__":
    main()
