"""`python -m agent.violations_doc`: writes docs/violations.md from the catalogue and what each violation's file says of itself.

A new violation appears there by its entry in protos/violations.py and the docstring of its file; a test holds the page fresh.
"""

import sys
from pathlib import Path

from agent.violations import registry
from protos.violations import CATALOGUE, UNDO_CLASSES, Allowed, Number, Told, ViolationSpec, Words

PAGE = Path(__file__).parents[1] / "docs" / "violations.md"
_AXES = {
    "sharing": "who else is on the machine",
    "hardware": "what the machine is, or has",
    "workload": "what is asked of the system (made in the trace)",
}
_HEAD = """\
<!-- Made by `python -m agent.violations_doc` from protos/violations.py and agent/violations/: change those. -->
# Violations

What can be taken from a system, or put beside it, in a campaign's `conditions`. `offspec doctor` says what this machine can do of it, and
by which mechanism; a mechanism marked *proxy* stands for the real thing and says so in every result. Every dose is read back each second
from where the last column says, and judged within its tolerance.

```yaml
conditions:
  noisy-core:   {sharing:  {cpu: {dose: [25, 50], place: same-core}}}
  swelling:     {sharing:  {cpu: {dose: {ramp: [0, 100], over: 10s}}}}   # a dose over time, counted from T0; or
                                                                         #   {steps: [10, 50], each: 5s}
                                                                         #   {pulse: [0, 80], every: 10s, for: 2s}
                                                                         #   {signal: load.csv} with columns second and dose
  elsewhere:    {hardware: {nodes: {where: "cpu_model =~ 'EPYC'"}}}   # the same system on another machine
  no-aes:       {hardware: {mask-isa: {features: [aes]}}}          # with what no processor has without it (vaes)
  old-kernel:   {hardware: {no-io-uring: {errno: ENOSYS}}}
  small-memory: {hardware: {memory: {dose: [256, 512], unit: MiB}}}
```

How a change is taken back:
"""


def page() -> str:
    """The whole page. Order is the catalogue's."""
    parts = [_HEAD, *(f"- **{letter}**: {words}" for letter, words in UNDO_CLASSES.items()), ""]
    for axis, words in _AXES.items():
        specs = [spec for spec in CATALOGUE.values() if spec.axis == axis]
        parts += [f"## {axis.capitalize()}: {words}", "", "| name | assumption that it breaks | dose | undo | how the dose is read back |"]
        parts += ["|---|---|---|---|---|"]
        parts += [f"| `{s.name}` | {s.breaks} | {_dose(s)} | {s.undo} | {s.measured_by} |" for s in specs]
        parts.append("")
        for spec in specs:
            parts += [f"### `{spec.name}`", "", *_details(spec), ""]
    return "\n".join(parts)


def _dose(spec: ViolationSpec) -> str:
    if spec.is_switch:
        return "on"
    return f"{spec.unit}, {spec.low:g} to {spec.high:g}"


def _details(spec: ViolationSpec) -> list[str]:
    lines = []
    violation = registry().get(spec.name)
    if violation is not None:
        said = (sys.modules[type(violation).__module__].__doc__ or "").strip()
        first = " ".join(said.split("\n\n", 1)[0].split()).removeprefix(f"`{spec.name}`: ")
        lines += [first[:1].upper() + first[1:], ""]
    lines.append(f"- by, best first: {'; '.join(spec.mechanisms)}")
    if spec.needs:
        lines.append(f"- needs: {spec.needs}")
    if spec.options:
        lines.append(f"- options: {'; '.join(_option(name, allowed) for name, allowed in spec.options.items())}")
    if not spec.is_switch:
        wide = [f"{spec.tolerance:.0%} of the dose"] * (spec.tolerance > 0) + [f"{spec.tolerance_abs:g} {spec.unit}"] * (
            spec.tolerance_abs > 0
        )
        lines.append(f"- counts as given within {' or '.join(wide) or 'nothing: exactly the dose'}" + _other_units(spec))
    if spec.on_node:
        lines.append(f"- undo: {UNDO_CLASSES[spec.undo]}; after {_time(spec.longest_s)} at the latest")
    if spec.varies:
        lines.append("- its dose can follow a profile over time")
    if spec.hazards:
        lines.append(f"- mind: {spec.hazards}")
    return lines


def _option(name: str, allowed: Allowed) -> str:
    if isinstance(allowed, Words):
        return f"`{name}` (one or a list of {', '.join(allowed.of)}{'; must be given' if allowed.required else ''})"
    if isinstance(allowed, Number):
        return f"`{name}` (a number from {allowed.low:g} to {allowed.high:g})"
    if isinstance(allowed, Told):
        return f"`{name}` ({allowed.words}{'; must be given' if allowed.required else ''})"
    return f"`{name}` ({' or '.join(allowed) if allowed else 'a number'})"


def _other_units(spec: ViolationSpec) -> str:
    return f"; also in {', '.join(spec.aliases)}" if spec.aliases else ""


def _time(seconds: float) -> str:
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds:g} s"


if __name__ == "__main__":
    PAGE.write_text(page())
