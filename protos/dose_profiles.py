"""A dose over time as a campaign and `offspec inject` write it -> protos.profile.

dose: {ramp: [0, 100], over: 10s}            dose: {steps: [10, 50, 100], each: 5s}
dose: {pulse: [0, 80], every: 10s, for: 2s}  dose: {signal: load.csv, scale: 2}     # columns second and dose, CSV or Parquet
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from protos import profile
from protos.profile import Profile

KEYS: Mapping[str, tuple[str, ...]] = {"ramp": ("over",), "steps": ("each",), "pulse": ("every", "for"), "signal": ("scale",)}
_MOST_BYTES = 64 << 20


class BadProfile(Exception):
    """str() says what and what to do; `at` is the key within the profile."""

    def __init__(self, at: str, message: str) -> None:
        super().__init__(message)
        self.at = at


def profile_of(raw: Mapping[str, Any], dose: Callable[[Any], float], seconds: Callable[[str], float | None], folder: Path) -> Profile:
    """`dose` makes a number of the catalogue's unit of a written one, or raises its own error; `seconds` makes seconds of a written time,
    None of what is none. Signals are files relative to `folder`. Raises BadProfile.
    """
    kind = next((k for k in KEYS if k in raw), None)
    if kind is None:
        raise BadProfile("", f"a dose over time is one of {', '.join(KEYS)}, such as {{ramp: [0, 100], over: 10s}}")
    for key in raw:
        if key != kind and key not in KEYS[kind]:
            raise BadProfile(str(key), f"unknown key for a {kind} (known here: {', '.join((kind, *KEYS[kind]))})")
    try:
        if kind == "signal":
            return _signal(folder / str(raw["signal"]), dose, float(raw.get("scale", 1)))
        values = raw[kind]
        if not isinstance(values, list) or (kind != "steps" and len(values) != 2) or not values:
            raise BadProfile(kind, "expected a list of doses" + ("" if kind == "steps" else ": two, such as [0, 100]"))
        doses = [dose(value) for value in values]
        times = {key: _seconds(raw, key, seconds) for key in KEYS[kind]}
        match kind:
            case "ramp":
                return profile.ramp(doses[0], doses[1], times["over"])
            case "steps":
                return profile.steps(doses, times["each"])
            case _:
                return profile.pulse(doses[0], doses[1], times["every"], times["for"])
    except ValueError as error:
        raise BadProfile(kind, str(error)) from None


def _seconds(raw: Mapping[str, Any], key: str, parse: Callable[[str], float | None]) -> float:
    if key not in raw:
        raise BadProfile("", f"{key} is missing; give a time such as 5s")
    seconds = parse(str(raw[key]))
    if seconds is None:
        raise BadProfile(key, f"{raw[key]!r} is not a time; give one such as 5s")
    if seconds <= 0:
        raise BadProfile(key, "a time over 0 is needed")
    return seconds


def _signal(path: Path, dose: Callable[[Any], float], scale: float) -> Profile:
    """Steps of a file. Its first second becomes T0."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    expected = "expected CSV or Parquet with the columns second and dose"
    try:
        if not path.is_file():
            raise BadProfile("signal", f"{path}: no such file; {expected}")
        if path.stat().st_size > _MOST_BYTES:
            raise BadProfile("signal", f"{path}: larger than {_MOST_BYTES >> 20} MiB; thin it out")
        table = pq.read_table(path) if path.suffix == ".parquet" else pyarrow.csv.read_csv(path)
        columns = {name: table.column(name).cast(pa.float64()).to_pylist() for name in ("second", "dose")}
    except OSError as error:
        raise BadProfile("signal", f"{path}: {error.strerror or str(error).splitlines()[0]}; {expected}") from None
    except (KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        said = str(error).splitlines()[0]
        raise BadProfile("signal", f"{path}: {said}; {expected}") from None
    if not columns["second"] or any(x is None for values in columns.values() for x in values):
        raise BadProfile("signal", f"{path}: empty, or a value is missing")
    first = columns["second"][0]
    return Profile(tuple((second - first, dose(each * scale)) for second, each in zip(columns["second"], columns["dose"], strict=True)))
