"""The command for somebody who types it wrong: one line, the right exit code, at once."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def offspec(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "controller.cli", *words], capture_output=True, text=True, cwd=ROOT, timeout=60)


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["replay", "poisson:100", "ftp://x"], 2, "scheme 'ftp'; expected one of redis"),
        (["replay", "poisson:100", "redis://10.1.2.3:1", "--for", "1s"], 2, "say --yes"),
        (["replay", "poisson:100", "redis://127.0.0.1:1", "--for", "1s"], 30, "Connection refused"),
        (["replay", "poisson:100", "redis://127.0.0.1:1", "--for", "1500ms"], 2, "whole seconds"),
        (["replay", "poisson:100", "redis://127.0.0.1:1", "--connections", "9999999"], 2, "may open"),
        (["replay", "poisson:100", "redis://127.0.0.1:1", "--timeout", "0s"], 2, "whole milliseconds"),
        (["replay", "poisson:100", "redis://127.0.0.1:1", "--cores", "0,0"], 2, "each core once"),
        (["replay", "nothing.bin", "redis://127.0.0.1:1"], 3, "no such file"),
        (["replay", "poisson:100", "redis://127.0.0.1:1", "--objective", "p99 < 2"], 2, "--objective"),
        (["trace", "info", "nothing.bin"], 3, "no such file"),
        (["inject", "gravity", "--dose", "1", "--for", "1s"], 2, "there are cpu, smt"),
        (["inject", "cpu", "--dose", "500", "--for", "1s"], 2, "give 0 to 100 percent"),
        (["inject", "cpu", "--dose", "5", "--for", "5"], 2, "time unit"),
        (["inject", "cpu", "--dose", "{ramp: [0, 900], over: 4s}", "--for", "5s"], 2, "--dose 900: out of range"),
        (["inject", "cpu", "--dose", "{ramp: [0, 9]}", "--for", "5s"], 2, "over is missing"),
        (["inject", "cpu", "--dose", "{signal: none.csv}", "--for", "5s"], 2, "none.csv: no such file; expected CSV"),
        (["inject", "cpu", "--dose", "{ramp: [0", "--for", "5s"], 2, "a dose over time such as"),
        (["inject", "memhog", "--dose", "{ramp: [64, 90], over: 4s}", "--for", "5s"], 2, "cannot change while it is in force"),
        (["inject", "disk", "--dose", "5", "--for", "5s", "--option", "depth=0"], 2, "depth: 0 is not a number from 1 to 1024"),
        (["inject", "disk", "--dose", "5", "--for", "5s", "--option", "dpeth=2"], 2, "did you mean depth?"),
        (["inject", "net", "--dose", "5", "--for", "5s", "--option", "address=here!"], 2, "is not an IP address"),
        (["inject", "stress", "--dose", "5", "--for", "5s"], 2, "stressor is missing"),
        (["run", "nothing.yaml"], 3, "No such file"),
        (["report", "nothing"], 3, "no such run"),
        (["plan", "controller/demo.yaml", "--fleet", "cloud"], 2, "expected embedded, ray"),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(words: list[str], code: int, expected: str) -> None:
    done = offspec(*words)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    line = done.stderr.strip()
    assert "\n" not in line
    assert line.startswith("offspec: error: ")
    assert expected in line


def test_a_plan_needs_no_machine() -> None:
    done = offspec("plan", "controller/demo.yaml", "--offline", "--json")
    plan = json.loads(done.stdout)
    assert len(plan["trials"]) == 12
    assert plan["eta_s"] > 0


def test_trace_info_speaks_json() -> None:
    facts = json.loads(offspec("trace", "info", "poisson:500,for=2s", "--json").stdout)
    assert {"rows", "span_s", "mean_rate_per_s", "iat_cv", "rate_p50", "rate_p99", "rate_max", "resolution_ns"} <= set(facts["arrival"])
    assert sum(facts["ops"].values()) == facts["arrival"]["rows"]


def test_the_schema_is_json() -> None:
    assert json.loads(offspec("schema").stdout)["properties"]["campaign"]


def test_a_search_that_is_told_to_end_leaves_nothing_behind(tmp_path: Path) -> None:
    words = ["capacity", "poisson:100", "null:", "--objective", "response_p99 < 1s", "--for", "60s"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-m", "controller.cli", *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob("offspec-capacity-*/*.parquet")) and time.monotonic() < deadline:
            time.sleep(0.05)
        command.terminate()
        _, errors = command.communicate(timeout=30)
    assert command.returncode == 143, errors
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())
