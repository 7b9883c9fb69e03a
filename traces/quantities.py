"""Numbers with units as people write them: "10s", "20000/s", "64KiB", "50%". One parser for campaigns, flags
and traces.

Knows no default units: a duration without a unit is refused, because 10 could be seconds or milliseconds.
"""

import re

from traces.errors import InvalidInput

_NUMBER = re.compile(r"\s*([+-]?(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*\Z", re.DOTALL)
_DURATIONS_NS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "min": 60 * 10**9,
    "h": 3_600 * 10**9, "d": 86_400 * 10**9,
}  # fmt: skip
_SIZES = {
    "": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_RATE_SCALES = {"": 1.0, "k": 1e3, "M": 1e6}
_RATE_TIMES_S = {"/s": 1.0, "/sec": 1.0, "/min": 60.0, "/m": 60.0, "/h": 3600.0}


def _split(text: str | float, where: str, expected: str) -> tuple[str, str]:
    match = _NUMBER.match(str(text))
    if match is None:
        raise InvalidInput(f"{where}: {str(text)!r} is not a number with a unit; expected {expected}")
    return match.group(1).replace("_", ""), match.group(2)


def parse_quantity(text: str | float, where: str = "quantity") -> tuple[float, str]:
    """ "1 GB/s" -> (1.0, "GB/s"); "50%" -> (50.0, "percent"); a bare number has the unit ""."""
    number, unit = _split(text, where, "such as 50%, 1 GB/s or 2")
    return float(number), "percent" if unit == "%" else unit


def parse_duration(text: str | float, where: str = "duration") -> int:
    """Nanoseconds, rounded. Raises InvalidInput for a missing or unknown unit and for negative durations."""
    expected = "such as 10s, 500ms or 2m"
    number, unit = _split(text, where, expected)
    factor = _DURATIONS_NS.get(unit)
    if factor is None:
        what = f"unit {unit!r} is not one of time" if unit else "a time unit is missing"
        raise InvalidInput(f"{where}: {text!r}: {what}; expected {expected}")
    return _whole(number, factor, where, text, "a duration")


def parse_size(text: str | float, where: str = "size") -> int:
    """Bytes; a bare number is bytes. KiB is 1024, KB and kB are 1000. Raises InvalidInput."""
    expected = "such as 64KiB, 1MB or 512"
    number, unit = _split(text, where, expected)
    factor = _SIZES.get(unit)
    if factor is None:
        raise InvalidInput(f"{where}: {text!r}: unit {unit!r} is not one of size; expected {expected}")
    return _whole(number, factor, where, text, "a size")


def _whole(number: str, factor: int, where: str, text: str | float, what: str) -> int:
    # Exact for whole numbers of any size; a float would lose the low digits of a long duration.
    value = int(number) * factor if re.fullmatch(r"[+-]?\d+", number) else round(float(number) * factor)
    if not 0 <= value < 2**63:
        raise InvalidInput(f"{where}: {text!r} is out of range; expected {what} from 0 to {2**63 // factor}")
    return value


def parse_rate(text: str | float, where: str = "rate") -> float:
    """Requests per second: "20000/s", "12k/s", "90/min". A bare number is refused: per what? Raises
    InvalidInput.
    """
    expected = "such as 20000/s, 12k/s or 90/min"
    number, unit = _split(text, where, expected)
    scale, slash, time = unit.partition("/")
    time = (slash + time).replace(" ", "")
    factor, per_s = _RATE_SCALES.get(scale.strip()), _RATE_TIMES_S.get(time)
    if factor is None or per_s is None:
        raise InvalidInput(f"{where}: {text!r} is not a rate; expected {expected}")
    value = float(number) * factor / per_s
    if not 0 < value < 1e12:
        raise InvalidInput(f"{where}: {text!r} is out of range; expected above 0 and below 1e12 per second")
    return value


def seconds_of(text: str) -> float | None:
    """A written time in seconds; None where it is none."""
    try:
        return parse_duration(text, "") / 1e9
    except InvalidInput:
        return None
