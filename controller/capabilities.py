"""Whether a node can do what a condition asks, by what its inventory says; and what differs between two looks at it. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from controller.attempts import AskedViolation
from protos.topology import NoPlace, Topology, cores_at
from protos.violation_options import by_default
from protos.violations import CATALOGUE

_UNKNOWN: Mapping[str, Any] = {"supported": False, "reason": "the agent does not know it"}
_ONLY_IN_CGROUPS = ("weight", "nice", "period_ms")


def why_not(
    asked: AskedViolation,
    capabilities: Mapping[str, Mapping[str, Any]],
    cores: Sequence[int],
    target_cores: Sequence[int],
    topology: Topology,
    seconds: float = 0.0,
) -> str | None:
    """Why a node with these capabilities, cores and topology cannot do it beside a system on `target_cores`, for so many
    `seconds`; None where it can.
    """
    if not CATALOGUE[asked.name].on_node:
        return None  # made in the trace, or by the choice of the node, so any node can
    able = capabilities.get(asked.name, _UNKNOWN)
    if not able["supported"]:
        return str(able.get("reason") or "not supported")
    allowed = able.get("allowed")
    if allowed is not None and asked.dose > allowed:
        return f"{asked.dose:g} {asked.unit} asked, the node's policy allows at most {allowed:g}"
    longest_s = able.get("longest_s")
    if longest_s is not None and seconds > longest_s:
        return f"a trial violates for about {seconds:g} s, the node's policy allows {longest_s:g} s at most; shorten the phases"
    most = _most(asked.name, able, len(cores))
    if most is not None and asked.dose > most:
        return f"{asked.dose:g} {asked.unit} asked, the node gives at most {most:g}"
    tried = able.get("calibrated")
    if tried is not None and asked.dose > tried and not asked.options:
        holds = by_default(CATALOGUE[asked.name])
        return f"{asked.dose:g} {asked.unit} asked, the node gave at most {tried:g} when it was calibrated {holds}"
    if asked.profile and able.get("fidelity") == "proxy":
        return f"a dose over time cannot be given by {able.get('mechanism')}, which is what the node has"
    if "place" in asked.options:
        try:
            cores_at(asked.options["place"], topology, target_cores, cores)
        except NoPlace as error:
            return str(error)
    ignored = [o for o in _ONLY_IN_CGROUPS if o in asked.options]
    if ignored and able.get("fidelity") == "proxy":
        return f"{ignored[0]} needs a writable cgroup, and the node does it by {able.get('mechanism')}, which has none"
    return None


def beyond_calibration(asked: AskedViolation, able: Mapping[str, Any]) -> str | None:
    """In words, where more is asked than the node gave, but with other options than those it was tried with: then nothing is bounded."""
    tried = able.get("calibrated")
    if tried is None or asked.dose <= tried or not asked.options:
        return None
    options = ", ".join(f"{name} {value}" for name, value in asked.options.items())
    return (
        f"{asked.dose:g} {asked.unit} asked with {options}; the node gave at most {tried:g} when it was calibrated "
        f"{by_default(CATALOGUE[asked.name])}, and whether it gives this is seen only in the trial's measured dose"
    )


def _most(name: str, able: Mapping[str, Any], cores: int) -> float | None:
    """The largest dose; what the number of cores bounds is bounded by it, whatever the inventory leaves out."""
    bounds = {"cores": float(cores), "cpu-quota": cores * 100.0}
    said = [float(b) for b in (able.get("max_dose"), bounds.get(name)) if b is not None]
    return min(said, default=None)


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two looks at the target ({labels, capabilities}), in words: both shape what is measured."""
    found = []
    for label in _both(before, now, "labels"):
        was, is_now = before["labels"].get(label), now["labels"].get(label)
        if label != "mem_gib" and was != is_now:
            found.append(f"{label} was {was}, is {is_now}")
    for name in _both(before, now, "capabilities"):
        was_able, able = before["capabilities"].get(name), now["capabilities"].get(name)
        if was_able is not None and able is not None:
            found += [
                f"{name}: {field} was {was_able.get(field)}, is {able.get(field)}"
                for field in ("supported", "mechanism", "fidelity", "max_dose", "calibrated")
                if was_able.get(field) != able.get(field)
            ]
    return found


def _both(before: Mapping[str, Any], now: Mapping[str, Any], part: str) -> list[str]:
    return sorted({*before.get(part, {}), *now.get(part, {})}) if before.get(part) else []
