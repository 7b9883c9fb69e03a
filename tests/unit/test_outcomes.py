"""What a system did is decided from evidence, and the evidence is told."""

from pathlib import Path
from typing import Any

import pytest

from controller.analysis.findings import findings
from controller.analysis.outcomes import outcomes, told
from controller.campaign import FallsBack, load_campaign
from controller.report.terminal import render_terminal
from controller.verdict import Evidence, judge, signs_of_fall_back
from tests.unit.test_analysis import entry
from traces.errors import InvalidInput

FINE = {"verdict": "valid", "reasons": [], "outcome": "functions", "scheduled": 100, "completed": 99}
LOG = FallsBack(log="falling back to (epoll|poll)")
SLOW_PATH = FallsBack(metric="app_slow_path_total", labels={"path": "scalar"}, above=0)
COST = FallsBack.model_validate({"cpu_per_request": "> 1.5"})


def seen(**more: Any) -> Evidence:
    return Evidence(self_check={"a": FINE}, target={"alive": True}, ready_s=0.2, **more)


def test_a_system_that_serves_without_a_sign_functions_and_the_evidence_says_so() -> None:
    judged = judge(seen(signs=(LOG, SLOW_PATH), log="up\nserving\n", metrics=[("app_slow_path_total", {"path": "scalar"}, 0.0)]))
    assert (judged.outcome, judged.evidence) == ("functions", ("it started, was ready after 0.2 s, and answered 99 of 100 requests",))


def test_a_line_of_the_log_or_a_metric_beyond_its_bound_means_falls_back() -> None:
    by_log = judge(seen(signs=(LOG,), log="up\n  io_uring refused: falling back to epoll  \n"))
    assert by_log.outcome == "falls_back" and by_log.verdict == "valid"
    assert by_log.evidence[-1] == "its log says: io_uring refused: falling back to epoll"
    by_metric = judge(seen(signs=(SLOW_PATH,), metrics=[("app_slow_path_total", {"path": "scalar", "core": "0"}, 17.0)]))
    assert by_metric.evidence[-1] == "its metric app_slow_path_total is 17, above 0"
    assert judge(seen(signs=(SLOW_PATH,), metrics=[("app_slow_path_total", {"path": "simd"}, 17.0)])).outcome == "functions"
    below = FallsBack(metric="hit_ratio", below=0.5)
    assert signs_of_fall_back([below], "", [("hit_ratio", {}, 0.4)]) and not signs_of_fall_back([below], "", [("hit_ratio", {}, 0.5)])


@pytest.mark.parametrize(
    ("step", "words"), [("deploy", "it did not start"), ("ready", "it did not become ready"), ("preload", "it did not serve")]
)
def test_a_system_that_does_not_come_up_fails_with_its_reason(step: str, words: str) -> None:
    judged = judge(Evidence(failure_class="system", failure="exited with 1; its last line: needs AVX2", step=step))
    assert (judged.verdict, judged.outcome) == ("valid", "fails")
    assert judged.evidence == (f"{words}: exited with 1; its last line: needs AVX2",)


def test_a_system_that_ends_in_the_trial_fails_whatever_its_log_says() -> None:
    judged = judge(Evidence(self_check={"a": FINE}, target={"alive": False, "exit": -9}, signs=(LOG,), log="falling back to epoll"))
    assert (judged.outcome, judged.evidence) == ("fails", ("the system ended during the trial (exit -9)",))


def entries() -> list[dict[str, Any]]:
    common = {"evidence": ["it served"], "reasons": []}
    return [
        entry("v", "nominal", 1, 10.0, requests_per_cpu_s=1000.0, **common),
        entry("v", "no-aes", 1, 30.0, requests_per_cpu_s=400.0, **common),
        entry("v", "noisy", 1, 30.0, requests_per_cpu_s=400.0, **common),
        entry("v", "no-avx", 1, 30.0, requests_per_cpu_s=900.0, **common),
        entry("v", "dead", 1, 0.0, outcome="fails", requests_per_cpu_s=None, **common),
    ]


def test_the_cpu_time_of_a_request_tells_of_another_path_under_hardware_violations_alone() -> None:
    found = {e["condition"]: e for e in outcomes(entries(), {"no-aes", "no-avx", "dead"}, [COST])}
    assert found["no-aes"]["outcome"] == "falls_back"
    assert found["no-aes"]["evidence"][-1] == "a request costs 2.50 times the CPU time of a nominal one (> 1.5)"
    assert found["no-avx"]["outcome"] == "functions"
    assert found["no-avx"]["evidence"][-1] == "a request costs 1.11 times the CPU time of a nominal one"
    assert (found["noisy"]["outcome"], found["noisy"]["cpu_per_request"]) == ("functions", 2.5)
    assert (found["dead"]["outcome"], found["dead"]["cpu_per_request"]) == ("fails", None)
    assert {e["outcome"] for e in outcomes(entries(), {"no-aes"}, [])} == {"functions", "fails"}, "without a sign there is no fall-back"


def test_outcomes_stand_in_findings_and_on_the_terminal_with_their_evidence() -> None:
    found = outcomes(entries(), {"no-aes"}, [COST])
    said = "v falls back under no-aes: a request costs 2.50 times the CPU time of a nominal one (> 1.5)."
    assert said in findings(found, [])
    assert [row["said"] for row in told(found) if row["condition"] == "no-aes"] == ["1 falls back"]
    shown = render_terminal({"trials": found, "scores": []})
    assert "1 falls back" in shown and "v under no-aes: 1 falls back: it served; a request costs 2.50 times" in shown


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{log: '('}", "no regular expression"),
        ("{}", "exactly one of log, metric, cpu_per_request"),
        ("{log: a, metric: b, above: 1}", "exactly one"),
        ("{metric: b}", "one of above and below"),
        ("{metric: b, above: 1, below: 2}", "one of above and below"),
        ("{cpu_per_request: '< 2'}", "points the wrong way"),
        ("{log: a, labels: {x: y}}", "labels go with a metric"),
    ],
)
def test_a_sign_that_says_nothing_is_refused_by_its_line(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "campaign: c\nsystems:\n  s:\n    driver: redis\n    variants: {v: {command: [x]}}\n    ready: {ping: 1s}\n"
        f"    falls_back:\n      - {text}\nworkload: {{trace: 'poisson:1'}}\n"
    )
    with pytest.raises(InvalidInput, match=rf"c.yaml:8: .*{words}"):
        load_campaign(path)
