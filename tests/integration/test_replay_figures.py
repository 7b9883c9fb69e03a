"""What a replay says of itself: rates over the time that it took, a log that is whole or not there."""

import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from agent.endpoint import Endpoint
from agent.replay import Replay, ReplayOrder
from agent.request_log import RequestLog
from tests.integration.engine_peers import requests


def replayed(table: pa.Table, log: RequestLog | None = None, **order: Any) -> dict[str, Any]:
    replay = Replay(ReplayOrder(Endpoint("null", "null"), **order), log=log)
    replay.arm()
    replay.run(table.to_reader(), time.monotonic_ns() + 10_000_000)
    return replay.summary()


def at(*arrivals_s: float) -> pa.Table:
    return pa.table({"arrival_ns": [int(s * 1e9) for s in arrivals_s]})


def test_seconds_without_a_request_count_in_its_rate() -> None:
    assert replayed(at(0.1, 2.1))["rate_due_per_s"] == pytest.approx(2 / 3, abs=1e-3)
    known = replayed(at(0.1, 1.1, 1.2), warmup_s=1, measure_s=4)
    assert (known["scheduled"], known["seconds"], known["rate_due_per_s"]) == (2, 4, 0.5)


def test_a_closed_loop_has_the_rate_that_its_users_reached() -> None:
    # Little's law: four users who think 5 ms and are answered at once ask 800 times a second.
    figures = replayed(requests(400, 1.0), window=4, think_us=5000)
    assert figures["completed"] == 400
    assert figures["seconds"] >= 0.495, "no user asks sooner than it has thought"
    assert figures["rate_done_per_s"] == pytest.approx(400 / figures["seconds"], rel=1e-3)


def test_a_run_that_was_not_stopped_is_not_interrupted() -> None:
    assert not replayed(at(0.0, 0.1))["interrupted"]


class FullDisk:
    """A writer that takes one batch."""

    def __init__(self) -> None:
        self._batches = 0

    def write_batch(self, batch: pa.RecordBatch) -> None:
        self._batches += 1
        if self._batches > 1:
            raise OSError(28, "no room")

    def close(self) -> None:
        raise OSError(28, "no room")


def test_a_log_that_cannot_be_written_to_its_end_is_removed_and_takes_no_figure_along(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    log = RequestLog(path)
    log._writer.close()
    log._writer = FullDisk()
    figures = replayed(requests(20_000, 1e6), log)
    assert figures["completed"] + figures["timed_out"] == 20_000
    assert any("No space left on device" in note for note in figures["notes"])
    assert not path.exists()
