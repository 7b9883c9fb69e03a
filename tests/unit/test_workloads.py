"""A trace that cannot be read is found before anything is started, with the line that asks for it."""

from pathlib import Path

import pytest

from controller.campaign import load_campaign
from controller.campaign_run import Options, show_plan
from controller.workloads import check_trace
from traces.errors import InvalidInput

GOOD = """\
campaign: small
systems: {redis: {driver: redis, variants: {one: {command: [redis-server]}}, ready: {ping: 10s}}}
workload:
  rate: 2000/s
  trace: t.csv
"""
ROWS = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,374,44\n2023-11-16 18:15:50.99,396,109\n"


def document(tmp_path: Path, trace: str | None, text: str = GOOD) -> Path:
    if trace is not None:
        (tmp_path / "t.csv").write_text(trace)
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


def test_a_readable_trace_is_found_relative_to_the_document(tmp_path: Path) -> None:
    path = document(tmp_path, ROWS, GOOD + '  transforms: [{window: "0s..2s"}]\n')
    check_trace(load_campaign(path), path)


@pytest.mark.parametrize(
    ("trace", "text", "line", "words"),
    [
        (None, GOOD, 5, ["workload.trace: ", "t.csv: no such file"]),
        ("", GOOD, 5, ["workload.trace: ", "t.csv: the file is empty"]),
        ("what,is,this\n1,2,3\n", GOOD, 5, ["workload.trace: ", "t.csv: "]),
        (ROWS + "2023-11-16 18:16:50.99,many,109\n", GOOD, 5, ["t.csv: line 4: column ContextTokens: 'many'"]),
        (ROWS, GOOD.replace("t.csv", "t.csv\n  format: cvs"), 5, ["format 'cvs' is unknown"]),
        (None, GOOD.replace("t.csv", "poisson:lots"), 5, ["workload.trace: poisson:lots"]),
        (ROWS, GOOD + "  transforms: [{windw: 1s}]\n", 6, ["workload.transforms: transform 'windw' is unknown"]),
        (ROWS, GOOD + '  transforms: [{window: "100s..200s"}]\n', 6, ["workload.transforms: "]),
    ],
)
def test_a_plan_without_nodes_says_which_trace_cannot_be_read(
    tmp_path: Path, trace: str | None, text: str, line: int, words: list[str]
) -> None:
    path = document(tmp_path, trace, text)
    with pytest.raises(InvalidInput) as raised:
        show_plan(path, Options(runs=tmp_path / "runs"), offline=True)
    message = str(raised.value)
    assert message.startswith(f"{path}:{line}: "), message
    assert "\n" not in message
    for word in words:
        assert word in message, message
