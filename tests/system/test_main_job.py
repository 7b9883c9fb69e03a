"""The main job for real, on an embedded Ray: what a user starts, interrupts, kills and resumes leaves nothing and loses nothing."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from agent import marks
from agent.scope import Cgroups
from agent.snapshot import cgroups

pytestmark = pytest.mark.skipif(
    Cgroups().version == 0 or len(os.sched_getaffinity(0)) < 2, reason="wants root (or a delegated cgroup) and two cores"
)
OFFSPEC = [sys.executable, "-m", "controller.cli"]
CAMPAIGN = """\
campaign: small
seed: 3
systems:
  store:
    driver: redis
    variants:
      block: {command: ["{python}", -m, agent.targets, resp, --mode, block, --port, "{port}"]}
    ready: {ping: 10s}
workload: {trace: "poisson:2000,keys=500,size=64,get=0.9", preload: true}
conditions:
  noisy: {sharing: {cpu: {dose: 50, place: same-core}}}
  smaller: {hardware: {cpu-quota: {dose: 50}, cores: {dose: 1}}}
  doubled: {workload: {rate_scale: {dose: 2}}}
design: {repeats: 1}
phases: {warmup: 1s, measure: 3s, drain: 500ms, cooldown: 100ms}
objectives: {response_p99: "< 100ms"}
gates: {achieved: ">= 1%", slip_p99: "<= 10s", dose: ">= 30%", steal: "<= 100%", foreign: "<= 100%"}
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OFFSPEC_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "c.yaml").write_text(CAMPAIGN)
    return tmp_path


def run(place: Path, *words: str, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*OFFSPEC, *words, "--runs", str(place / "runs")], capture_output=True, text=True, timeout=150, **options)  # type: ignore[call-overload, no-any-return]


def leftovers(place: Path) -> list[str]:
    """Whatever of a run is still on the machine: processes that carry its state folder, open undo journals, cgroups."""
    mark = f"OFFSPEC_STATE_DIR={place / 'state'}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes().split(b"\0") and int(path.parent.name) != os.getpid():
                state = (path.parent / "stat").read_text().rpartition(")")[2].split()[0]
                found += [] if state in "ZX" else [(path.parent / "cmdline").read_text().replace("\0", " ")[:120]]
        except OSError:
            continue
    found += [str(p) for p in place.glob("state/undo/*")]
    # Groups of leases that the guard of another state folder answers for are of runs beside this one.
    others = {lease for lease, (_, folder) in marks.guards().items() if folder != str(place / "state")}
    return found + list(cgroups(Path("/"), lambda lease: lease not in others))


def clean_within(place: Path, seconds: float) -> list[str]:
    deadline = time.monotonic() + seconds
    while (left := leftovers(place)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def begin(place: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*OFFSPEC, "run", str(place / "c.yaml"), "--runs", str(place / "runs")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def steps(place: Path) -> list[str]:
    (journal,) = place.glob("runs/small/*/journal.db")
    rows = sqlite3.connect(f"file:{journal}?mode=ro", uri=True).execute("SELECT detail FROM event WHERE kind='step' ORDER BY seq")
    return [json.loads(r[0])["step"] for r in rows]


def attempts(place: Path) -> dict[str, tuple[str, int]]:
    """trial -> its state, and how many attempts it has had."""
    (journal,) = place.glob("runs/small/*/journal.db")
    rows = sqlite3.connect(f"file:{journal}?mode=ro", uri=True).execute(
        "SELECT id, state, (SELECT count(*) FROM attempt WHERE trial=id) FROM trial"
    )
    return {name: (state, tries) for name, state, tries in rows}


def wait_for_one_done_and_one_begun(place: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        try:
            found = sorted((state, tries) for state, tries in attempts(place).values())
            if ("pending", 1) in found and any(state == "done" for state, _ in found):
                return
        except (ValueError, sqlite3.OperationalError):
            pass  # there is none yet, or it is being created
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.05)
    raise AssertionError(f"no trial came to its end before another began: {attempts(place)}")


def wait_for_step(place: Path, step: str, times: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if list(place.glob("runs/small/*/journal.db")):
            try:
                if steps(place).count(step) >= times:
                    return
            except sqlite3.OperationalError:
                pass  # being created
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.05)
    raise AssertionError(f"step {step} was not reached")


@pytest.mark.timeout(170)
def test_a_campaign_runs_to_a_document_a_report_and_nothing_left(place: Path) -> None:
    done = run(place, "run", str(place / "c.yaml"), "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert {t["condition"] for t in document["trials"]} == {"nominal", "noisy", "smaller", "doubled"}
    for trial in document["trials"]:
        ends = trial["completed"] + sum(trial["errors"].values()) + trial["timed_out"] + trial["dropped"] + trial["unsent"]
        assert trial["scheduled"] == ends > 0
        assert set(trial["response_us"]) == {"p50", "p99", "p99_9"}
    # Attempts that somebody else's load disturbed are repeated, and stay in the document with their reasons.
    believed = [t for t in document["trials"] if t["verdict"] != "invalid"]
    assert {t["id"] for t in believed} == {t["id"] for t in document["trials"]}
    doses = {(t["condition"], d["violation"]): d for t in believed for d in t["dose"]}
    assert doses["noisy", "cpu"]["measured"] == pytest.approx(50, rel=0.4)
    assert doses["smaller", "cpu-quota"]["measured"] == pytest.approx(50)
    assert doses["smaller", "cores"]["measured"] == 1
    assert doses["doubled", "rate_scale"]["measured"] == pytest.approx(2, rel=0.05)
    assert [t["cleanup"]["left"] for t in document["trials"] if t["cleanup"]["verdict"] != "clean"] == []
    assert {s["condition"] for s in document["scores"]} == {"noisy", "smaller", "doubled"}
    assert clean_within(place, 5) == []
    scraped = pq.read_table(next(place.glob("runs/small/*/metrics/trial=*-noisy-*")), columns=["name"], partitioning=None)
    seen = set(scraped["name"].to_pylist())
    assert {"up", "offspec_requests_completed_total", "offspec_dose_delivered", "offspec_target_cpu_seconds_total"} <= seen
    again = run(place, "report", "last", "--json")
    assert json.loads(again.stdout)["trials"] == document["trials"]
    page = next(place.glob("runs/small/*/report.html")).read_text()
    assert "http://" not in page and "https://" not in page and "<script" not in page


@pytest.mark.timeout(170)
def test_a_killed_controller_leaves_nothing_and_resume_repeats_only_what_was_unfinished(place: Path) -> None:
    process = begin(place)
    wait_for_one_done_and_one_begun(place, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert clean_within(place, 10) == []
    (folder,) = place.glob("runs/small/*")
    before = attempts(place)
    finished = {trial for trial, (state, _) in before.items() if state == "done"}
    assert finished and finished != before.keys()
    done = run(place, "resume", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    after = attempts(place)
    assert {state for state, _ in after.values()} == {"done"}
    # A trial that somebody else's load disturbs is tried again; what had ended before is not, whatever happens.
    for trial, (_, tries) in before.items():
        assert (after[trial][1] == tries) if trial in finished else (after[trial][1] > tries), (trial, before, after)
    assert clean_within(place, 5) == []


@pytest.mark.timeout(100)
def test_ctrl_c_undoes_keeps_and_says_how_to_go_on(place: Path) -> None:
    process = begin(place)
    wait_for_step(place, "measure", 1, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=40)
    assert process.returncode == 130, errors
    assert "offspec resume" in errors
    assert "Traceback" not in errors
    assert clean_within(place, 5) == []


@pytest.mark.timeout(100)
@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("resp, --mode", "nonsense, --mode", 4, ["exited with 2 at once", "its last line"]),
        ('["{python}", -m, agent.targets, resp, --mode, block, --port, "{port}"]', "[sleep, '60']", 4, ["not ready within 1 s"]),
        ("poisson:2000,keys=500,size=64,get=0.9", "none.bin", 3, ["none.bin", "no such file"]),
        ("driver: redis", "driver: redis\n    port: {taken}", 4, ["is in use by process", "port"]),
    ],
)
def test_a_campaign_that_cannot_work_is_one_line_and_its_exit_code(place: Path, old: str, new: str, code: int, words: list[str]) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = CAMPAIGN.replace(old, new.replace("{taken}", str(taken.getsockname()[1]))).replace("ping: 10s", "ping: 1s")
        (place / "c.yaml").write_text(text)
        returned, out, errors = run_with_an_agent_by_hand(place)
    assert returned == code, errors
    assert out == ""
    assert errors.count("\n") == 1, errors
    for word in words:
        assert word in errors
    assert clean_within(place, 8) == []


def run_with_an_agent_by_hand(place: Path) -> tuple[int, str, str]:
    """Exit code, stdout, and stderr without the line that says how to start the agent: what the run says does not depend on its fleet."""
    words = ["run", str(place / "c.yaml"), "-q", "--fleet", "static:1", "--runs", str(place / "runs")]
    with subprocess.Popen([*OFFSPEC, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        first = process.stderr.readline()
        agent = None
        try:
            if "python -m agent" in first:
                told = first.replace("--name NAME", "--name local").split("python -m ", 1)[1].split()
                agent = subprocess.Popen([sys.executable, "-m", *told, "--exit-with-controller", "--state-dir", str(place / "state")])
                first = ""
            out, errors = process.communicate(timeout=60)
        finally:
            process.kill()
            if agent is not None:
                agent.terminate()
                agent.wait(20)
    return process.returncode, out, first + errors


def test_help_is_there_for_every_command() -> None:
    for command in ("demo", "plan", "run", "resume", "report", "replay", "trace", "inject", "undo", "doctor", "target"):
        done = subprocess.run([*OFFSPEC, command, "--help"], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        assert f"offspec {command}" in textwrap.dedent(done.stdout)
