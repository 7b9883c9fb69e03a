"""The journal: what it acknowledged is there, whoever dies; trials end once."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from controller.attempts import AttemptRecord
from controller.campaign import load_campaign
from controller.journal import Journal, next_state
from controller.plan import Plan, make_plan
from traces.errors import InvalidInput, Refused

DEMO = Path(__file__).parents[2] / "controller" / "demo.yaml"


@pytest.fixture
def plan() -> Plan:
    return make_plan(load_campaign(DEMO), None)


def record(trial: str, attempt: int, failure_class: str | None = None) -> AttemptRecord:
    return AttemptRecord(
        trial=trial, variant="v", condition="nominal", repeat=1, block=1, order=0, attempt=attempt, violations=(), verdict="valid",
        reasons=("r",), outcome="functions", failure_class=failure_class, warmup_s=1, measure_s=2, load_agents=("a",),
    )  # type: ignore[arg-type]  # fmt: skip


def test_a_trial_is_wanted_until_it_has_a_result(tmp_path: Path, plan: Plan) -> None:
    trial = plan.trials[0].id
    with Journal.create(tmp_path / "journal.db", plan) as journal:
        number, epoch = journal.begin_attempt(trial)
        assert (number, journal.wants(trial)) == (1, True)
        journal.end_attempt(record(trial, 1, "invalid"))
        assert journal.wants(trial)
        second, later = journal.begin_attempt(trial)
        assert second == 2
        assert later > epoch
        journal.end_attempt(record(trial, 2))
        assert not journal.wants(trial)
        assert [r.attempt for r in journal.records()] == [1, 2]
        assert journal.records()[1] == record(trial, 2)


def test_an_ended_attempt_cannot_be_changed(tmp_path: Path, plan: Plan) -> None:
    trial = plan.trials[0].id
    with Journal.create(tmp_path / "journal.db", plan) as journal:
        journal.begin_attempt(trial)
        journal.end_attempt(record(trial, 1))
        with pytest.raises(sqlite3.IntegrityError, match="has ended"):
            journal.end_attempt(record(trial, 1, "system"))


def test_a_second_controller_is_refused_by_name(tmp_path: Path, plan: Plan) -> None:
    with Journal.create(tmp_path / "journal.db", plan), pytest.raises(Refused, match=f"process {os.getpid()}"):
        Journal.open(tmp_path / "journal.db")


def test_a_killed_controllers_attempt_is_lost_and_wanted_again(tmp_path: Path, plan: Plan) -> None:
    trial = plan.trials[0].id
    with Journal.create(tmp_path / "journal.db", plan) as journal:
        journal.begin_attempt(trial)
    with Journal.open(tmp_path / "journal.db") as journal:
        assert journal.wants(trial)
        assert journal.begin_attempt(trial)[0] == 2


def test_attempts_of_killed_controllers_are_no_tries_of_the_trial(tmp_path: Path, plan: Plan) -> None:
    trial = plan.trials[0].id
    Journal.create(tmp_path / "journal.db", plan).close()
    for _ in range(3):
        with Journal.open(tmp_path / "journal.db") as journal:
            journal.begin_attempt(trial)
    with Journal.open(tmp_path / "journal.db") as journal:
        for _ in range(3):
            number, _ = journal.begin_attempt(trial)
            journal.end_attempt(record(trial, number, "infra"))
            assert journal.wants(trial)
        number, _ = journal.begin_attempt(trial)
        journal.end_attempt(record(trial, number, "infra"))
        assert (number, journal.quarantined()) == (7, [trial])
    with sqlite3.connect(tmp_path / "journal.db") as db:
        assert db.execute("SELECT DISTINCT failure_class FROM attempt WHERE state='lost'").fetchall() == [("controller",)]


def test_lost_attempts_of_an_older_journal_are_no_tries_either(tmp_path: Path, plan: Plan) -> None:
    trial = plan.trials[0].id
    with Journal.create(tmp_path / "journal.db", plan) as journal:
        for _ in range(3):
            journal.begin_attempt(trial)
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("UPDATE attempt SET state='lost', failure_class='infra'")
    with Journal.open(tmp_path / "journal.db") as journal:
        number, _ = journal.begin_attempt(trial)
        journal.end_attempt(record(trial, number, "infra"))
        assert journal.wants(trial)


def test_a_write_that_fails_leaves_nothing_of_itself(tmp_path: Path, plan: Plan) -> None:
    trial = plan.trials[0].id
    with Journal.create(tmp_path / "journal.db", plan) as journal:
        journal.begin_attempt(trial)
        journal.end_attempt(record(trial, 1, "invalid"))
        events = len(journal.events())
        with pytest.raises(sqlite3.IntegrityError, match="has ended"):
            journal.end_attempt(record(trial, 1))
        with pytest.raises(ValueError, match="attempt 7 was never begun"):
            journal.end_attempt(record(trial, 7))
        with pytest.raises(sqlite3.IntegrityError):
            journal.begin_attempt("no-such-trial")
        assert journal.wants(trial)
        assert len(journal.events()) == events
        assert journal.begin_attempt(trial)[0] == 2  # no transaction was left open


def test_a_journal_is_created_once(tmp_path: Path, plan: Plan) -> None:
    Journal.create(tmp_path / "journal.db", plan).close()
    with pytest.raises(sqlite3.Error, match="already exists"):
        Journal.create(tmp_path / "journal.db", plan)
    with Journal.open(tmp_path / "journal.db") as journal:  # and the failed one holds no lock
        assert journal.planned() == len(plan.trials)


def test_what_was_acknowledged_survives_sigkill(tmp_path: Path, plan: Plan) -> None:
    """A process writes steps and tells each one after it was acknowledged; it is killed in the middle."""
    with Journal.create(tmp_path / "journal.db", plan) as journal:
        journal.begin_attempt(plan.trials[0].id)
    code = textwrap.dedent(f"""
        from pathlib import Path
        from controller.journal import Journal
        journal = Journal.open(Path({str(tmp_path / "journal.db")!r}))
        for i in range(100000):
            journal.step({plan.trials[0].id!r}, 1, f"step-{{i}}", "done")
            print(i, flush=True)
    """)
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(60)]
        writer.send_signal(signal.SIGKILL)
        told += [int(line) for line in writer.stdout.read().split("\n")[:-1] if line]
        writer.wait()
        with Journal.open(tmp_path / "journal.db") as journal:
            kept = [e["step"] for e in journal.events() if e["kind"] == "step"]
        assert set(f"step-{i}" for i in told) <= set(kept)


def test_a_damaged_journal_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(InvalidInput, match="cannot be read"):
        Journal.open(tmp_path / "journal.db")


@pytest.mark.parametrize(
    ("failure", "tries", "state"),
    [(None, 1, "done"), ("system", 1, "done"), ("cancelled", 9, "pending"), ("invalid", 1, "pending"), ("invalid", 3, "quarantined"),
     ("infra", 3, "pending"), ("infra", 4, "quarantined"), ("spec", 1, "pending")],
)  # fmt: skip
def test_retries_are_bounded_and_results_are_not_retried(failure: str | None, tries: int, state: str) -> None:
    assert next_state(failure, tries) == state
