"""Quantiles of Student's t for whole degrees of freedom, exact but for rounding (finite series: Abramowitz and Stegun 26.7.3, 26.7.4)."""

import math
from functools import lru_cache


def two_sided(t: float, freedom: int) -> float:
    """P(|T| <= t)."""
    angle = math.atan(t / math.sqrt(freedom))
    sin, cos = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cos if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= cos * cos * (k - 1) / k
        total += term
    return (angle + sin * total) * 2 / math.pi if odd else sin * total


@lru_cache(maxsize=1024)
def critical(confidence: float, freedom: int) -> float:
    """The t within which |T| lies with this probability (0 < confidence < 1, freedom >= 1)."""
    low, high = 0.0, 1.0
    while two_sided(high, freedom) < confidence:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, freedom) < confidence else (low, middle)
    return (low + high) / 2
