"""A trace that cannot be read is found before anything is started, with the line that asks for it."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from controller.analysis.doses import workload_dose_summaries
from controller.attempts import AskedViolation
from controller.campaign import load_campaign
from controller.campaign_run import Options, show_plan
from controller.plan import make_plan, workload_key
from controller.workloads import check_trace, compile_all, doses_amiss, doses_given
from protos.violations import CATALOGUE
from traces.compile import Compiled, compile_workload
from traces.compiled import open_compiled
from traces.errors import InvalidInput
from traces.source import open_trace
from traces.transforms import TransformSpec, transforms

GOOD = """\
campaign: small
systems: {redis: {driver: redis, variants: {one: {command: [redis-server]}}, ready: {ping: 10s}}}
workload:
  rate: 2000/s
  trace: t.csv
"""
ROWS = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,374,44\n2023-11-16 18:15:50.99,396,109\n"


def document(tmp_path: Path, trace: str | None, text: str = GOOD) -> Path:
    if trace is not None:
        (tmp_path / "t.csv").write_text(trace)
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


def test_a_readable_trace_is_found_relative_to_the_document(tmp_path: Path) -> None:
    path = document(tmp_path, ROWS, GOOD + '  transforms: [{window: "0s..2s"}]\n')
    check_trace(load_campaign(path), path)


@pytest.mark.parametrize(
    ("trace", "text", "line", "words"),
    [
        (None, GOOD, 5, ["workload.trace: ", "t.csv: no such file"]),
        ("", GOOD, 5, ["workload.trace: ", "t.csv: the file is empty"]),
        ("what,is,this\n1,2,3\n", GOOD, 5, ["workload.trace: ", "t.csv: "]),
        (ROWS + "2023-11-16 18:16:50.99,many,109\n", GOOD, 5, ["t.csv: line 4: column ContextTokens: 'many'"]),
        (ROWS, GOOD.replace("t.csv", "t.csv\n  format: cvs"), 5, ["format 'cvs' is unknown"]),
        (None, GOOD.replace("t.csv", "poisson:lots"), 5, ["workload.trace: poisson:lots"]),
        (ROWS, GOOD + "  transforms: [{windw: 1s}]\n", 6, ["workload.transforms: transform 'windw' is unknown"]),
        (ROWS, GOOD + '  transforms: [{window: "100s..200s"}]\n', 6, ["workload.transforms: "]),
    ],
)
def test_a_plan_without_nodes_says_which_trace_cannot_be_read(
    tmp_path: Path, trace: str | None, text: str, line: int, words: list[str]
) -> None:
    path = document(tmp_path, trace, text)
    with pytest.raises(InvalidInput) as raised:
        show_plan(path, Options(runs=tmp_path / "runs"), offline=True)
    message = str(raised.value)
    assert message.startswith(f"{path}:{line}: "), message
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_doses_of_the_workload_are_read_back_from_the_compiled_traces(tmp_path: Path) -> None:
    asked = {"zipf": (1.2, {}), "size_scale": (3.0, {}), "churn": (0.2, {"period": "2s", "ops": "none"}), "mmpp": (4.0, {"dwell": "500ms"})}
    trace = "poisson:5000,keys=500,zipf=0.8,size=lognormal:200:1"

    def compiled(bends: list[TransformSpec]) -> Compiled:
        return compile_workload(open_trace(trace, seed=1), bends, driver="redis", duration_ns=10 * 10**9, out_dir=tmp_path)

    for name, (dose, options) in asked.items():
        violation = AskedViolation(name, "workload", CATALOGUE[name].unit, dose, options)
        workloads = {"nominal": compiled([]), workload_key((violation,)): compiled([TransformSpec(name, dose, options)])}
        trial = SimpleNamespace(violations=(violation,))
        slack = max(CATALOGUE[name].tolerance * dose, CATALOGUE[name].tolerance_abs)
        assert doses_given(workloads, trial)[name] == pytest.approx(dose, abs=slack)  # type: ignore[arg-type]


SEVERAL = """\
campaign: several
systems: {redis: {driver: redis, variants: {one: {command: [redis-server]}}, ready: {ping: 10s}}}
workload: {trace: "poisson:4000,keys=500,zipf=0.9,get=0.9"}
conditions:
  mixed: {workload: {op_mix: {dose: 0.5}, churn: {dose: 0.2, period: 2s}}}
  moved: {workload: {hotset_shift: {dose: 0.3, period: 2s}, zipf: {dose: 1.1}}}
  unread: {workload: {hotset_shift: {dose: 0.3, period: 7s}}}
phases: {warmup: 2s, measure: 8s}
"""


def test_of_several_violations_each_is_read_in_what_it_made_of_the_trace_that_it_was_given(tmp_path: Path) -> None:
    campaign = load_campaign(document(tmp_path, None, SEVERAL))
    plan = make_plan(campaign, None)
    workloads = compile_all(campaign, plan, tmp_path / "traces")
    given = {}
    for trial in plan.trials:
        given[trial.condition] = workload_dose_summaries(trial.violations, doses_given(workloads, trial))
    verdicts = {(condition, dose["violation"]): dose["verdict"] for condition, doses in given.items() for dose in doses}
    assert verdicts == {
        ("mixed", "op_mix"): "confirmed", ("mixed", "churn"): "confirmed", ("moved", "hotset_shift"): "confirmed",
        ("moved", "zipf"): "confirmed", ("unread", "hotset_shift"): "inconclusive",
    }  # fmt: skip
    # Read at the end of the chain, what churn inserts would have been taken for a wrong mix.
    mixed = next(trial for trial in plan.trials if trial.condition == "mixed")
    end = open_compiled(workloads[mixed.workload].path)
    at_the_end = transforms()["op_mix"].dose(end, end, TransformSpec("op_mix", None, {}))  # type: ignore[attr-defined]
    assert abs(at_the_end - 0.5) > CATALOGUE["op_mix"].tolerance_abs
    (said,) = doses_amiss(workloads, plan)
    assert said.startswith("unread: dose of hotset_shift: 0.3 share asked, not read: ") and "\n" not in said


def test_two_conditions_that_differ_in_an_option_are_two_workloads() -> None:
    keys = {
        workload_key([AskedViolation("churn", "workload", "share", 0.2, options)]) for options in ({}, {"period": "2s"}, {"period": "3s"})
    }
    assert len(keys) == 3


def test_doses_that_differ_in_a_late_digit_are_two_workloads() -> None:
    keys = [workload_key([AskedViolation("zipf", "workload", "exponent", dose)]) for dose in (1.2345678, 1.2345679, 2.0, 0.1)]
    assert keys == ["zipf=1.2345678", "zipf=1.2345679", "zipf=2", "zipf=0.1"]
