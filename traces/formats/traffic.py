"""The option `traffic_factor` of Meta's traces: which part of one host's traffic a release holds. The owner says it beside the files (1/100
for kvcache/202206, 1/125 for 202401, 1/6.37, 1/4.58 and 1/13.4 for cdn/202303, 1/7.08 for 202504), not in them; it is kept as metadata.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from traces.errors import InvalidInput

OPTION = "traffic_factor"
_FRACTION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(?:/(\d{1,9}(?:\.\d{1,9})?))?")


def traffic_factor(path: Path, options: Mapping[str, str]) -> float:
    """1 where the option is not given. Raises InvalidInput."""
    text = options.get(OPTION, "1")
    match = _FRACTION.fullmatch(text)
    below = float(match[2] or 1) if match else 0.0
    value = float(match[1]) / below if match and below else 0.0
    if not 0 < value <= 1:
        raise InvalidInput(f"{path}: option {OPTION}: {text!r}; expected a share above 0 and up to 1, such as 1/100 or 0.01")
    return value
