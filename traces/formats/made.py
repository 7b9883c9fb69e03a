"""What formats share that make a trace instead of reading one: the option `seed`, `mode` that spreads
counts, and `rate` and `law` that pace requests."""

from collections.abc import Mapping
from pathlib import Path

from traces.draws import SPREAD_MODES
from traces.errors import InvalidInput
from traces.pace import LAWS, Pace
from traces.quantities import parse_rate


def seed_of(path: Path, options: Mapping[str, str]) -> int:
    """The option `seed`, 0 where it is not given."""
    text = options.get("seed", "0")
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidInput(f"{path}: option seed: {text!r}; expected a whole number of at most 18 digits")
    return int(text)


def mode_of(path: Path, options: Mapping[str, str]) -> str:
    """The option `mode`: how counts of a slot lie within it, poisson where it is not given."""
    mode = options.get("mode", "poisson")
    if mode not in SPREAD_MODES:
        raise InvalidInput(f"{path}: option mode: {mode!r}; expected one of {', '.join(SPREAD_MODES)}")
    return mode


def pace_of(path: Path, options: Mapping[str, str], per_s: float) -> Pace:
    """The options `rate` and `law`; `per_s`: what the workload itself says, paced constantly."""
    law = options.get("law", "poisson" if "rate" in options else "constant")
    if law not in LAWS:
        raise InvalidInput(f"{path}: option law: {law!r}; expected {' or '.join(LAWS)}")
    return Pace(parse_rate(options["rate"], f"{path}: option rate") if "rate" in options else per_s, law)
