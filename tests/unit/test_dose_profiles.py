"""A dose over time: one function of the second for both sides, judged second by second, on time."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.dose import DoseWatch
from agent.violations import Reading
from controller.analysis.doses import dose_summaries
from controller.campaign import load_campaign
from protos.profile import Profile, pulse, ramp, steps
from protos.violations import CATALOGUE
from traces.errors import InvalidInput

DOSES = st.floats(0, 100)
TIMES = st.floats(0.05, 20)
PROFILES = st.one_of(
    st.builds(ramp, DOSES, DOSES, TIMES),
    st.builds(steps, st.lists(DOSES, min_size=1, max_size=6), TIMES),
    st.builds(lambda low, high, on, off: pulse(low, high, on + off, on), DOSES, DOSES, TIMES, TIMES),
)


@given(PROFILES)
def test_a_profile_survives_json_and_stays_between_its_bounds(profile: Profile) -> None:
    assert Profile.from_json(profile.to_json()) == profile
    for second in (-1.0, 0.0, 0.3, 7.7, 1000.0):
        assert profile.least - 1e-9 <= profile.at(second) <= profile.most + 1e-9


@settings(deadline=None)
@given(PROFILES, st.floats(0, 30), st.floats(0.1, 5), st.floats(0.1, 5))
def test_the_mean_over_a_stretch_is_that_of_its_parts(profile: Profile, begin: float, one: float, other: float) -> None:
    whole = profile.mean(begin, begin + one + other) * (one + other)
    parts = profile.mean(begin, begin + one) * one + profile.mean(begin + one, begin + one + other) * other
    assert whole == pytest.approx(parts, abs=1e-3)


def test_known_doses() -> None:
    assert [ramp(0, 100, 10).at(s) for s in (0, 5, 10, 20)] == [0, 50, 100, 100]
    assert ramp(0, 100, 10).mean(0, 1) == pytest.approx(5)
    assert [steps([10, 50], 5).at(s) for s in (0, 4.9, 5, 60)] == [10, 10, 50, 50]
    assert [pulse(0, 80, 10, 2).at(s) for s in (0, 1.9, 2, 9.9, 10, 12)] == [80, 80, 0, 0, 80, 0]
    assert pulse(0, 80, 10, 2).mean(0, 20) == pytest.approx(16)
    assert steps([10, 50], 0.5).mean(0, 1) == pytest.approx(30)


def campaign(tmp_path: Path, dose: str, violation: str = "sharing: {cpu") -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(
        "campaign: c\nsystems: {s: {driver: redis, variants: {v: {command: [x]}}, ready: {ping: 1s}}}\nworkload: {trace: 'poisson:1'}\n"
        f"conditions:\n  swell: {{{violation}: {{dose: {dose}}}}}}}\n"
    )
    return path


def asked(tmp_path: Path, dose: str) -> Profile:
    (found,) = load_campaign(campaign(tmp_path, dose)).expanded()["swell"]
    profile = Profile.from_json(found.profile)
    assert found.dose == profile.most
    return profile


def test_a_campaign_writes_ramps_steps_pulses_and_signals(tmp_path: Path) -> None:
    assert asked(tmp_path, "{ramp: [0, 100], over: 10s}") == ramp(0, 100, 10)
    assert asked(tmp_path, "{steps: [10, 50%, 90], each: 500ms}") == steps([10, 50, 90], 0.5)
    assert asked(tmp_path, "{pulse: [0, 80], every: 10s, for: 2s}") == pulse(0, 80, 10, 2)
    (tmp_path / "load.csv").write_text("second,dose\n100,5\n101.5,10\n")
    assert asked(tmp_path, "{signal: load.csv, scale: 2}") == Profile(((0.0, 10.0), (1.5, 20.0)))
    pq.write_table(pa.table({"second": [7, 8], "dose": [1.5, 2.5]}), tmp_path / "load.parquet")
    assert asked(tmp_path, "{signal: load.parquet}") == Profile(((0.0, 1.5), (1.0, 2.5)))


@pytest.mark.parametrize(
    ("dose", "words"),
    [
        ("{ramp: [0, 101], over: 10s}", "101 is over 100"),
        ("{ramp: [0], over: 10s}", "two, such as"),
        ("{ramp: [0, 1]}", "over is missing"),
        ("{ramp: [0, 1], over: 10}", "not a time"),
        ("{ramp: [0, 1], over: 1s, each: 1s}", "unknown key for a ramp"),
        ("{wave: [0, 1]}", "a dose over time is one of ramp, steps, pulse, signal"),
        ("{pulse: [0, 1], every: 1s, for: 2s}", "begins again before its last point"),
        ("{signal: none.csv}", "none.csv: no such file; expected CSV or Parquet with the columns second and dose"),
    ],
)
def test_what_is_no_dose_over_time_is_one_line(dose: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=rf"c.yaml:5: conditions.swell.sharing.cpu.dose.*{words}"):
        load_campaign(campaign(tmp_path, dose))


def test_a_violation_that_cannot_change_is_refused_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"c.yaml:5: .*memory.dose: the dose of memory cannot change while it is in force"):
        load_campaign(campaign(tmp_path, "{ramp: [64, 128], over: 2s}", "hardware: {memory"))


class Exact:
    """A violation that gives what it was last told to, and notes when."""

    mechanism, fidelity = "told", "exact"

    def __init__(self, t0_ns: int) -> None:
        self._t0_ns, self._dose, self._since = t0_ns, 0.0, time.monotonic_ns()
        self._given, self._read = 0.0, time.monotonic_ns()
        self._lock = threading.Lock()
        self.told: list[tuple[float, float]] = []

    def set(self, dose: float) -> None:
        with self._lock:
            now = time.monotonic_ns()
            self._given += self._dose * (now - self._since)
            self._dose, self._since = dose, now
            self.told.append(((now - self._t0_ns) / 1e9, dose))

    def measure(self) -> Reading:
        with self._lock:
            now = time.monotonic_ns()
            total = self._given + self._dose * (now - self._since)
            given, self._given, self._since, begun, self._read = total, 0.0, now, self._read, now
            return Reading(given / max(1, now - begun), "told")

    def undo(self) -> str:
        return "undone"


def test_an_agent_follows_a_profile_from_t0_on_and_is_judged_by_the_second(tmp_path: Path) -> None:
    t0_ns = time.monotonic_ns() + 200_000_000
    applied, watch = Exact(t0_ns), DoseWatch()
    watch.add(CATALOGUE["cpu"], 80.0, applied, pulse(0, 80, 1.0, 0.5))
    watch.start()
    watch.set_t0(t0_ns)
    time.sleep(2.35)
    table = watch.table("a")
    watch.undo()
    changes = [(at, dose) for at, dose in applied.told if at < 2]
    assert [dose for _, dose in changes[:4]] == [80, 0, 80, 0] or [dose for _, dose in changes[:3]] == [0, 80, 0]
    rows = {row["second"]: row for row in table.to_pylist()}
    assert rows[1]["asked"] == pytest.approx(40)
    assert rows[1]["late_ms"] >= 0
    path = tmp_path / "doses" / "trial=t" / "attempt=1" / "a.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(table, path)
    (summary,) = dose_summaries(tmp_path, "t", 1, 0, 2)
    assert summary["asked"] == pytest.approx(40) and summary["late_ms"] >= 0


def test_a_change_that_comes_too_late_is_not_a_dose_given(tmp_path: Path) -> None:
    from protos.records import DOSES

    row = {
        "agent": "a",
        "violation": "cpu",
        "unit": "percent",
        "asked": 50.0,
        "given": 50.0,
        "source": "x",
        "mechanism": "m",
        "fidelity": "exact",
    }
    rows = [{**row, "second": 0, "late_ms": 3.0}, {**row, "second": 1, "late_ms": 70.0}, {**row, "second": 2, "asked": 10.0, "given": 50.0}]
    path = tmp_path / "doses" / "trial=t" / "attempt=1" / "a.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, DOSES), path)
    (summary,) = dose_summaries(tmp_path, "t", 1, 0, 3)
    assert summary["coverage"] == pytest.approx(1 / 3, abs=1e-3) and summary["late_ms"] == 70


def test_inject_follows_a_profile_second_by_second(tmp_path: Path) -> None:
    words = ["inject", "pagefault", "--dose", "{steps: [2000, 6000], each: 1s}", "--for", "2s", "--json"]
    env = {**os.environ, "OFFSPEC_STATE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-m", "agent.cli", *words], capture_output=True, text=True, timeout=60, env=env)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["asked"] == 6000 and document["profile"]["points"] == [[0, 2000], [1, 6000]]
    first, second = (each["asked"] for each in document["seconds"])
    assert 2000 <= first < second <= 6000
    assert document["undone"] and document["seconds"][1]["given"] > document["seconds"][0]["given"]
