"""How the distances of two traces are shown."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from traces.distance import Comparison


def comparison_lines(found: "Comparison", names: str = "a against b") -> Iterator[str]:
    """A table, one dimension a line, and the whole in words."""
    yield f"{'dimension':<14} {'apart':>7} {'chance':>7} {'KS':>7} {'JS':>7}  {names}"
    for each in found.distances:
        figures = (each.apart.wasserstein, each.floor.wasserstein, each.apart.ks, each.apart.js)
        shown = " ".join(f"{'-' if value is None else f'{value:.3f}':>7}" for value in figures)
        yield f"{each.dimension:<14} {shown}  {each.figures if each.beyond_noise else 'not told apart'}"
    yield f"\n{found.words}"
