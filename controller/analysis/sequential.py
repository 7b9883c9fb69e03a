"""When enough is known: looks at whole blocks, and stops once every condition's interval is narrow enough. Pure.

Who looks often and stops at a good moment finds intervals narrower than they should be. So each of the K looks that the design allows
is made at the level 1 - 0.05/K (Bonferroni): whichever of them is the last, its intervals still cover with 95 % at least.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from controller.analysis.retention import Entry, Score, retentions
from controller.campaign import Design


@dataclass(frozen=True)
class Look:
    """What was seen after a block: the widest interval as a half width (0.1: a factor of 1.1 up and down), and whether to stop.

    `widest` is None where some condition has no interval yet; `where` names the condition that decides, as `variant under condition`.
    """

    block: int
    metric: str
    widest: float | None
    where: str
    stop: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def looks_of(design: Design) -> int:
    """How often one may look in all: after each block from `repeats` on. 1 where nothing stops early."""
    return design.blocks - design.repeats + 1


def due(design: Design, block: int) -> bool:
    """Whether to look after this block; after the last there is nothing left to decide."""
    return design.until is not None and design.repeats <= block < design.blocks


def look(entries: Sequence[Entry], cells: Collection[tuple[str, str]], design: Design, block: int) -> Look:
    """What the trials up to `block` say of each (variant, violated condition) that the plan holds."""
    assert design.until is not None
    metric = design.until.metric
    whole = [e for e in entries if e["block"] <= block]
    scores = {(s.variant, s.condition): s for s in retentions(whole, looks=looks_of(design)) if s.metric == metric}
    widths = {f"{v} under {c}": _half_width(scores.get((v, c)), design.repeats) for v, c in sorted(cells)}
    if not widths:
        return Look(block, metric, None, "", False)
    where = max(widths, key=lambda name: math.inf if widths[name] is None else widths[name] or 0.0)
    widest = widths[where]
    return Look(block, metric, widest, where, widest is not None and widest <= design.until.half_width)


def _half_width(score: Score | None, least_blocks: int) -> float | None:
    if score is None or score.trials < least_blocks or score.low is None or score.high is None:
        return None
    if score.high <= 0:
        return 0.0  # it failed in every block: there is nothing to narrow
    return math.exp((math.log(score.high) - math.log(score.low)) / 2) - 1 if score.low > 0 else None
