"""Ways to break an assumption on this node, one file each: what it can do here, apply, measure the dose really given, undo.

The catalogue (protos/violations.py) says what each breaks and its unit; a test holds the two together.
"""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from agent.ledger import Ledger
from agent.scope import Cgroups, Scope
from traces.errors import UsageError


@dataclass(frozen=True)
class Capability:
    """What this node can do of a violation, by which mechanism, how faithfully (exact | equivalent | proxy), up to which dose."""

    supported: bool
    mechanism: str = ""
    fidelity: str = ""
    reason: str = ""
    max_dose: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Reading:
    """The dose given since the last reading, in the catalogue's unit, and where that was read. None: could not be read."""

    given: float | None
    source: str


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
class Confining(Protocol):
    """One that says on which cores the system starts."""

    cores: tuple[int, ...]


@dataclass(frozen=True)
class Context:
    """What a violation works on. `target` is the scope of the system under test, None where there is none (offspec inject)."""

    ledger: Ledger
    cgroups: Cgroups
    target_cores: tuple[int, ...]
    all_cores: tuple[int, ...]
    work_dir: Path
    target: Scope | None = None


class Violation(Protocol):
    name: str

    def probe(self, cgroups: Cgroups, cores: int) -> Capability:
        """Looks without changing anything."""
        ...

    def apply(self, dose: float, options: Mapping[str, str], context: Context) -> Applied:
        """Makes it so, with its undo step recorded first. Raises OffspecError in one line."""
        ...


@cache
def registry() -> dict[str, Violation]:
    """Every violation of this package by name."""
    modules = (importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__))
    return {m.VIOLATION.name: m.VIOLATION for m in modules if hasattr(m, "VIOLATION")}


def place(options: Mapping[str, str], context: Context, default: str) -> int | None:
    """The core of a neighbour by its `place`; None: anywhere. Raises UsageError where there is no such core."""
    where = options.get("place", default)
    if where == "anywhere":
        return None
    if where == "same-core":
        return context.target_cores[0] if context.target_cores else context.all_cores[0]
    others = [c for c in context.all_cores if c not in context.target_cores]
    if not others:
        raise UsageError("place other-core: the target has every core of this node; use same-core or anywhere")
    return others[0]
