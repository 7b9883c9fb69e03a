"""The page of a trace stands by itself and shows what the trace has; the curves in it are those of the trace."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from agent.cli import main
from agent.trace_verbs.info import sparkline
from tests.unit.traces.rows import real, trace_of
from traces.characterise import figures
from traces.curves import curves
from traces.page import trace_page
from traces.portrait import portrait_of
from traces.source import open_trace
from traces.stream import Trace

RECIPE = "poisson:2000,keys=500,zipf=0.9,size=lognormal:300:1,get=0.8,rows=20000"


class Names(HTMLParser):
    """Collects tags, their addresses and the captions; fails on what is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.captions: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Closed at once."""

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "figcaption":
            self.captions.append(data)


def page_of(trace: Trace) -> tuple[str, Names]:
    portrait = portrait_of(trace)
    text = trace_page(trace.meta, figures(portrait), curves(portrait))
    read = Names()
    read.feed(text)
    assert not read.open
    return text, read


def test_the_page_fetches_nothing_and_shows_each_subject() -> None:
    text, read = page_of(open_trace(RECIPE, seed=1))
    assert not read.fetched and "http" not in text and "url(" not in text and "<script" not in text
    assert read.captions == [
        "Rate over time", "Gaps", "Burstiness by scale", "Memory", "Popularity", "Hit ratio of a cache", "Working set over time", "Sizes",
    ]  # fmt: skip
    assert "nan" not in text and "inf" not in text


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_trace_of_a_few_rows_has_a_page(rows: int) -> None:
    page_of(trace_of({"key_id": np.arange(rows, dtype=np.uint64)}))
    page_of(trace_of({"arrival_ns": np.zeros(rows, dtype=np.int64), "key_id": np.zeros(rows, dtype=np.uint64)}))


def test_a_name_cannot_break_out_of_the_page() -> None:
    text, _ = page_of(trace_of({"seq": np.arange(3, dtype=np.uint64)}, name="<script>alert(1)</script>", loss_notes="a <b> c"))
    assert "<script" not in text and "&lt;script&gt;" in text and "a &lt;b&gt; c" in text


def test_a_trace_of_prompts_shows_tokens_prefixes_and_no_keys() -> None:
    _, read = page_of(open_trace(real("mooncake_fast25/conversation_trace.jsonl")))
    assert {"Tokens", "Hit ratio of a prefix cache"} <= set(read.captions) and "Popularity" not in read.captions


def test_curves_are_monotone_where_they_must_be_and_end_where_the_figures_do() -> None:
    portrait = portrait_of(open_trace(RECIPE, seed=1))
    found, said = curves(portrait), figures(portrait)
    for name in ("resp_bytes", "hit_ratio"):
        assert [y for _, y in found[name]] == sorted(y for _, y in found[name])
    assert found["hit_ratio"][-1] == (said["keys"], pytest.approx(1 - said["reuse"]["first_requests_frac"], abs=1e-4))
    assert found["resp_bytes"][-1] == (said["resp_bytes"]["p100"], 1.0)
    assert found["popularity"][0][1] == pytest.approx(said["popularity"]["top1_share"] * 20_000, rel=1e-3)
    assert np.mean([y for _, y in found["rate"]]) == pytest.approx(said["arrival"]["mean_rate_per_s"], rel=0.02)


def test_the_command_writes_the_page_and_one_json_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert main(["trace", "info", RECIPE, "--html", str(page), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"arrival", "rates", "burstiness", "popularity", "zipf", "reuse", "working_set", "curves"} <= told.keys()
    assert page.read_text().startswith("<!doctype html>")
    assert main(["trace", "info", RECIPE, "--html", str(tmp_path / "no" / "page.html")]) == 3
    assert "no folder" in capsys.readouterr().err


def test_the_text_draws_rates_and_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "info", RECIPE]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(tuple("▁▂▃▄▅▆▇█")) and "requests per second over time" in lines[0]
    assert any(line.split() == ["cache_keys", "ratio"] for line in lines)


def test_a_sparkline_shows_the_most_of_each_part() -> None:
    assert sparkline([0, 1, 2, 4, 8], 5) == "▁▂▃▅█"
    assert sparkline([0.0] * 9, 3) == "▁▁▁"
    assert sparkline([1] * 99 + [8], 10)[-1] == "█"


def test_two_traces_are_compared_in_words_and_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    faster = RECIPE.replace("poisson:2000", "poisson:4000")
    assert main(["trace", "distance", RECIPE, faster, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["words"] == "off along rate" and told["dimensions"][0]["dimension"] == "rate"
    assert main(["trace", "distance", RECIPE, RECIPE]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("nothing beyond chance")
    assert main(["trace", "distance", RECIPE, "nothing.bin"]) == 3
