"""`offspec trace synth`."""

import json
from pathlib import Path

import pytest

from agent.cli import main
from traces.contents import Tally
from traces.source import open_trace


def test_a_made_trace_is_written_and_reads_as_what_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "made.parquet"
    assert main(["trace", "synth", "gamma:1000,cv=3,keys=100,rows=5000", str(out), "--seed", "4", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["rows"] == 5000 and said["expand_seed"] == 4 and said["format"] == "synthesis"
    tallies = []
    for trace in (open_trace(out), open_trace("gamma:1000,cv=3,keys=100,rows=5000", seed=4)):
        tally = Tally()
        for batch in trace.batches():
            tally.add(batch)
        tallies.append(tally.content_sha256())
    assert tallies[0] == tallies[1]
    assert open_trace(out).meta.arrival_model == "generated"


def test_notes_of_a_workload_are_said_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "made.parquet"
    assert main(["trace", "synth", "twitter:cluster26,rows=100", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{out}: 100 rows") and "note: every value" in printed.err
    assert open_trace(out).meta.license == "CC-BY-4.0"


def test_a_made_trace_can_be_put_into_an_object_store(tmp_path: Path) -> None:
    assert main(["trace", "synth", "poisson:100,rows=10", f"file://{tmp_path}/made.parquet"]) == 0
    assert open_trace(tmp_path / "made.parquet").meta.rows == 10


def test_the_list_shows_laws_units_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "synth", "--list"]) == 0
    text = capsys.readouterr().out
    for words in ("mmpp:RATE", "calm_for=9s", "lognormal:MEAN:SIGMA", "twitter:cluster26", "hotspot=0.2:0.8"):
        assert words in text
    assert main(["trace", "synth", "--list", "--json"]) == 0
    assert {"arrivals", "workloads", "requests", "sizes"} == json.loads(capsys.readouterr().out).keys()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["poisson:10"], 2, "expected a spec and a file"),
        (["poisson:10", "OUT"], 3, "it has no end"),
        (["poisson:10,zipf=x,rows=1", "OUT"], 3, "zipf: 'x'; expected a number from 0 to 10; for example zipf=0.99"),
        (["trace.csv", "OUT"], 3, "is not a law or workload"),
        (["poisson:10,rows=1", "nowhere/OUT"], 3, "no folder"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    out = tmp_path / "made.parquet"
    assert main(["trace", "synth", *(str(out).join(word.split("OUT")) if word == "OUT" else word for word in words)]) == code
    printed = capsys.readouterr()
    assert said in printed.err and printed.err.count("\n") == 1 and not out.exists()
