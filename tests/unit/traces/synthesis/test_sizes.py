"""Every law of sizes."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.unit.traces.rows import column
from traces.errors import InvalidInput
from traces.source import open_trace
from traces.synthesis.sizes import size_form, sizes
from traces.synthesis.sizes.etc import HEAD, SCALE, SHAPE

IDS = np.arange(400_000, dtype=np.uint64)


def drawn(text: str) -> np.ndarray:
    return sizes(size_form().read(text, "size"), 9, IDS)


def test_the_table_of_small_etc_values_has_the_published_sum() -> None:
    assert len(HEAD) == 15 and sum(HEAD) == pytest.approx(0.44155, abs=1e-9)


def test_etc_values_are_as_published() -> None:
    values = drawn("etc")
    for size, share in enumerate(HEAD):
        assert (values == size).mean() == pytest.approx(share, abs=0.0025)
    large = values[values > 14] - 15
    assert stats.kstest(large + 0.5, stats.genpareto(SHAPE, scale=SCALE).cdf).statistic < 0.005


def test_etc_keys_follow_the_published_extreme_value_law() -> None:
    keys = drawn("gev:30.7984:8.20449:0.078688")
    # scipy's shape has the other sign
    assert stats.kstest(keys, stats.genextreme(-0.078688, 30.7984, 8.20449).cdf).statistic < 0.06  # whole bytes
    assert keys.mean() == pytest.approx(stats.genextreme(-0.078688, 30.7984, 8.20449).mean(), rel=0.005)


def test_a_pareto_is_cut_where_it_is_said() -> None:
    values = drawn("pareto:100:0.5:1MiB")
    assert values.max() == 2**20 and (values == 2**20).mean() == pytest.approx((100 / 2**20) ** 0.5, rel=0.1)
    assert drawn("pareto:100:0.2").max() == 512 * 2**20


def test_a_table_of_quantiles_is_followed(tmp_path: Path) -> None:
    table = tmp_path / "sizes.csv"
    table.write_text("share,size\n# half are small\n0.5,10\n0.9,100\n1,1000\n")
    values = drawn(f"file:{table}")
    assert (values == 10).mean() == pytest.approx(0.5, abs=0.02) and values.max() <= 1000
    assert np.quantile(values, 0.7) == pytest.approx(55, abs=1) and np.quantile(values, 0.95) == pytest.approx(550, rel=0.03)
    trace = open_trace(f"constant:10,rows=1000,get=0,size=file:{table}")
    assert max(column(trace, "req_bytes")) <= 1000
    before = trace.identity()
    table.write_text("1,7\n")
    again = open_trace(f"constant:10,rows=1000,get=0,size=file:{table}")
    assert again.identity() != before and set(column(again, "req_bytes")) == {7}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("0.5,10\n0.4,20\n1,30\n", "sizes.csv:2"),
        ("0.5,10\n1,5\n", "sizes.csv:2"),
        ("0.5\n", "sizes.csv:1"),
        ("0.5,10\n", "the last share is 0.5"),
        ("", "missing"),
        ("share,size\n1,ten\n", "sizes.csv:2"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(tmp_path: Path, lines: str, said: str) -> None:
    table = tmp_path / "sizes.csv"
    table.write_text(lines)
    with pytest.raises(InvalidInput, match="expected") as error:
        size_form().read(f"file:{table}", "size")
    assert said in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "lognormal:1", "gev:1:2", "etc:1", "file:", "file:/nowhere/at.all", "pareto:10:1:5", "gpareto:1:-1", "600MiB"]
)
def test_a_wrong_law_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        size_form().read(text, "size")
