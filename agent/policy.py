"""The node's own policy: what may be done to this machine, whoever asks. A campaign cannot override it.

`/etc/offspec/policy.yaml`, or the file that OFFSPEC_POLICY names; the owner of the machine writes it:

    allow: [cpu, membw, memory]      # which violations; left out: all but those that change values of the machine (undo class C)
    doses: {cpu: 50, membw: 2 GB/s}  # at most
    cores: [0, 1]                    # which cores systems, load and neighbours may have
    memory_left: 2 GiB               # stays available, or nothing is applied
    longest: 10m                     # a violation, however it was asked for

Without a file there is a policy too: all of classes A and B. A file that cannot be understood allows nothing.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.violations import Capability
from protos.violations import CATALOGUE
from traces.document import Document, load_document
from traces.errors import InvalidInput, PreflightFailed
from traces.quantities import parse_duration, parse_quantity, parse_size

_DEFAULT = Path("/etc/offspec/policy.yaml")
_KEYS = ("allow", "doses", "cores", "memory_left", "longest")


@dataclass(frozen=True)
class Policy:
    """Doses in the catalogue's unit. `source` is where it stands, None for that of a node without a file."""

    source: Path | None = None
    allow: tuple[str, ...] = tuple(name for name, spec in CATALOGUE.items() if spec.on_node and spec.undo in ("A", "B"))
    doses: Mapping[str, float] = field(default_factory=dict)
    cores: tuple[int, ...] | None = None
    memory_left_bytes: int = 0
    longest_s: float | None = None

    @property
    def where(self) -> str:
        return "the policy of a node without a file" if self.source is None else f"this node's policy ({self.source})"

    def why_not(self, name: str, dose: float) -> str | None:
        """Why this may not be done here, None where it may. Pure."""
        if name not in self.allow:
            hint = "" if self.source is not None else f"; its owner allows it in {_DEFAULT} (allow: [{name}, ...])"
            return f"{self.where} does not allow it{hint}"
        most = self.doses.get(name)
        if most is not None and dose > most:
            return f"{dose:g} {CATALOGUE[name].unit} asked, {self.where} allows at most {most:g}"
        return None

    def time_for(self, name: str) -> float:
        """Seconds until the guard takes a violation back, at the latest."""
        longest_s = CATALOGUE[name].longest_s
        return longest_s if self.longest_s is None else min(longest_s, self.longest_s)

    def to_json(self) -> dict[str, Any]:
        return {
            "file": None if self.source is None else str(self.source),
            "allow": list(self.allow),
            "doses": dict(self.doses),
            "cores": None if self.cores is None else list(self.cores),
            "memory_left_bytes": self.memory_left_bytes,
            "longest_s": self.longest_s,
        }


def read() -> Policy:
    """This node's. Raises InvalidInput, `file:line: key: what`."""
    given = os.environ.get("OFFSPEC_POLICY")
    path = Path(given) if given else _DEFAULT
    if not given and not path.exists():
        return Policy()
    return parse(load_document(path, "policy", ", ".join(_KEYS)), path)


def parse(document: Document, path: Path) -> Policy:
    """Strict: an unknown key or word is an error, because what a typing error allows is more than its author meant."""
    data, plain = document.data, Policy(source=path)
    for key in data:
        if key not in _KEYS:
            document.fail((key,), f"unknown key (known here: {', '.join(_KEYS)})")
    allow = _list(document, "allow", str, "names of violations, such as [cpu, membw]")
    for at, name in enumerate(allow or ()):
        _known(document, ("allow", at), name)
    doses = data.get("doses", {})
    if not isinstance(doses, dict):
        document.fail(("doses",), "expected a dose by violation, such as {cpu: 50}")
    for name in doses:
        _known(document, ("doses", name), name)
    longest = data.get("longest")
    return replace(
        plain,
        allow=plain.allow if allow is None else tuple(allow),
        doses={name: _dose(document, name, raw) for name, raw in doses.items()},
        cores=None if (cores := _list(document, "cores", int, "core numbers, such as [0, 1]")) is None else tuple(cores),
        memory_left_bytes=0 if "memory_left" not in data else _parsed(document, "memory_left", parse_size, "an amount such as 2 GiB"),
        longest_s=None if longest is None else _parsed(document, "longest", parse_duration, "a time such as 10m") / 1e9,
    )


def _known(document: Document, at: tuple[str | int, ...], name: Any) -> None:
    if CATALOGUE.get(name) is None or not CATALOGUE[name].on_node:
        able = ", ".join(n for n, spec in CATALOGUE.items() if spec.on_node)
        document.fail(at, f"{name!r} is no violation of a machine (there are {able})")


def _list(document: Document, key: str, kind: type, expected: str) -> list[Any] | None:
    if key not in document.data:
        return None
    raw = document.data[key]
    if not isinstance(raw, list) or any(not isinstance(each, kind) or isinstance(each, bool) for each in raw):
        document.fail((key,), f"expected a list of {expected}")
    return raw


def _parsed(document: Document, key: str, parse: Any, expected: str) -> Any:
    try:
        return parse(str(document.data[key]), key)
    except InvalidInput as error:
        document.fail((key,), f"{document.data[key]!r}: expected {expected} ({str(error).partition(': ')[2] or error})")


def _dose(document: Document, name: str, raw: Any) -> float:
    spec = CATALOGUE[name]
    try:
        number, unit = parse_quantity(str(raw), name)
    except InvalidInput:
        document.fail(("doses", name), f"{raw!r} is not a number; give one in {spec.unit}")
    factor = 1.0 if unit in ("", spec.unit) else spec.aliases.get(unit)
    if factor is None:
        document.fail(("doses", name), f"unit {unit!r} is unknown for {name}; use {', '.join((spec.unit, *spec.aliases))}")
    return number * factor


def ruled(able: Mapping[str, Capability]) -> dict[str, Capability]:
    """What a node can do, and may: what its policy forbids is not supported, with the reason."""
    try:
        policy = read()
    except InvalidInput as error:
        said = f"this node's policy allows nothing until it is mended: {error}"
        return {name: replace(each, supported=False, reason=said) for name, each in able.items()}
    found = {}
    for name, each in able.items():
        refused = policy.why_not(name, 0.0)
        if refused is not None and each.supported:
            each = replace(each, supported=False, reason=refused)
        found[name] = replace(each, allowed=policy.doses.get(name), longest_s=policy.longest_s)
    return found


def cores_of(cores: Sequence[int]) -> list[int]:
    """Of these cores, those that may be used here; none where the policy cannot be understood."""
    try:
        allowed = read().cores
    except InvalidInput:
        return list(cores)  # nothing may be applied on them, which the capabilities say
    return [core for core in cores if allowed is None or core in allowed]


def enforce(name: str, dose: float, seconds: float = 0.0) -> Policy:
    """Just before a violation is applied, by whoever applies it. Raises PreflightFailed, one line."""
    try:
        policy = read()
    except InvalidInput as error:
        raise PreflightFailed(f"violation {name}: this node's policy allows nothing until it is mended: {error}") from None
    if (refused := policy.why_not(name, dose)) is not None:
        raise PreflightFailed(f"violation {name}: {refused}")
    if policy.longest_s is not None and seconds > policy.longest_s:
        raise PreflightFailed(f"violation {name}: {seconds:g} s asked, {policy.where} allows {policy.longest_s:g} s at most")
    if policy.memory_left_bytes:
        spec = CATALOGUE[name]
        # What is held of a GPU's memory is not taken from the machine's.
        takes = dose * (1 << 20) if spec.axis == "sharing" and spec.unit == "MiB" and not name.startswith("gpu") else 0
        if available_bytes() - takes < policy.memory_left_bytes:
            left = f"{policy.memory_left_bytes >> 20} MiB are to stay available by {policy.where}"
            raise PreflightFailed(f"violation {name}: {left}, and {available_bytes() >> 20} MiB are now")
    return policy


def available_bytes() -> int:
    """Memory that could be had without swapping, as the kernel estimates it (proc(5), MemAvailable)."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 1 << 62  # a kernel that does not say: then it is nothing to refuse by
