"""`offspec trace transform` and `trace transforms`, and the same transforms in a replay."""

import json
from pathlib import Path

import pytest

from agent.cli import main
from agent.load_arguments import Load
from traces.compiled import open_compiled
from traces.source import open_trace
from traces.transforms import TransformSpec, transforms

SMALL = "poisson:1000,keys=200,zipf=0.9,rows=5000"


def test_transforms_are_applied_in_the_order_of_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, steps = tmp_path / "bent.parquet", tmp_path / "steps.yaml"
    steps.write_text("transforms: [{size_scale: 2}, {burst: 2}]\n")
    words = ["trace", "transform", SMALL, str(out), "--do", "zipf=1.2", "--from", str(steps), "--do", "rate_scale=0.5", "--seed", "4"]
    assert main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in said["transforms"]] == ["zipf", "size_scale", "burst", "rate_scale"]
    assert said["mean_rate_per_s"] == pytest.approx(500, rel=0.1) and said["rows"] == pytest.approx(2500, rel=0.1)
    meta = open_trace(out).meta
    assert [(each["name"], each["seed"]) for each in meta.transforms] == [
        (name, 4) for name in ("zipf", "size_scale", "burst", "rate_scale")
    ]
    first = out.read_bytes()
    assert main(words) == 0 and out.read_bytes() == first, "same seed, same bytes"
    text = capsys.readouterr().out
    assert (
        "/s on average" in text
        and "zipf 1.2 (seed 4): 1.2" in text
        and " read back; changes popularity; objects 200; requests_moved " in text
    )
    assert {each["name"]: each["read_back"] for each in said["transforms"]} == pytest.approx(
        {"zipf": 1.2, "size_scale": 2.0, "burst": 2.0, "rate_scale": 0.5}, rel=0.05
    ), "each in what it made of the trace that it was given"


def test_a_bent_file_bends_again_and_keeps_what_was_done(tmp_path: Path) -> None:
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    assert main(["trace", "transform", SMALL, str(one), "--do", "speedup=2"]) == 0
    assert main(["trace", "transform", str(one), str(two), "--do", "speedup=0.5"]) == 0
    assert [each["value"] for each in open_trace(two).meta.transforms] == [2.0, 0.5]


@pytest.mark.parametrize(
    ("steps", "code", "words"),
    [
        ([], 2, "nothing to do"),
        (["--do", "zipff=1"], 3, "'zipff' is unknown; expected one of"),
        (["--do", "zipf=steep"], 3, "zipf: value 'steep'; expected an exponent"),
        (["--do", "churn=0.1,often=yes"], 3, "churn: value '0.1,often=yes'"),
        (["--from", "absent.yaml"], 3, "absent.yaml: No such file"),
        (["--do", "mix=absent.csv"], 3, "absent.csv: no such file"),
        (["--do", "token_scale=2"], 3, "is of kind kv; expected llm"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    steps: list[str], code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bent.parquet"
    assert main(["trace", "transform", SMALL, str(out), *steps]) == code
    said = capsys.readouterr().err.strip()
    assert words in said and "\n" not in said and not out.exists()


def test_a_dose_that_the_trace_cannot_tell_is_said_to_be_unread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["trace", "transform", SMALL, str(tmp_path / "bent.parquet"), "--do", "churn=0.1,period=1h", "--do", "speedup=2"]
    assert main(words) == 0
    assert "churn 0.1, period 1h (seed 0): not read back, " in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    churn, speedup = json.loads(capsys.readouterr().out)["transforms"]
    assert churn["read_back"] is None and "read_back" not in speedup


@pytest.mark.parametrize("seed", ["-1", str(2**64), "1.5", "soon"])
@pytest.mark.parametrize("words", [["trace", "transform", SMALL, "OUT", "--do", "zipf=1"], ["trace", "synth", SMALL, "OUT"]])
def test_a_seed_is_a_number_of_64_bits(words: list[str], seed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.parquet"
    with pytest.raises(SystemExit) as ended:
        main([str(out) if word == "OUT" else word for word in words] + ["--seed", seed])
    said = capsys.readouterr().err.strip()
    assert ended.value.code == 2 and "\n" not in said and not out.exists()
    assert f"argument --seed: '{seed}'; expected a whole number from 0 to 2^64 - 1" in said


def test_the_largest_seed_is_one(tmp_path: Path) -> None:
    assert main(["trace", "transform", SMALL, str(tmp_path / "out.parquet"), "--do", "zipf=1", "--seed", str(2**64 - 1)]) == 0


def test_the_list_has_every_transform_with_its_value_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "transforms", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == set(transforms()) and rows["churn"]["options"]["period"].startswith("a time")
    assert rows["zipf"]["dose_is_read_back"] and not rows["window"]["dose_is_read_back"]
    assert main(["trace", "transforms"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n{name} " in f"\n{text}" for name in rows)


def test_a_replay_compiles_with_its_transforms(tmp_path: Path) -> None:
    from argparse import Namespace
    from types import SimpleNamespace

    order = SimpleNamespace(endpoint=SimpleNamespace(driver="redis"))
    load = Load(Namespace(seed=1, spread=None), order, open_trace(SMALL), [TransformSpec("op_mix", 0.0)], quiet=True)
    made = load.compiled(2, None, tmp_path)
    assert open_compiled(made.path).meta.transforms[-1]["name"] == "op_mix" and set(made.facts["ops"]) == {"set"}
