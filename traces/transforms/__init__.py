"""Transforms bend one dimension of a trace and leave the others alone: pure, seeded, streaming, one module
each with a `TRANSFORM`; others come in through the entry point group `offspec.trace_transforms`.

Every one that was applied stands in the trace's metadata with its value, options and seed.
"""

import dataclasses
import pkgutil
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache, partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Literal, Protocol, runtime_checkable

from traces.draws import stream
from traces.errors import InvalidInput
from traces.stream import StreamTrace, Trace
from traces.transforms.spec import TransformSpec

__all__ = ["GROUP", "Dosed", "Reading", "Stage", "Transform", "TransformSpec", "apply", "identity_of", "transform_of", "transforms"]

GROUP = "offspec.trace_transforms"
Stage = Literal["source", "pace", "bend"]
"""In whose time it works: that of the source's stamps; the change from it to the replay's; the replay's.
Compiling applies them in this order.
"""


class Transform(Protocol):
    """One transform. Instances hold no state."""

    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def stage(self) -> Stage: ...
    @property
    def value(self) -> str:
        """What its main figure is; "" where it takes none."""

    @property
    def options(self) -> Mapping[str, str]:
        """What each option is, with its unit."""

    @property
    def changes(self) -> str:
        """The dimension of the load that it bends; figures of all others stay."""

    @property
    def needs(self) -> str:
        """What it needs beside one pass in constant memory; "" for nothing."""

    def bend(self, trace: Trace, spec: TransformSpec, seed: int) -> StreamTrace:
        """Raises InvalidInput for a value, an option or a trace that it cannot use."""


@runtime_checkable
class Dosed(Protocol):
    """A transform whose dose can be read back: what a campaign can violate by it."""

    def dose(self, made: Trace, nominal: Trace, spec: TransformSpec) -> float | None:
        """The dose that `made` really has beside the same trace without it; None where it has too few requests to tell."""


@runtime_checkable
class Reading(Protocol):
    """A transform that reads another trace."""

    def other(self, spec: TransformSpec, seed: int) -> Trace:
        """Raises InvalidInput for one that cannot be read."""


@cache
def transforms() -> Mapping[str, Transform]:
    """All transforms by name; a plug-in cannot take the place of a built-in."""
    found: dict[str, Transform] = {}
    for entry in entry_points(group=GROUP):
        plugged: Transform = entry.load()
        found[plugged.name] = plugged
    for module in pkgutil.iter_modules(__path__):
        built_in = getattr(import_module(f"{__name__}.{module.name}"), "TRANSFORM", None)
        if built_in is not None:
            found[built_in.name] = built_in
    return dict(sorted(found.items()))


def transform_of(spec: TransformSpec) -> Transform:
    transform = transforms().get(spec.name)
    if transform is None:
        raise InvalidInput(f"transform {spec.name!r} is unknown; expected one of {', '.join(transforms())}")
    for option in spec.options:
        if option not in transform.options:
            expected = f"one of {', '.join(transform.options)}" if transform.options else "none"
            raise InvalidInput(f"transform {spec.name}: option {option!r} is unknown; expected {expected}")
    return transform


def apply(trace: Trace, specs: Iterable[TransformSpec], seed: int) -> Trace:
    """`trace` bent by each spec in turn. Each transform makes its own stream out of `seed`; one that comes
    again gets another seed. So adding a transform moves no draw of the others.
    """
    before: Counter[str] = Counter()
    for spec in specs:
        transform = transform_of(spec)
        own = stream(seed, f"{spec.name} {before[spec.name]}", "transform") if before[spec.name] else seed
        before[spec.name] += 1
        bent = transform.bend(trace, spec, own)
        record: dict[str, Any] = {
            "name": spec.name,
            "value": spec.value,
            "options": dict(spec.options),
            "seed": own,
        }
        for added in bent.meta.transforms[len(trace.meta.transforms) :]:  # what the transform itself has to say
            record |= added
        meta = dataclasses.replace(bent.meta, transforms=(*trace.meta.transforms, record))
        trace = dataclasses.replace(bent, meta=meta, origin=partial(_identity, trace, spec, own))
    return trace


def identity_of(spec: TransformSpec, seed: int) -> str:
    """A text that is equal only for equal transforms. Reads the other trace of one that has such, to hash it."""
    transform = transform_of(spec)
    read = f" of {transform.other(spec, seed).identity()}" if isinstance(transform, Reading) else ""
    return f"{spec.name} {spec.value!r} {sorted(spec.options.items())}{read}"


def _identity(source: Trace, spec: TransformSpec, seed: int) -> str:
    return f"{source.identity()}|{identity_of(spec, seed)} {seed}"
