"""The truth about a run: SQLite, write-ahead log, synchronous=FULL. Every call is on disk when it returns.

One controller at a time holds a run (flock). Trials end once; attempts are never changed after their end.
"""

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from controller.attempts import AttemptRecord
from controller.plan import Plan
from traces.errors import InvalidInput, Refused

_SCHEMA = (
    "CREATE TABLE run (spec_hash TEXT NOT NULL, seed INTEGER NOT NULL, campaign TEXT NOT NULL, begun_unix_ns INTEGER NOT NULL) STRICT",
    """CREATE TABLE trial (
  id TEXT PRIMARY KEY, position INTEGER NOT NULL UNIQUE,
  state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'quarantined', 'spared'))) STRICT""",
    """CREATE TABLE attempt (
  trial TEXT NOT NULL REFERENCES trial(id), number INTEGER NOT NULL, epoch INTEGER NOT NULL,
  state TEXT NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'ended', 'lost')),
  failure_class TEXT, record TEXT, PRIMARY KEY (trial, number)) STRICT""",
    "CREATE TABLE lease (epoch INTEGER PRIMARY KEY AUTOINCREMENT, trial TEXT NOT NULL, granted_unix_ns INTEGER NOT NULL) STRICT",
    """CREATE TABLE event (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, unix_ns INTEGER NOT NULL, mono_ns INTEGER NOT NULL,
  kind TEXT NOT NULL, entity TEXT NOT NULL, detail TEXT NOT NULL) STRICT""",
    """CREATE TRIGGER trials_end_once BEFORE UPDATE OF state ON trial WHEN OLD.state <> 'pending'
  BEGIN SELECT RAISE(ABORT, 'this trial has ended'); END""",
    """CREATE TRIGGER attempts_end_once BEFORE UPDATE ON attempt WHEN OLD.state <> 'running'
  BEGIN SELECT RAISE(ABORT, 'this attempt has ended'); END""",
)

LOST = "controller"
"""Failure class of an attempt whose controller died. It says nothing about trial or machine, so it is no try at all."""

MOST_TRIES: Mapping[str, int] = {"infra": 4, "invalid": 3}
"""Attempts in all before a trial is quarantined, by what ended the last one. A system that fails is a result: one attempt."""

StepState = Literal["begun", "done", "failed"]


class Journal:
    """One run's journal. Use `create` or `open`; close it to let another controller in."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        self._lock = None if read_only else _hold(path.with_suffix(".lock"))
        uri = f"file:{path}?mode={'ro' if read_only else 'rwc'}"
        # The runner is one thread, but a test or a signal may close it from another.
        self._db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        if not read_only:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA foreign_keys=ON")

    @classmethod
    def create(cls, path: Path, plan: Plan) -> "Journal":
        journal = cls(path)
        try:
            with journal._writing() as db:
                for statement in _SCHEMA:
                    db.execute(statement)
                db.execute("INSERT INTO run VALUES (?, ?, ?, ?)", (plan.spec_hash, plan.seed, plan.campaign, time.time_ns()))
                db.executemany("INSERT INTO trial (id, position) VALUES (?, ?)", [(t.id, t.order) for t in plan.trials])
                journal._event("run", plan.campaign, {"trials": len(plan.trials)})
        except sqlite3.Error:
            journal.close()
            raise
        return journal

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> "Journal":
        """An existing journal. Attempts that a dead controller left running are marked lost: they will be repeated."""
        journal = None
        try:
            journal = cls(path, read_only=read_only)
            if journal._db.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("the check found damage")
            if not read_only:
                with journal._writing() as db:
                    lost = db.execute("UPDATE attempt SET state='lost', failure_class=? WHERE state='running'", (LOST,)).rowcount
                    journal._event("open", "", {"lost_attempts": lost})
        except sqlite3.DatabaseError as error:
            if journal is not None:
                journal.close()
            raise InvalidInput(f"{path}: cannot be read ({error}); restore the run's folder from a copy") from None
        return journal

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: on disk when this is left, or, by whatever error, as if it had never begun."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _event(self, kind: str, entity: str, detail: Mapping[str, Any]) -> None:
        self._db.execute(
            "INSERT INTO event (unix_ns, mono_ns, kind, entity, detail) VALUES (?, ?, ?, ?, ?)",
            (time.time_ns(), time.monotonic_ns(), kind, entity, json.dumps(detail)),
        )

    def wants(self, trial: str) -> bool:
        """Whether the trial still needs an attempt."""
        row = self._db.execute("SELECT state FROM trial WHERE id=?", (trial,)).fetchone()
        return row is not None and row[0] == "pending"

    def planned(self) -> int:
        """Trials that must have a result: all but those that an early end spared."""
        return int(self._db.execute("SELECT count(*) FROM trial WHERE state <> 'spared'").fetchone()[0])

    def look(self, seen: Mapping[str, Any]) -> None:
        """A look at the blocks so far ({block, stop, ...}). Where it says stop, the trials still pending are spared, by the same write."""
        with self._writing() as db:
            if seen["stop"]:
                db.execute("UPDATE trial SET state='spared' WHERE state='pending'")
            self._event("look", f"block {seen['block']}", seen)

    def looks(self) -> list[dict[str, Any]]:
        """The looks so far, in order."""
        rows = self._db.execute("SELECT detail FROM event WHERE kind='look' ORDER BY seq")
        return [json.loads(row[0]) for row in rows]

    def unfinished(self) -> list[str]:
        """The trials that still need an attempt, in the order of the plan."""
        return [r[0] for r in self._db.execute("SELECT id FROM trial WHERE state='pending' ORDER BY position")]

    def quarantined(self) -> list[str]:
        return [r[0] for r in self._db.execute("SELECT id FROM trial WHERE state='quarantined' ORDER BY position")]

    def begin_attempt(self, trial: str) -> tuple[int, int]:
        """Number of the attempt, and the epoch that fences off everything older."""
        with self._writing() as db:
            number = int(db.execute("SELECT coalesce(max(number), 0) + 1 FROM attempt WHERE trial=?", (trial,)).fetchone()[0])
            lease = db.execute("INSERT INTO lease (trial, granted_unix_ns) VALUES (?, ?)", (trial, time.time_ns()))
            # Epochs must grow across runs too, since agents remember the highest that they saw: time comes first.
            epoch = (time.time_ns() // 1_000_000_000 << 20) + int(lease.lastrowid or 0)
            db.execute("INSERT INTO attempt (trial, number, epoch) VALUES (?, ?, ?)", (trial, number, epoch))
            self._event("attempt", f"{trial}#{number}", {"epoch": epoch})
        return number, epoch

    def step(self, trial: str, attempt: int, name: str, state: StepState) -> None:
        with self._writing():
            self._event("step", f"{trial}#{attempt}", {"step": name, "state": state})

    def end_attempt(self, record: AttemptRecord) -> None:
        """Ends the attempt and, where no further one is due, its trial. A cancelled attempt leaves its trial pending.

        Raises sqlite3.IntegrityError for an attempt that has ended, ValueError for one that never began; nothing is written then.
        """
        number = record.attempt
        with self._writing() as db:
            ended = db.execute(
                "UPDATE attempt SET state='ended', failure_class=?, record=? WHERE trial=? AND number=?",
                (record.failure_class, json.dumps(record.to_json()), record.trial, number),
            )
            if ended.rowcount != 1:
                raise ValueError(f"{record.trial}: attempt {number} was never begun")
            # Lost attempts are no tries, also in journals that gave them the class of a broken machine.
            same = db.execute(
                "SELECT count(*) FROM attempt WHERE trial=? AND state='ended' AND failure_class IS ?",
                (record.trial, record.failure_class),
            ).fetchone()[0]
            state = next_state(record.failure_class, int(same))
            if state != "pending":
                db.execute("UPDATE trial SET state=? WHERE id=?", (state, record.trial))
            self._event(
                "end",
                f"{record.trial}#{number}",
                {"verdict": record.verdict, "outcome": record.outcome, "trial": state},
            )

    def records(self) -> list[AttemptRecord]:
        """Every attempt that has ended, in the order of the plan."""
        rows = self._db.execute(
            "SELECT record FROM attempt JOIN trial ON trial.id = attempt.trial WHERE record IS NOT NULL ORDER BY position, number"
        )
        return [AttemptRecord.from_json(json.loads(row[0])) for row in rows]

    def events(self) -> list[dict[str, Any]]:
        rows = self._db.execute("SELECT seq, unix_ns, mono_ns, kind, entity, detail FROM event ORDER BY seq")
        return [dict(zip(("seq", "unix_ns", "mono_ns", "kind", "entity"), r, strict=False)) | json.loads(r[5]) for r in rows]


def next_state(failure_class: str | None, tries_of_this_class: int) -> Literal["pending", "done", "quarantined"]:
    """What becomes of a trial after an attempt. None and `system` are results; `cancelled` and `spec` are no tries at all."""
    if failure_class in (None, "system"):
        return "done"
    if failure_class in ("cancelled", "spec"):
        # A campaign that cannot work stops the run; once its cause is mended, resume tries again.
        return "pending"
    return "quarantined" if tries_of_this_class >= MOST_TRIES.get(failure_class or "", 1) else "pending"


def _hold(path: Path) -> int:
    """Takes the run's lock; its file names the holder."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise Refused(f"{path.parent}: held by another controller (process {holder}); wait for it, or end it first") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock
