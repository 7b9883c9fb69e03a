"""Neighbours that hold a rate: one native process in its scope, told its rate through a page, measured each second.

What it gives is read from the kernel where the kernel counts such a thing by process, else from its own count; a reading says which. A
violation is an Order and the meaning of its options; everything else is here.
"""

import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.antagonist_page import Page
from agent.launcher import Child, LaunchFailed
from agent.ledger import work_folder
from agent.scope import Scope
from agent.violations import Context, Reading, cores_for, said_place
from traces.errors import PreflightFailed

FIRM_WEIGHT = 65_536
"""A neighbour's dose is given whatever the system does: against it an ordinary scope weighs 1024."""
_READY_S = 20.0
_LOOK_S = 0.005
_CALIBRATE_S = 1.0
_SURE_SHARE = 0.9


@dataclass(frozen=True)
class Counter:
    """Where the units done are counted: by the kernel, of a process, or by the antagonist itself."""

    source: str
    read: Callable[[int], int] | None = None


OWN_COUNT = Counter("counter")


@dataclass(frozen=True)
class Order:
    """One antagonist: `kind` and `numbers` as _engine.antagonist_paced has them; `per_unit` counted units a second are one unit of dose."""

    name: str
    kind: str
    mechanism: str
    per_unit: float
    fidelity: str = "exact"
    place: str = "other-core"
    threads: int = 1
    numbers: Mapping[str, float] = field(default_factory=dict)
    address: str | None = None
    files: bool = False
    prelude: Sequence[Mapping[str, Any]] = ()
    counter: Counter = OWN_COUNT
    counted_per_paced: float = 1.0
    """Units that the counter sees for one unit of the pace (bytes for one operation)."""
    program: Sequence[str] = (sys.executable, "-m", "agent.antagonists", "paced")


class Launched:
    """An antagonist that is prepared and stands still. Raises PreflightFailed, with nothing left behind."""

    def __init__(self, order: Order, options: Mapping[str, str], context: Context) -> None:
        cores = cores_for(options, context, order.place, order.threads)
        self.where = said_place(cores)
        self._ledger = context.ledger
        self.page = Page()
        self._files: int | None = None
        self.scope = Scope(f"{order.name}-neighbour", context.ledger, context.cgroups)
        asked: dict[str, Any] = {"kind": order.kind, "page_path": self.page.path, "threads": order.threads, "numbers": dict(order.numbers)}
        if order.address is not None:
            asked["address"] = order.address
        try:
            if order.files:
                folder, self._files = work_folder(context.ledger, context.work_dir / f"{order.name}-{os.getpid()}-{time.monotonic_ns()}")
                asked["path"] = str(folder)
            if self.scope.limits:
                self.scope.set_weight(FIRM_WEIGHT)
            with _scratch() as output:
                argv = [*order.program, json.dumps(asked)]
                self.child: Child = self.scope.spawn(argv, cores=cores, output=output, prelude=order.prelude)
                self._await_ready(output)
        except (LaunchFailed, OSError) as error:
            self.end()
            raise PreflightFailed(f"violation {order.name}: {error}") from None

    def _await_ready(self, output: io.BufferedRandom) -> None:
        """The dose is in force when it is given, not when it is asked: buffers are touched and files filled first."""
        deadline = time.monotonic() + _READY_S
        while not self.page.ready:
            if self.child.exit_code() is not None:
                output.seek(0)
                lines = output.read().decode(errors="replace").strip().splitlines()
                raise LaunchFailed(lines[-1] if lines else f"its process ended with {self.child.exit_code()}")
            if time.monotonic() > deadline:
                raise LaunchFailed(f"it was not prepared within {_READY_S:g} s; ask for smaller files or buffers")
            time.sleep(_LOOK_S)

    @property
    def alive(self) -> bool:
        return self.child.exit_code() is None

    def end(self) -> str:
        """undone | foreign | failed; twice is harmless."""
        results = [self.scope.end()]
        if self._files is not None:
            results.append(self._ledger.undo(self._files))
        self.page.close()
        return next((r for r in results if r != "undone"), "undone")


@contextlib.contextmanager
def _scratch() -> Any:
    """A file in memory for what a process says."""
    with os.fdopen(os.memfd_create("offspec-output"), "w+b") as made:
        yield made


class Cost:
    """What a scope itself takes of the CPU between two looks, in percent of one core; None where nobody keeps that."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._seen = (time.monotonic_ns(), scope.usage_ns())

    def look(self) -> float | None:
        (then_ns, before), self._seen = self._seen, (time.monotonic_ns(), self._scope.usage_ns())
        now_ns, usage = self._seen
        return None if usage is None or before is None else (usage - before) / max(1, now_ns - then_ns) * 100


class Paced:
    """One that runs. Its rate is that of `dose`."""

    def __init__(self, order: Order, dose: float, options: Mapping[str, str], context: Context) -> None:
        self._order = order
        self._launched = Launched(order, options, context)
        self.mechanism = f"{order.mechanism} {self._launched.where}"
        self.fidelity = order.fidelity
        self._cost = Cost(self._launched.scope)
        self._seen = (time.monotonic_ns(), self._count())
        self._ask(dose)

    def _ask(self, dose: float) -> None:
        self._launched.page.ask(dose * self._order.per_unit / self._order.counted_per_paced)

    def _count(self) -> int:
        read = self._order.counter.read
        return self._launched.page.done if read is None else read(self._launched.child.pid)

    def measure(self) -> Reading:
        if not self._launched.alive:
            return Reading(None, self._order.counter.source)
        (then_ns, before), self._seen = self._seen, (time.monotonic_ns(), self._count())
        now_ns, count = self._seen
        given = (count - before) * 1e9 / max(1, now_ns - then_ns) / self._order.per_unit
        return Reading(given, self._order.counter.source, self._cost.look())

    def undo(self) -> str:
        return self._launched.end()


class Rated(Paced):
    """One whose dose is its rate, so that it can change while it runs."""

    def set(self, dose: float) -> None:
        self._ask(dose)


def most(order: Order, context: Context) -> float:
    """The largest dose that this node gives for sure: nine tenths of what it reaches unpaced in a second, alone."""
    applied = Paced(order, float("inf"), {}, context)
    try:
        time.sleep(_CALIBRATE_S / 5)
        applied.measure()
        time.sleep(_CALIBRATE_S)
        given = applied.measure().given
    finally:
        applied.undo()
    if given is None:
        raise PreflightFailed(f"violation {order.name}: it ended while it was calibrated")
    return given * _SURE_SHARE
