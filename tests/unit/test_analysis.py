"""Scores: known answers, honest intervals, verdicts with their reasons."""

import math
from typing import Any

import numpy as np
import pytest

from agent.selfcheck import EngineFigures, Gates
from agent.selfcheck import judge as check
from controller.analysis.retention import log_interval, noise_floor, portability, retentions
from controller.campaign import Objectives
from controller.exits import exit_code
from controller.report.files import banner, retention_table
from controller.verdict import Evidence, judge
from traces.plots import Line, Plot, draw, linear_axis, log_axis


def entry(variant: str, condition: str, block: int, p50: float, **more: Any) -> dict[str, Any]:
    return {
        "id": f"{variant}-{condition}-{block}", "variant": variant, "condition": condition, "block": block, "attempt": 1,
        "target_agent": "a",
        "verdict": "valid", "outcome": "functions", "failure_class": None, "scheduled": 100, "completed": 100, "rate_due_per_s": 100.0,
        "goodput_per_s": 90.0, "requests_per_cpu_s": 1000.0, "response_us": {"p50": p50, "p99": 10 * p50, "p99_9": None}, "dose": [],
    } | more  # fmt: skip


def score_of(entries: list[dict[str, Any]], metric: str) -> Any:
    (found,) = [s for s in retentions(entries) if s.metric == metric]
    return found


def test_retention_is_the_ratio_within_blocks_so_that_drift_cancels() -> None:
    drift = [1.0, 5.0, 20.0]
    entries = [entry("v", "nominal", b, 10 * d) for b, d in enumerate(drift)]
    entries += [entry("v", "bad", b, 40 * d) for b, d in enumerate(drift)]
    score = score_of(entries, "response_p50")
    assert (score.value, score.trials) == (pytest.approx(0.25), 3)
    assert score.low == pytest.approx(0.25)
    assert score.high == pytest.approx(0.25)


def test_a_system_that_fails_keeps_nothing() -> None:
    entries = [entry("v", "nominal", 1, 10.0), entry("v", "bad", 1, 0.0, outcome="fails", completed=0)]
    assert score_of(entries, "goodput").value == 0
    assert portability(retentions(entries), "v", "goodput") == 0


def test_invalid_attempts_do_not_count_and_the_first_believed_one_does() -> None:
    entries = [entry("v", "nominal", 1, 10.0), entry("v", "bad", 1, 99.0, verdict="invalid"), entry("v", "bad", 1, 20.0, attempt=2)]
    assert score_of(entries, "response_p50").value == pytest.approx(0.5)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    truth, covered, campaigns = 0.4, 0, 600
    for _ in range(campaigns):
        _, low, high = log_interval(list(np.exp(np.log(truth) + rng.normal(0, 0.2, 4))))
        assert low is not None and high is not None
        covered += low <= truth <= high
    assert 0.92 <= covered / campaigns <= 0.98


def test_one_block_has_no_interval_of_blocks() -> None:
    value, low, high = log_interval([0.5])
    assert (value, low, high) == (pytest.approx(0.5), None, None)


def test_the_noise_floor_is_how_far_nominal_trials_lie_apart() -> None:
    entries = [entry("v", "nominal", 1, 10.0), entry("v", "nominal", 2, 12.0)]
    assert noise_floor(entries, "v", "response_p50") == pytest.approx(0.2)
    assert noise_floor(entries[:1], "v", "response_p50") is None


QUIET = EngineFigures(run_delay_ns=[0] * 5, steal_ns=[0] * 5, inflight=[1] * 5, pinned=True)


def checked(**changes: Any) -> Any:
    given: dict[str, Any] = {
        "scheduled": 1000, "sent_late_by_us": 0, "slip_p99_ns": 10_000, "slip_p99_by_second_ns": [10_000] * 5, "engine": QUIET,
        "feed_starved": 0, "gates": Gates(),
    }  # fmt: skip
    return check(**(given | changes))


def test_a_punctual_generator_is_valid_and_a_late_one_is_not() -> None:
    assert checked().verdict == "valid"
    assert checked(slip_p99_ns=400_000).verdict == "suspect"
    late = checked(slip_p99_ns=2_000_000)
    assert late.verdict == "invalid"
    assert "the generator was late" in late.reasons[0]
    assert checked(sent_late_by_us=11).verdict == "invalid"
    assert checked(scheduled=0).verdict == "invalid"


@pytest.mark.parametrize("bad", [0.011, 0.05, 0.5, 0.9])
def test_more_steal_or_waiting_never_improves_the_verdict(bad: float) -> None:
    stolen = EngineFigures(run_delay_ns=[0] * 5, steal_ns=[int(bad * 1e9)] * 5, inflight=[1] * 5, pinned=True)
    waiting = EngineFigures(run_delay_ns=[int(bad * 1e9)] * 5, steal_ns=[0] * 5, inflight=[1] * 5, pinned=True)
    assert checked(engine=stolen).verdict != "valid"
    assert checked(engine=waiting).verdict == ("valid" if bad <= 0.02 else "suspect" if bad <= 0.1 else "invalid")


def test_a_saturated_system_is_a_result_and_leaves_the_generator_valid() -> None:
    growing = EngineFigures(run_delay_ns=[0] * 6, steal_ns=[0] * 6, inflight=[10, 200, 400, 600, 800, 1000], pinned=True)
    assert (checked(engine=growing).verdict, checked(engine=growing).saturated) == ("valid", True)
    assert not checked().saturated


def test_a_system_that_died_is_a_valid_result_and_a_lost_agent_is_not() -> None:
    died = judge(Evidence(failure_class="system", failure="exited with 1", step="ready"))
    assert (died.verdict, died.outcome, died.failure_class) == ("valid", "fails", "system")
    lost = judge(Evidence(failure_class="infra", failure="agent a is gone", step="measure"))
    assert (lost.verdict, lost.outcome, lost.failure_class) == ("invalid", "unknown", "infra")


def test_a_dose_that_was_not_given_makes_the_trial_invalid_with_its_reason() -> None:
    dose = {"violation": "cpu", "unit": "percent", "asked": 50.0, "measured": 20.0, "coverage": 0.1}
    judged = judge(Evidence(self_check={"a": {"verdict": "valid", "reasons": [], "outcome": "functions"}}, doses=[dose]))
    assert (judged.verdict, judged.failure_class) == ("invalid", "invalid")
    assert "50 percent asked, 20 given, right in 10%" in judged.reasons[0]


def test_a_child_that_was_not_started_as_asked_makes_the_trial_invalid() -> None:
    judged = judge(
        Evidence(self_check={"a": {"verdict": "valid", "reasons": [], "outcome": "functions"}}, child={"differs": ["nice is 15"]})
    )
    assert judged.verdict == "invalid"


def test_exit_codes_are_what_the_run_is_worth() -> None:
    bound = Objectives.model_validate({"response_p50": "< 20us"})
    good, slow = entry("v", "nominal", 1, 10.0), entry("v", "nominal", 1, 30.0)
    assert exit_code({"trials": []}, bound, 1) == 11
    assert exit_code({"trials": [good | {"verdict": "invalid"}]}, bound, 1) == 12
    assert exit_code({"trials": [good]}, bound, 2) == 13
    assert exit_code({"trials": [slow]}, bound, 1) == 10
    assert exit_code({"trials": [good]}, bound, 1) == 0
    missing = good | {"response_us": {"p50": None, "p99": None, "p99_9": None}}
    assert exit_code({"trials": [missing]}, bound, 1) == 10


def test_the_banner_says_how_much_may_be_believed() -> None:
    assert banner([entry("v", "nominal", 1, 1.0)])["kind"] == "valid"
    assert banner([entry("v", "nominal", 1, 1.0, verdict="invalid")])["kind"] == "invalid"
    assert banner([])["kind"] == "invalid"


def test_a_metric_without_scores_has_no_table() -> None:
    assert retention_table({"trials": [], "scores": []}, "goodput") is None


def test_plots_escape_names_and_survive_empty_and_extreme_data() -> None:
    name = "<script>alert(1)</script>"
    for points in ([], [(1.0, 1.0)], [(1.0, 1e-9), (2.0, 1e12)]):
        values = [y for _, y in points]
        svg = draw(Plot(name, linear_axis("x", 3), log_axis("y", values, "us"), [Line(name, points, 0)]))
        assert "<script>" not in svg
        assert not math.isnan(sum(values))


def test_the_reason_that_made_a_trial_invalid_is_read_first() -> None:
    dose = {"violation": "cpu", "unit": "percent", "asked": 60.0, "measured": 30.0, "coverage": 0.0}
    check = {"a": {"verdict": "suspect", "reasons": ["slip", "steal"], "outcome": "functions"}}
    judged = judge(Evidence(self_check=check, doses=[dose]))
    assert judged.verdict == "invalid"
    assert judged.reasons[0].startswith("dose of cpu: 60 percent asked, 30 given")
    assert judged.reasons[1:] == ("slip", "steal")


def test_what_others_took_of_the_systems_cores_is_held_against_a_trial() -> None:
    check = {"a": {"verdict": "valid", "reasons": [], "outcome": "functions"}}

    def verdict(foreign: float | None) -> str:
        return judge(Evidence(self_check=check, target={"alive": True, "foreign": foreign}, foreign_gate=0.1)).verdict

    assert [verdict(share) for share in (None, 0.05, 0.2, 0.5)] == ["valid", "valid", "suspect", "invalid"]
