"""What the scores say, in sentences: the effect first, its interval, and what it rests on. Nothing inside the noise is a finding."""

from collections.abc import Mapping, Sequence
from typing import Any

from controller.analysis.retention import MORE_IS_BETTER, Score, figure, noise_floor, portability, usable
from controller.analysis.sequential import looks_of
from controller.campaign import NOMINAL, Design

_WORDS = {
    "response_p50": "median response",
    "response_p99": "response p99",
    "goodput": "goodput",
    "throughput": "throughput",
    "efficiency": "requests per CPU second",
}
_HEADLINES = ("goodput", "response_p50", "response_p99", "efficiency")


def findings(entries: Sequence[Mapping[str, Any]], scores: Sequence[Score]) -> list[str]:
    believed = usable(entries)
    variants = list(dict.fromkeys(e["variant"] for e in entries))
    found = _nominal_winners(believed, variants)
    for metric in _HEADLINES:
        for score in scores:
            if score.metric == metric and score.value is not None and not _within_noise(believed, score):
                found.append(_retention(score))
    found += _robust(scores, variants)
    for outcome, verb in (("fails", "fails"), ("falls_back", "falls back")):
        last = {(e["variant"], e["condition"]): e["evidence"] for e in believed if e["outcome"] == outcome}
        for (variant, condition), evidence in last.items():
            found.append(f"{variant} {verb} under {condition}: {evidence[-1]}." if evidence else f"{variant} {verb} under {condition}.")
    unconfirmed = {(e["condition"], d["violation"]) for e in believed for d in e["dose"] if d["verdict"] != "confirmed"}
    found += [f"The dose of {v} under {c} was not confirmed in every trial: read its rows with care." for c, v in sorted(unconfirmed)]
    invalid = [e["id"] for e in entries if e["verdict"] == "invalid" and e["failure_class"] != "cancelled"]
    if invalid:
        found.append(f"{len(invalid)} attempts were not believed and left out: {', '.join(dict.fromkeys(invalid[:5]))}.")
    if believed:
        found += _machines(believed)
    return found


def _machines(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the machines of a run allow to say."""
    home = {e["target_agent"] for e in entries if e["condition"] == NOMINAL}
    others = {e["target_agent"] for e in entries} - home
    if not others:
        return ["Holds for this machine and this day: one machine proves little about others."]
    where = f"{', '.join(sorted(home)) or 'no node'} (nominal) and {', '.join(sorted(others))}"
    return [
        f"Holds for {where} on this day. What the conditions on another node show is all in which those differ, not one feature of them."
    ]


def stopping(design: Design, looks: Sequence[Mapping[str, Any]]) -> list[str]:
    """When and why a run that may end early has ended, and what its intervals are worth."""
    if design.until is None or not looks:
        return []
    last = looks[-1]
    metric, asked = _WORDS[design.until.metric], f"within {design.until.half_width:.3g} of its value"
    if last["stop"]:
        said = f"Ended after block {last['block']} of at most {design.blocks}: {metric} is known {asked} under every condition"
    else:
        said = f"After block {last['block']} {metric} was not known {asked} under every condition ({last['where']} the least)"
    return [f"{said}. Intervals are widened for the {looks_of(design)} looks that the design allows."]


def _mean(entries: Sequence[Mapping[str, Any]], variant: str, condition: str, metric: str) -> float | None:
    values = [v for e in entries if e["variant"] == variant and e["condition"] == condition and (v := figure(e, metric)) is not None]
    return sum(values) / len(values) if values else None


def _nominal_winners(entries: Sequence[Mapping[str, Any]], variants: Sequence[str]) -> list[str]:
    if len(variants) < 2:
        return []
    found = []
    for metric, unit in (
        ("response_p50", "us"),
        ("response_p99", "us"),
        ("efficiency", "requests per CPU second"),
    ):
        means = {v: m for v in variants if (m := _mean(entries, v, NOMINAL, metric)) is not None}
        if len(means) < 2:
            continue
        ordered = sorted(means, key=lambda v: means[v], reverse=metric in MORE_IS_BETTER)
        best, next_best = ordered[0], ordered[1]
        by = max(means[best], means[next_best]) / max(1e-12, min(means[best], means[next_best]))
        floor = max(noise_floor(entries, v, metric) or 0.0 for v in (best, next_best))
        if by - 1 > floor:
            found.append(
                f"Nominal, {best} wins in {_WORDS[metric]}: {_number(means[best])} against {_number(means[next_best])} "
                f"{unit} of {next_best} ({by:.1f}x)."
            )
    return found


def _within_noise(entries: Sequence[Mapping[str, Any]], score: Score) -> bool:
    floor = noise_floor(entries, score.variant, score.metric) or 0.0
    assert score.value is not None
    if score.value <= 0:
        return False
    covers = score.low is not None and score.high is not None and score.low <= 1 <= score.high
    return covers or 1 / (1 + floor) <= score.value <= 1 + floor


def _retention(score: Score) -> str:
    interval = f" [{score.low:.2g}, {score.high:.2g}]" if score.low is not None and score.high is not None else ""
    over = f"{score.trials} blocks" if score.unit == "block" and score.trials > 1 else "one block, interval over seconds"
    assert score.value is not None
    verb = "keeps" if score.value < 1 else "gains to"
    return f"{score.variant} under {score.condition} {verb} {score.value:.2g}{interval} of its nominal {_WORDS[score.metric]} ({over})."


def _robust(scores: Sequence[Score], variants: Sequence[str]) -> list[str]:
    """The pair of portabilities that `robust` means: performance and efficiency, never one number alone."""
    pairs = {v: (portability(scores, v, "response_p99"), portability(scores, v, "efficiency")) for v in variants}
    said = [
        f"{v} {performance:.2g} / {efficiency:.2g}"
        for v, (performance, efficiency) in pairs.items()
        if performance is not None and efficiency is not None
    ]
    return [f"Portability (harmonic mean over conditions) of response p99 / efficiency: {', '.join(said)}."] if said else []


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
