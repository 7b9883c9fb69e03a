"""What is known of one attempt at a trial once it has ended: the value that the journal keeps and the analysis reads."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verdict = Literal["valid", "suspect", "invalid"]
"""May the measurement be believed?"""
Outcome = Literal["functions", "falls_back", "fails", "unknown"]
"""What the system did. `unknown` only where nothing was measured (infra, cancelled)."""
FailureClass = Literal["infra", "invalid", "system", "spec", "cancelled"]


@dataclass(frozen=True)
class AskedViolation:
    """One violation of a condition, resolved: the dose is in the catalogue's unit."""

    name: str
    axis: str
    unit: str
    dose: float
    options: Mapping[str, str] = field(default_factory=dict)
    profile: str = ""
    """A dose over time (protos.profile, as JSON); `dose` is then its most."""


@dataclass(frozen=True)
class AttemptRecord:
    """One attempt. Its tables lie at <run>/<table>/trial=<trial>/attempt=<attempt>/<agent>.parquet (protos.records)."""

    trial: str
    variant: str
    condition: str
    repeat: int
    block: int
    order: int
    attempt: int
    violations: tuple[AskedViolation, ...]
    verdict: Verdict
    reasons: tuple[str, ...]
    outcome: Outcome
    failure_class: FailureClass | None
    warmup_s: int
    measure_s: int
    load_agents: tuple[str, ...]
    target_agent: str = ""  # where the system ran; "" in records from before this was kept
    applied: tuple[Mapping[str, Any], ...] = ()  # Violate's answer: violation, unit, asked, mechanism, fidelity, at_second
    target: Mapping[str, Any] = field(default_factory=dict)  # Finish's `target`: cpu_ns over the measured window, rss_bytes
    summaries: Mapping[str, str] = field(default_factory=dict)  # violation -> what it did in all, by its own account when it ended
    workload_doses: Mapping[str, float] = field(default_factory=dict)  # measured on the compiled trace
    off_nominal: Mapping[str, Any] = field(default_factory=dict)  # violation of the workload -> distance (controller.workload_distance)
    evidence: tuple[str, ...] = ()  # what the outcome was decided by, in words
    cleanup: Mapping[str, Any] = field(default_factory=dict)  # by agent: verdict (clean, dirty, unknown), left, changed
    clock: Mapping[str, Any] = field(default_factory=dict)
    self_check: Mapping[str, Any] = field(default_factory=dict)  # the load agents' own verdicts, by agent
    started_unix_ns: int = 0
    ended_unix_ns: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "AttemptRecord":
        fields = dict(raw)
        fields["violations"] = tuple(AskedViolation(**v) for v in fields["violations"])
        for name in ("reasons", "load_agents", "applied", "evidence"):
            fields[name] = tuple(fields.get(name, ()))
        return cls(**fields)
