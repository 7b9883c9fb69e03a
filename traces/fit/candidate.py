"""A law that a fit considers, with how likely the data are under it."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """`spec`: what stands for it in a spec. `log_likelihood` of `count` observations, all candidates' over the same ones."""

    law: str
    spec: str
    log_likelihood: float
    figures: int
    count: int

    @property
    def bic(self) -> float:
        """Schwarz's criterion: the lower, the better, a figure more costs the logarithm of the count."""
        return self.figures * math.log(self.count) - 2 * self.log_likelihood


def best(candidates: list[Candidate]) -> list[Candidate]:
    """The best first."""
    return sorted((each for each in candidates if math.isfinite(each.log_likelihood)), key=lambda each: each.bic)
