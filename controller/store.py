"""The folder of one run: where each thing lies, and how it gets there whole or not at all.

Layout: runs/<campaign>/<run>/ with <table>/trial=<id>/attempt=<n>/<agent>.parquet for every table of protos.records.
Does not know what the tables mean.
"""

import json
import os
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from traces.errors import InvalidInput, UsageError

_SAFE = re.compile(r"[A-Za-z0-9._@=+-]{1,120}")


def attempt_key(trial: str, attempt: int) -> str:
    """The name by which agents know an attempt."""
    return f"{trial}#{attempt}"


def split_attempt_key(key: str) -> tuple[str, int]:
    trial, _, number = key.rpartition("#")
    if not trial or not number.isdigit():
        raise InvalidInput(f"attempt {key!r}: not of the form trial#number; report a bug")
    return trial, int(number)


def write_whole(path: Path, data: bytes) -> None:
    """Puts a file in place so that a reader sees all of it or nothing, also after power loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run."""

    path: Path

    @classmethod
    def create(cls, base: Path, campaign: str, run: str | None = None) -> "RunFolder":
        """A new, empty folder; the name is the start time, made unique where two runs start in one second."""
        name = run or time.strftime("%Y%m%d-%H%M%S")
        path = base / campaign / name
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            if run is not None:
                raise UsageError(f"{path}: this run exists; give another name, or `offspec resume {path}`") from None
            path = base / campaign / f"{name}-{secrets.token_hex(2)}"
            path.mkdir(parents=True)
        except OSError as error:
            raise UsageError(f"{path}: cannot be made ({error.strerror}); give a writable folder by --runs") from None
        return cls(path)

    @classmethod
    def open(cls, named: str, base: Path) -> "RunFolder":
        """A run by its path, by <campaign>/<run>, by <run> alone, or `last`."""
        given = Path(named)
        tries = [given, base / named, *sorted(base.glob(f"*/{named}"))]
        if named == "last":
            tries = sorted(base.glob("*/*/journal.db"), key=lambda p: p.stat().st_mtime)[-1:]
            tries = [p.parent for p in tries]
        for path in tries:
            if (path / "journal.db").is_file():
                return cls(path.resolve())
        raise InvalidInput(
            f"run {named}: no such run here ({base}/<campaign>/<run>/journal.db); give the folder that `offspec run` printed"
        )

    @property
    def run(self) -> str:
        return self.path.name

    @property
    def journal(self) -> Path:
        return self.path / "journal.db"

    @property
    def campaign_file(self) -> Path:
        return self.path / "campaign.yaml"

    @property
    def traces(self) -> Path:
        return self.path / "traces"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def artifact(self, key: str, agent: str, table: str) -> Path:
        """Where a table of an attempt goes. Names come over the network: anything but a plain name is refused."""
        trial, attempt = split_attempt_key(key)
        for name in (trial, agent, table):
            if not _SAFE.fullmatch(name) or name.startswith("."):
                raise InvalidInput(f"artifact of {key!r}: {name!r} is not a plain name; refused")
        if table == "log":
            return self.logs / f"{trial}-{attempt}-{agent}.log"
        return self.path / table / f"trial={trial}" / f"attempt={attempt}" / f"{agent}.parquet"

    def read_log(self, trial: str, attempt: int, agent: str) -> str:
        """What the system wrote, as far as it came over; empty where nothing did."""
        try:
            return (self.logs / f"{trial}-{attempt}-{agent}.log").read_text(errors="replace")
        except OSError:
            return ""

    def write_table(self, key: str, agent: str, table: str, rows: pa.Table) -> Path:
        path = self.artifact(key, agent, table)
        sink = pa.BufferOutputStream()
        pq.write_table(rows, sink, compression="zstd")
        write_whole(path, sink.getvalue().to_pybytes())
        return path

    def write_json(self, name: str, value: Any) -> Path:
        path = self.path / name
        write_whole(path, (json.dumps(value, indent=1, sort_keys=False, default=str) + "\n").encode())
        return path

    def read_json(self, name: str) -> Any:
        path = self.path / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InvalidInput(f"{path}: missing, so this run cannot be read; was it copied whole?") from None
        except ValueError as error:
            raise InvalidInput(f"{path}: not JSON ({error}); restore it from a copy") from None
