"""Doses by the second become one summary: what was read beside the dose is kept, and told."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from controller.analysis.doses import dose_summaries, workload_dose_summaries
from controller.analysis.trial import trial_entry
from controller.attempts import AskedViolation, AttemptRecord
from controller.verdict import Evidence, judge
from protos.records import DOSES

ROW = {
    "agent": "a", "violation": "cpu-quota", "unit": "percent", "asked": 50.0, "given": 50.0, "source": "cpu.max", "mechanism": "m",
    "fidelity": "exact",
}  # fmt: skip


def written(folder: Path, rows: list[dict[str, object]], schema: pa.Schema = DOSES) -> Path:
    path = folder / "doses" / "trial=t" / "attempt=1" / "a.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return folder


def test_how_a_quota_held_the_system_is_told_over_the_measured_seconds_alone(tmp_path: Path) -> None:
    held = [(0, 900.0, 1.0), (1, 300.0, 0.5), (2, 500.0, 0.9)]
    rows = [{**ROW, "second": at, "throttled_ms": ms, "throttled_periods": share} for at, ms, share in held]
    (summary,) = dose_summaries(written(tmp_path, rows), "t", 1, 1, 2)
    assert summary["remarks"] == ["the quota held the system 400 ms of each second, summed over its cores, in 70% of its periods"]


def test_the_last_remark_of_the_measured_seconds_is_the_one_that_is_told(tmp_path: Path) -> None:
    rows = [{**ROW, "second": at, "remark": said} for at, said in ((0, "early"), (1, "late"), (2, None), (3, "after"))]
    (summary,) = dose_summaries(written(tmp_path, rows), "t", 1, 0, 3)
    assert summary["remarks"] == ["late"]


def test_what_a_violation_says_of_itself_when_it_ended_stands_with_its_dose(tmp_path: Path) -> None:
    record = AttemptRecord(
        trial="t", variant="v", condition="c", repeat=1, block=1, order=0, attempt=1,
        violations=(AskedViolation("stress", "sharing", "percent", 50.0),), verdict="valid", reasons=(), outcome="functions",
        failure_class=None, warmup_s=0, measure_s=1, load_agents=("a",), summaries={"stress": "120 bogo operations"},
    )  # fmt: skip
    assert AttemptRecord.from_json(record.to_json()) == record
    (dose,) = trial_entry(record, written(tmp_path, [{**ROW, "violation": "stress", "second": 0}]), None)["dose"]
    assert dose["remarks"] == ["120 bogo operations"]


def test_a_run_from_before_these_columns_is_still_read(tmp_path: Path) -> None:
    old = pa.schema([field for field in DOSES if field.name not in ("throttled_ms", "throttled_periods", "remark")])
    (summary,) = dose_summaries(written(tmp_path, [{**ROW, "second": 0}], old), "t", 1, 0, 1)
    assert summary["remarks"] == [] and summary["measured"] == pytest.approx(50)


TRANSFORMED = {
    "mix": AskedViolation("op_mix", "workload", "share", 0.5),
    "zipf": AskedViolation("zipf", "workload", "exponent", 1.2),
    "cpu": AskedViolation("cpu", "sharing", "percent", 50.0),
}


@pytest.mark.parametrize(
    ("given", "verdict", "coverage"),
    [
        ({"op_mix": 0.5}, "confirmed", 1.0),
        ({"op_mix": 0.5099}, "confirmed", 1.0),
        ({"op_mix": 0.5101}, "mismatch", 0.0),
        ({"op_mix": 0.4}, "mismatch", 0.0),
        ({}, "inconclusive", 0.0),
    ],
)
def test_a_dose_of_the_workload_is_confirmed_only_by_a_reading_within_its_tolerance(
    given: dict[str, float], verdict: str, coverage: float
) -> None:
    (dose,) = workload_dose_summaries((TRANSFORMED["mix"], TRANSFORMED["cpu"]), given)
    assert (dose["violation"], dose["asked"], dose["measured"]) == ("op_mix", 0.5, given.get("op_mix"))
    assert (dose["verdict"], dose["coverage"]) == (verdict, coverage)


@pytest.mark.parametrize(("given", "words"), [(0.4, "0.5 share asked, 0.4 read back from the trace"), (None, "0.5 share asked, not read")])
def test_a_trial_whose_trace_does_not_hold_its_dose_is_invalid_and_says_both_numbers(given: float | None, words: str) -> None:
    doses = workload_dose_summaries((TRANSFORMED["mix"],), {} if given is None else {"op_mix": given})
    serves = {"a": {"verdict": "valid", "reasons": [], "outcome": "functions"}}
    judged = judge(Evidence(self_check=serves, doses=doses))
    assert (judged.verdict, judged.failure_class) == ("invalid", "invalid")
    assert f"dose of op_mix: {words}" in judged.reasons[0]
    assert judge(Evidence(self_check=serves, doses=workload_dose_summaries((TRANSFORMED["mix"],), {"op_mix": 0.5}))).verdict == "valid"


def test_an_attempt_tells_what_was_read_back_of_each_violation_of_its_workload(tmp_path: Path) -> None:
    record = AttemptRecord(
        trial="t", variant="v", condition="c", repeat=1, block=1, order=0, attempt=1,
        violations=(TRANSFORMED["zipf"], TRANSFORMED["mix"]), verdict="valid", reasons=(), outcome="functions",
        failure_class=None, warmup_s=0, measure_s=1, load_agents=("a",), workload_doses={"zipf": 1.21},
        off_nominal={"zipf": {"words": "far"}},
    )  # fmt: skip
    zipf, mix = trial_entry(AttemptRecord.from_json(record.to_json()), tmp_path, None)["dose"]
    assert (zipf["measured"], zipf["verdict"], zipf["off_nominal"]) == (1.21, "confirmed", {"words": "far"})
    assert (mix["measured"], mix["verdict"]) == (None, "inconclusive") and "off_nominal" not in mix
