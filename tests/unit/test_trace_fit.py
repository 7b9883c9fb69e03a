"""`offspec trace fit`."""

import json

import pytest

from agent.cli import main
from traces.source import open_trace

SPEC = "weibull:200,cv=2,keys=1000,zipf=0.8,rows=8000"


def test_the_spec_alone_is_on_stdout_and_the_distance_is_stated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "fit", SPEC]) == 0
    printed = capsys.readouterr()
    assert printed.out.count("\n") == 1 and open_trace(printed.out.strip()).rows_hint == 8000
    assert printed.out.startswith("weibull:") and "arrivals: weibull, best by BIC" in printed.err and "popularity: zipf" in printed.err
    assert "source against made" in printed.err and "burstiness" in printed.err


def test_as_json_all_of_it_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "fit", SPEC, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {"spec", "rows", "notes", "laws", "words", "dimensions", "only_source", "only_made"} <= said.keys()
    laws = said["laws"]["arrivals"]
    assert laws[0]["law"] == "weibull" and laws[0]["bic_above_best"] == 0 and all(each["bic_above_best"] > 10 for each in laws[1:])
    assert {each["dimension"] for each in said["dimensions"]} >= {"gaps", "popularity", "ops"}


def test_what_cannot_be_fitted_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "fit", "poisson:10,rows=5"]) == 3
    printed = capsys.readouterr()
    assert (
        not printed.out
        and printed.err == "offspec: error: poisson:10,rows=5: 5 rows; expected at least 100 to learn from; take a longer trace\n"
    )
