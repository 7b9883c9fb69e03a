"""Laws of sizes are known again; what follows none is told by quantiles that make it again."""

import numpy as np
import pytest

from traces.fit.sizes import size_law
from traces.synthesis.sizes import size_form, sizes

IDS = np.arange(20_000, dtype=np.uint64)


def made(law: str) -> np.ndarray:
    return sizes(size_form().read(law, "size"), 17, IDS)


@pytest.mark.parametrize(
    "law", ["64", "uniform:100:900", "lognormal:300:1.2", "lognormal:5000:0.4", "pareto:100:1.5", "gpareto:214.5:0.35"]
)
def test_a_law_and_its_figures_are_recovered(law: str) -> None:
    written, off = size_law(made(law))
    name, *figures = written.split(":")
    asked, *expected = law.split(":")
    assert name == asked and off < 0.02
    assert [float(figure) for figure in figures[: len(expected)]] == pytest.approx([float(figure) for figure in expected], rel=0.1)


def test_what_follows_no_law_is_made_again_from_its_quantiles() -> None:
    rng = np.random.default_rng(4)
    values = np.concatenate((np.full(5000, 7), rng.integers(400, 420, 9000), np.rint(rng.pareto(1.2, 1000) * 3000).astype(np.int64) + 3000))
    written, off = size_law(values)
    assert written.startswith("quantiles:7:") and off < 0.04
    again = made(written)
    for share in (0.2, 0.5, 0.9, 0.99):
        assert np.quantile(again, share) == pytest.approx(np.quantile(values, share), rel=0.1)
    assert again.mean() == pytest.approx(values.mean(), rel=0.15)
