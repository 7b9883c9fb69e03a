"""Gates, self-checks and failures of an attempt -> may it be believed, what did the system do, and is it to be repeated. Pure.

What the system did is decided from evidence: it did not start, was not ready, ended or answered nothing: it fails. It served, but its log,
its own metric or the CPU time of its requests tells of another path: it falls back. Else it functions.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from controller.analysis.doses import dose_amiss
from controller.attempts import FailureClass, Outcome, Verdict
from controller.campaign import FallsBack
from protos.violations import CATALOGUE

_HOPELESS = 3
_WORSE: Mapping[str, int] = {"valid": 0, "suspect": 1, "invalid": 2}


@dataclass(frozen=True)
class Evidence:
    """What is known when an attempt has ended. `self_check` holds each load agent's summary of itself."""

    self_check: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    target: Mapping[str, Any] = field(default_factory=dict)
    child: Mapping[str, Any] = field(default_factory=dict)
    doses: Sequence[Mapping[str, Any]] = ()
    """Summaries over the measured seconds: violation, unit, asked, measured, coverage, verdict."""
    dose_gate: float = 0.9
    foreign_gate: float = 0.1
    """Most of one core that others may have taken of the system's cores; three times that, and it is no measurement of the system."""
    failure_class: str | None = None
    failure: str | None = None
    step: str = ""
    not_cleaned: Sequence[str] = ()
    cleanup: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What each agent found on its node after the trial: verdict, left, changed."""
    ready_s: float | None = None
    signs: Sequence[FallsBack] = ()
    log: str = ""
    metrics: Sequence[tuple[str, Mapping[str, str], float]] = ()
    """The last sample of each series that was scraped in the trial: name, labels, value."""


@dataclass(frozen=True)
class Judged:
    verdict: Verdict
    reasons: tuple[str, ...]
    outcome: Outcome
    failure_class: FailureClass | None
    evidence: tuple[str, ...] = ()
    """What the outcome was decided by, in words."""


def judge(seen: Evidence) -> Judged:
    """The worst of all that is held against the measurement. A system that died or refused is a result, and valid."""
    if seen.failure_class == "system":
        # The instrument worked: the system is what failed.
        did_not = {"deploy": "it did not start", "ready": "it did not become ready"}.get(seen.step, "it did not serve")
        return Judged("valid", (f"{seen.step}: {seen.failure}",), "fails", "system", (f"{did_not}: {seen.failure}",))
    if seen.failure_class is not None:
        failure_class: FailureClass = _known(seen.failure_class)
        return Judged("invalid", (f"{seen.step}: {seen.failure}",), "unknown", failure_class)
    held: list[tuple[str, str]] = []  # how bad, and why
    for agent, summary in seen.self_check.items():
        prefix = f"{agent}: " if len(seen.self_check) > 1 else ""
        held += [(summary["verdict"], prefix + reason) for reason in summary["reasons"]]
    for dose in seen.doses:
        what = f"dose of {dose['violation']}"
        if CATALOGUE[dose["violation"]].stage == "compile" and dose["coverage"] < seen.dose_gate:
            held.append(("invalid", dose_amiss(dose)))
        elif dose["measured"] is None:
            held.append(("invalid", f"{what} could not be measured"))
        elif dose["coverage"] < seen.dose_gate:
            given = f"{dose['asked']:g} {dose['unit']} asked, {dose['measured']:.3g} given"
            held.append(("invalid", f"{what}: {given}, right in {dose['coverage']:.0%} of the seconds (gate {seen.dose_gate:.0%})"))
    held += [("invalid", f"the system was not started as asked: {wrong}") for wrong in seen.child.get("differs", ())]
    others = seen.target.get("foreign")
    if others is not None and others > seen.foreign_gate:
        how_much = f"others took {others:.0%} of a core from the system's cores (gate {seen.foreign_gate:.0%})"
        held.append(("invalid" if others > _HOPELESS * seen.foreign_gate else "suspect", how_much))
    held += [("suspect", f"left behind: {left}") for left in seen.not_cleaned]
    for agent, found in seen.cleanup.items():
        held += [("suspect", f"left behind on {agent}: {left}") for left in found["left"] if found["verdict"] == "dirty"]
    # Who reads only the first must read the worst.
    held.sort(key=lambda each: -_WORSE.get(each[0], 2))
    reasons = tuple(reason for _, reason in held)
    verdict: Verdict = "valid"
    for how_bad in (*(summary["verdict"] for summary in seen.self_check.values()), *(each[0] for each in held)):
        verdict = _worst(verdict, how_bad)
    if verdict != "invalid" and not seen.target.get("alive", True):
        code = seen.target.get("exit")
        said = f"the system ended during the trial (exit {code})"
        return Judged(verdict, (*reasons, said), "fails", "system", (said,))
    outcome = _outcome([str(s.get("outcome", "unknown")) for s in seen.self_check.values()])
    evidence = (_served(seen),) if outcome != "unknown" else ()
    if outcome == "functions" and (signs := signs_of_fall_back(seen.signs, seen.log, seen.metrics)):
        outcome, evidence = "falls_back", (*evidence, *signs)
    return Judged(verdict, reasons, outcome, "invalid" if verdict == "invalid" else None, evidence)


def _served(seen: Evidence) -> str:
    due = sum(int(s.get("scheduled", 0)) for s in seen.self_check.values())
    done = sum(int(s.get("completed", 0)) for s in seen.self_check.values())
    ready = "it started" if seen.ready_s is None else f"it started, was ready after {seen.ready_s:.2g} s"
    return f"{ready}, and answered {done} of {due} requests"


def signs_of_fall_back(signs: Sequence[FallsBack], log: str, metrics: Sequence[tuple[str, Mapping[str, str], float]]) -> tuple[str, ...]:
    """Those of the system's own signs that one attempt shows, in words. What a request costs needs the nominal trials beside it."""
    found = []
    for sign in signs:
        if sign.log is not None:
            pattern = re.compile(sign.log)
            line = next((line for line in log.splitlines() if pattern.search(line)), None)
            if line is not None:
                found.append(f"its log says: {line.strip()[:200]}")
        elif sign.metric is not None:
            for name, labels, value in metrics:
                if name == sign.metric and sign.labels.items() <= labels.items() and _beyond(sign, value):
                    bound = f"above {sign.above:g}" if sign.above is not None else f"below {sign.below:g}"
                    found.append(f"its metric {name} is {value:g}, {bound}")
                    break
    return tuple(found)


def _beyond(sign: FallsBack, value: float) -> bool:
    return value > sign.above if sign.above is not None else sign.below is not None and value < sign.below


def costs_like_another_path(signs: Sequence[FallsBack], times: float) -> str | None:
    """In words, where a request costs so many times the CPU time of a nominal one that a sign of the system says: another path."""
    for sign in signs:
        if sign.cpu_per_request is not None and sign.cpu_per_request.holds(times):
            return f"a request costs {times:.2f} times the CPU time of a nominal one ({sign.cpu_per_request.text})"
    return None


def _worst(one: Verdict, other: str) -> Verdict:
    worst = max(one, other, key=lambda v: _WORSE.get(v, 2))
    return worst if worst in ("valid", "suspect") else "invalid"  # type: ignore[return-value]


def _outcome(seen: Sequence[str]) -> Outcome:
    if not seen:
        return "unknown"
    return "fails" if "fails" in seen else "functions"


def _known(failure_class: str) -> Literal["infra", "invalid", "spec", "cancelled"]:
    match failure_class:
        case "invalid" | "spec" | "cancelled":
            return failure_class
        case _:
            return "infra"
