"""ServeGen's windows become exactly as many requests as they say, with the gaps of their laws."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tests.unit.traces.rows import arrivals, column, facts, real, table, variation
from traces.errors import InvalidInput
from traces.formats.servegen import gaps
from traces.formats.servegen_files import WINDOW_S, windows_of
from traces.source import open_trace
from traces.stream import limit


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The owner's folder: client 3 pauses in the first window, client 12 changes its lengths."""
    folder = tmp_path / "m-tiny"
    folder.mkdir()
    (folder / "chunk-3-trace.csv").write_text("0,0,0,,0,0\n600,5.0,2.0,Gamma,0.25,0.8\n")
    (folder / "chunk-12-trace.csv").write_text("0,0.5,1.0,Gamma,1.0,2.0\n600,0.25,1.2,Weibull,0.8,3.5\n")
    lengths = {
        "0": {"input_tokens": "{7: 1.0}", "output_tokens": "{1: 0.5, 9: 0.5}"},
        "600": {"input_tokens": "{8: 1.0}", "output_tokens": "{2: 1.0}"},
    }
    (folder / "chunk-12-dataset.json").write_text(json.dumps(lengths))
    return folder


def test_a_window_holds_exactly_its_rate_and_a_client_its_lengths(model: Path) -> None:
    trace = open_trace(model, options={"seed": "7"})
    assert (trace.meta.importer, trace.meta.arrival_model, trace.meta.expand_seed) == ("servegen", "generated", 7)
    rows = table(trace).to_pylist()
    first, second = ([row for row in rows if row["arrival_ns"] // (WINDOW_S * 10**9) == at] for at in (0, 1))
    assert len(rows) == trace.rows_hint == 3450 and len(first) == 300 and len(second) == 3150
    assert {row["client"] for row in first} == {"12"} and {row["prompt_tokens"] for row in first} == {7}
    assert {row["output_tokens"] for row in first} == {1, 9}
    of_12 = [row for row in second if row["client"] == "12"]
    assert len(of_12) == 150 and {(row["prompt_tokens"], row["output_tokens"]) for row in of_12} == {(8, 2)}
    assert {row["prompt_tokens"] for row in second if row["client"] == "3"} == {None}
    assert "1 of 2 clients have no lengths" in trace.meta.loss_notes


def test_the_same_seed_gives_the_same_and_a_client_alone_is_as_among_others(model: Path) -> None:
    whole = table(open_trace(model)).to_pylist()
    alone = open_trace(model / "chunk-12-trace.csv")
    assert column(alone, "arrival_ns") == [row["arrival_ns"] for row in whole if row["client"] == "12"]
    assert column(open_trace(model, options={"seed": "1"}), "arrival_ns") != [row["arrival_ns"] for row in whole]


@pytest.mark.parametrize(("law", "shape"), [("Gamma", 0.25), ("Gamma", 1.0), ("Weibull", 0.7), ("Weibull", 2.0)])
def test_gaps_have_the_variation_of_their_law(law: str, shape: float) -> None:
    u = (np.arange(200_000) + 0.5) / 200_000
    drawn = gaps(law, shape, u)
    moments = [math.gamma(1 + n / shape) for n in (1, 2)]
    cv = shape**-0.5 if law == "Gamma" else math.sqrt(moments[1] / moments[0] ** 2 - 1)
    assert drawn.std() / drawn.mean() == pytest.approx(cv, rel=0.01)


def test_what_is_wrong_is_named(model: Path, tmp_path: Path) -> None:
    def says(file: str, text: str, options: dict[str, str] | None = None) -> str:
        (model / file).write_text(text)
        with pytest.raises(InvalidInput) as refused:
            table(open_trace(model, options=options))
        return str(refused.value)

    assert "line 2: expected a start" in says("chunk-3-trace.csv", "0,0,0,,0,0\n600,5,2,Pareto,0.25,0.8\n")
    assert "line 1: expected a start" in says("chunk-3-trace.csv", "0,5,2,Gamma,0,0.8\n")
    assert "two windows of one start" in says("chunk-3-trace.csv", "0,5,2,Gamma,1,0.8\n" * 2)
    (model / "chunk-3-trace.csv").write_text("0,1,1,Gamma,1,1\n")
    assert "0: input_tokens: \"__import__('os')" in says("chunk-12-dataset.json", json.dumps({"0": {"input_tokens": "__import__('os')"}}))
    assert "JSON object of windows" in says("chunk-12-dataset.json", "[]")
    assert "correct the option lengths" in says("chunk-12-dataset.json", "{}", {"lengths": str(tmp_path / "none")})


def test_the_real_windows_give_their_facts() -> None:
    known = facts("servegen_m_small_day0")
    path = real("servegen_m_small/m-small_day0_client_windows.csv")
    trace = open_trace(path, options={"lengths": str(path.parent)})
    assert trace.rows_hint == known["expected_requests"]
    assert trace.meta.import_args == {"lengths": path.parent.name}, "a trace does not say where files lay"
    windows = windows_of(path, [])
    assert len(windows) == known["rows"] and len({window.client for window in windows}) == known["clients"]
    totals = np.zeros(known["windows"])
    for window in windows:
        totals[window.start_s // WINDOW_S] += window.requests() / WINDOW_S
    for name, q in (("p0", 0), ("p50", 50), ("p99", 99), ("p100", 100)):
        assert np.percentile(totals, q) == pytest.approx(known["total_rate"][name], rel=1e-4), name
    made = table(limit(trace, WINDOW_S * 10**9))
    assert made.num_rows == round(totals[0] * WINDOW_S)
    assert made.column("prompt_tokens").null_count < made.num_rows


def test_a_real_client_has_the_variation_that_its_window_says() -> None:
    path = real("servegen_m_small/m-small_day0_client_windows.csv")
    known = max((w for w in windows_of(path, []) if w.start_s == 0 and w.law == "Gamma"), key=lambda w: w.rate_per_s)
    made = limit(open_trace(path), WINDOW_S * 10**9)
    mine = arrivals(made)[np.array(column(made, "client")) == str(known.client)]
    assert variation(mine) == pytest.approx(known.shape**-0.5, rel=0.05), "the CV of a Gamma is 1/sqrt(shape)"


def test_the_reasoning_models_windows_give_their_facts() -> None:
    known = facts("servegen_deepseek_r1")
    windows = windows_of(real("servegen_m_small/deepseek-r1_client_windows.csv"), [])
    assert len(windows) == known["rows"] and len({window.client for window in windows}) == known["clients"]
    assert windows[-1].start_s - windows[0].start_s == known["span_s"]
    assert {law: sum(w.law == law for w in windows) for law in ("Gamma", "Weibull")} == known["pattern"]
