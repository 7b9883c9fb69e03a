"""What a CacheBench configuration says of its requests. Files of histograms are looked for beside it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from traces.errors import InvalidInput
from traces.formats.bytes_in import head_of

OPERATIONS = ("get", "set", "del", "loneGet", "loneSet", "update", "couldExist")
LEFT_OUT = ("addChained",)
MOST_KEYS = 2**48
MOST_ROWS = 2**48
MOST_VALUE = 2**31
_MOST_BYTES = 64 << 20
_COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Histogram:
    """As many `values` as `shares`, or one more: edges of ranges."""

    values: Floats
    shares: Floats


@dataclass(frozen=True)
class Workload:
    """`mix`: shares of OPERATIONS, summing to 1. `buckets`: numbers of keys, which share `weights`. `files`: what was read beside it."""

    mix: tuple[float, ...]
    left_out: tuple[str, ...]
    keys: int
    rows: int
    rate_per_s: float
    buckets: Floats
    weights: Floats
    sizes: Histogram
    key_sizes: Histogram
    files: tuple[Path, ...]


def config_of(path: Path) -> dict[str, Any]:
    """A JSON object, which may hold comments as CacheBench's do. Raises InvalidInput."""
    data = head_of(path, _MOST_BYTES + 1)
    try:
        if len(data) > _MOST_BYTES:
            raise ValueError(f"over {_MOST_BYTES >> 20} MiB")
        found = json.loads(_COMMENT.sub(lambda match: match[1] or " ", data.decode()))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: {' '.join(str(error).split())}; expected a JSON object of CacheBench; correct the file") from error
    if not isinstance(found, dict):
        raise InvalidInput(f"{path}: {str(found)[:40]!r}; expected a JSON object of CacheBench; name another file")
    return found


def workload_of(path: Path, config: Mapping[str, Any], options: Mapping[str, str]) -> Workload:
    """Raises InvalidInput that names what is missing or cannot be."""
    test = config.get("test_config")
    if not isinstance(test, dict):
        raise InvalidInput(f"{path}: no object test_config; expected CacheBench's configuration; name another file")
    pools = test.get("poolDistributions", [{}])
    if not isinstance(pools, list) or len(pools) != 1 or not isinstance(pools[0], dict):
        raise InvalidInput(f"{path}: poolDistributions: expected one object; give a file for each pool")
    said: dict[str, Any] = {**test, **pools[0]}
    files = []
    for name in ("popDistFile", "valSizeDistFile"):
        if name in said:
            beside = path.parent / str(said[name])
            if Path(str(said[name])).name != said[name] or not beside.is_file():
                raise InvalidInput(f"{path}: {name}: no file {str(said[name])[:60]!r} beside it; expected one; put it there")
            said |= config_of(beside)
            files.append(beside)

    def number(name: str, most: float, default: float | None = None) -> float:
        value = said.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise InvalidInput(f"{path}: {name}: {json.dumps(value)[:40]}; expected a number from 0 to {most:g}; correct it")
        return value

    def numbers(name: str, most: float) -> Floats:
        value = said.get(name)
        try:
            found = np.array(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            found = np.empty(0)
        if not isinstance(value, list) or found.ndim != 1 or not len(found) or not ((found >= 0) & (found <= most)).all():
            raise InvalidInput(f"{path}: {name}: {json.dumps(value)[:40]}; expected a list of numbers from 0 to {most:g}; correct it")
        return found

    def histogram(name: str) -> Histogram:
        values, shares = numbers(name, MOST_VALUE), numbers(f"{name}Probability", 1e18)
        if len(values) - len(shares) not in (0, 1) or not shares.sum():
            raise InvalidInput(f"{path}: {name}: {len(values)} values with {len(shares)} shares; expected as many, or one more; correct it")
        return Histogram(values, shares)

    mix = np.array([number(f"{name}Ratio", 1e9, 0) for name in OPERATIONS])
    if not mix.sum():
        raise InvalidInput(f"{path}: no ratio above 0 of {', '.join(OPERATIONS)}; expected some such as getRatio; correct it")
    buckets, weights = numbers("popularityBuckets", MOST_KEYS), numbers("popularityWeights", 1e18)
    if len(buckets) != len(weights) or not buckets.all() or not weights.sum():
        raise InvalidInput(
            f"{path}: {len(buckets)} popularityBuckets with {len(weights)} weights; expected as many, none empty; correct it"
        )
    keys = _whole(path, options, "keys", int(number("numKeys", MOST_KEYS, int(buckets.sum()))), MOST_KEYS)
    operations = int(number("numOps", MOST_ROWS, 0)) * int(number("numThreads", 2**20, 1))
    return Workload(
        mix=tuple((mix / mix.sum()).tolist()),
        left_out=tuple(name for name in LEFT_OUT if number(f"{name}Ratio", 1e9, 0)),
        keys=keys,
        rows=_whole(path, options, "rows", min(operations, MOST_ROWS), MOST_ROWS),
        rate_per_s=float(number("opRatePerSec", 1e12, 0)),
        buckets=buckets,
        weights=weights,
        sizes=histogram("valSizeRange"),
        key_sizes=histogram("keySizeRange"),
        files=tuple(files),
    )


def _whole(path: Path, options: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = options.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 18 or not 1 <= int(text) <= most:
        raise InvalidInput(f"{path}: option {name}: {text!r}; expected a whole number from 1 to {most}")
    return int(text)
