"""Ways to break an assumption on this node, one file each: what it can do here, apply, measure the dose really given, undo.

The catalogue (protos/violations.py) says what each breaks and its unit; a test holds the two together.
"""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from agent import topology
from agent.ledger import Ledger
from agent.scope import Cgroups, Scope
from protos.topology import NoPlace, Topology, cores_at
from traces.errors import UsageError


@dataclass(frozen=True)
class Capability:
    """What this node can do of a violation, by which mechanism, how faithfully (exact | equivalent | proxy), up to which dose.
    `calibrated` is the most that this node gave when it was tried (agent.calibration), which holds for the options' defaults.
    """

    supported: bool
    mechanism: str = ""
    fidelity: str = ""
    reason: str = ""
    max_dose: float | None = None
    calibrated: float | None = None
    allowed: float | None = None
    """The most that the node's policy allows; None: as much as it can."""
    longest_s: float | None = None
    """How long at most, by the node's policy."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Reading:
    """The dose given since the last reading, in the catalogue's unit, and where that was read. None: could not be read. `cpu_percent` is
    what the neighbour took of a core for it, dose or not; None: nobody keeps that, or nothing of ours runs. `throttled_ms` is how long
    the system was held by its quota since then, summed over its cores, and `throttled_periods` in which share of the periods;
    `major_faults_per_s` how often it waited for a page from a disk, `swapped_mib` how much of it lies in swap. `remark` is what else was
    read that bounds the claim, in words.
    """

    given: float | None
    source: str
    cpu_percent: float | None = None
    throttled_ms: float | None = None
    throttled_periods: float | None = None
    major_faults_per_s: float | None = None
    swapped_mib: float | None = None
    remark: str | None = None


class Applied(Protocol):
    """A violation in force."""

    mechanism: str
    fidelity: str

    def measure(self) -> Reading: ...

    def undo(self) -> str:
        """undone | foreign | failed, as agent.undo has it. Twice is harmless."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """One that the system is started under: its variables, and the steps of agent.prelude that it takes from itself."""

    env: Mapping[str, str]
    prelude: Sequence[Mapping[str, Any]]


@runtime_checkable
class Varying(Protocol):
    """One whose dose can be changed while it is in force."""

    def set(self, dose: float) -> None:
        """From now on. Raises OSError."""
        ...


@runtime_checkable
class Summing(Protocol):
    """One that can say, once it is undone, what it did in all."""

    summary: str | None

    def undo(self) -> str: ...


@runtime_checkable
class Confining(Protocol):
    """One that says on which cores the system starts."""

    cores: tuple[int, ...]


@runtime_checkable
class Rerouting(Protocol):
    """One that the load must go by: from now on the system is reached at this port of its node."""

    port: int


@dataclass(frozen=True)
class Context:
    """What a violation works on. `target` is the scope of the system under test and `port` where it is reached so far, None where there
    is none (offspec inject).
    """

    ledger: Ledger
    cgroups: Cgroups
    target_cores: tuple[int, ...]
    all_cores: tuple[int, ...]
    work_dir: Path
    target: Scope | None = None
    topology: Topology = field(default_factory=topology.here)
    port: int | None = None
    busy_cores: tuple[int, ...] = ()
    """Where the load generator runs, if it runs here."""


class Violation(Protocol):
    name: str

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        """Looks without changing anything."""
        ...

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Applied:
        """Makes it so, with its undo step recorded first. Raises OffspecError in one line."""
        ...


@runtime_checkable
class Calibrating(Protocol):
    """One whose largest dose this node must be tried for."""

    def calibrate(self, context: Context) -> float:
        """The most that it gives for sure, in the catalogue's unit, with default options; takes a second or two. Raises OffspecError."""
        ...


@cache
def registry() -> dict[str, Violation]:
    """Every violation of this package by name."""
    modules = (importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__))
    return {m.VIOLATION.name: m.VIOLATION for m in modules if hasattr(m, "VIOLATION")}


def cores_for(options: Mapping[str, str], context: Context, default: str, count: int = 1) -> tuple[int, ...]:
    """At most `count` cores for a neighbour by its `place`; (): anywhere, also where nothing is asked and the default is not to be
    had. Raises UsageError where there is no such place.
    """
    try:
        found = cores_at(options.get("place", default), context.topology, context.target_cores, context.all_cores, context.busy_cores)
    except NoPlace as error:
        if "place" in options:
            raise UsageError(str(error)) from None
        return ()
    return found[:count]


def said_place(cores: Sequence[int]) -> str:
    """Where a neighbour runs, in words."""
    return f"on core {', '.join(map(str, cores))}" if cores else "on any core"
