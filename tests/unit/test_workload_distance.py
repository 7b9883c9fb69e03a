"""How far a condition's workload lies from nominal: measured on compiled traces, told in the document and the reports."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from controller.analysis.document import build_document
from controller.analysis.workloads import workloads_off_nominal
from controller.attempts import AskedViolation, AttemptRecord
from controller.campaign import Design, Objectives
from controller.plan import Trial
from controller.report import write_report
from controller.report.figures import workload_panels
from controller.report.files import number
from controller.workload_distance import off_nominal
from traces.compile import Compiled, compile_workload
from traces.source import open_trace
from traces.transforms import TransformSpec


def compiled(folder: Path, *bends: TransformSpec) -> Compiled:
    trace = open_trace("poisson:2000,keys=500,zipf=0.9", seed=1)
    return compile_workload(trace, bends, driver="redis", duration_ns=10 * 10**9, out_dir=folder, seed=1)


def trial(condition: str, *violations: AskedViolation, workload: str = "nominal") -> Trial:
    return Trial(condition, 1, 1, 1, "one", condition, violations, workload, "a", (0,), ("a",), (1,))


BURST = AskedViolation("burst", "workload", "cv", 4.0)
FASTER = AskedViolation("rate_scale", "workload", "factor", 2.0)
CPU = AskedViolation("cpu", "sharing", "percent", 50.0)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("traces")
    workloads = {
        "nominal": compiled(folder),
        "burst": compiled(folder, TransformSpec("burst", 4.0)),
        "faster": compiled(folder, TransformSpec("rate_scale", 2.0)),
    }
    trials = [
        trial("nominal"),
        trial("shared", CPU),
        trial("bursty", BURST, workload="burst"),
        trial("faster", FASTER, CPU, workload="faster"),
    ]
    return off_nominal(trials, workloads)


def test_only_violations_of_the_workload_take_it_away_from_nominal(found: dict[str, dict[str, Any]]) -> None:
    assert {condition: set(each) for condition, each in found.items()} == {"bursty": {"burst"}, "faster": {"rate_scale"}}


def test_the_distance_is_along_what_the_violation_bends(found: dict[str, dict[str, Any]]) -> None:
    burst, faster = found["bursty"]["burst"], found["faster"]["rate_scale"]
    assert burst["dimension"] in ("gaps", "burstiness") and burst["beyond_noise"]
    assert faster["dimension"] == "rate" and faster["distance"]["wasserstein"] == pytest.approx(1 / 3, abs=0.02)
    assert burst["distance"]["wasserstein"] > 10 * burst["floor"]["wasserstein"]
    assert burst["all"]["ops"]["distance"] <= burst["all"]["ops"]["floor"]


def document(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    asked = {"bursty": BURST, "faster": FASTER}
    entries = [
        {
            "condition": name,
            "dose": [
                {"violation": v.name, "unit": v.unit, "asked": v.dose, "measured": v.dose, "off_nominal": found[name][v.name]},
                {"violation": "cpu", "unit": "percent", "asked": 50.0, "measured": 50.0},
            ],
        }
        for name, v in asked.items()
        for _ in range(3)
    ]
    scores = [
        {"variant": variant, "condition": name, "metric": "goodput", "value": value}
        for variant, value in (("one", 0.4), ("two", 0.9))
        for name in asked
    ]
    return {"workloads": workloads_off_nominal(entries), "scores": scores}


def test_the_document_has_one_line_a_condition_and_violation(found: dict[str, dict[str, Any]]) -> None:
    lines = document(found)["workloads"]
    assert [(each["condition"], each["violation"]) for each in lines] == [("bursty", "burst"), ("faster", "rate_scale")]
    assert all(each["distance"] > each["floor"] and each["words"] and each["asked"] for each in lines)


def test_what_is_kept_is_drawn_over_the_distance_for_each_variant(found: dict[str, dict[str, Any]]) -> None:
    panels = workload_panels(document(found))
    assert [panel["name"] for panel in panels] == ["burst: goodput kept", "rate_scale: goodput kept"]
    for panel in panels:
        assert "distance from nominal in" in panel["svg"]
        assert panel["svg"].count("<circle") == 4, "nominal and the condition, of two variants"


def test_without_violations_of_the_workload_nothing_is_said() -> None:
    assert workloads_off_nominal([{"condition": "shared", "dose": [{"violation": "cpu"}]}]) == []
    assert workload_panels({"workloads": [], "scores": []}) == []


def test_html_markdown_and_parquet_carry_the_distances_with_their_numbers(found: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    asked = {"bursty": (BURST, 3.98), "faster": (FASTER, 2.5)}
    records = [
        AttemptRecord(
            trial=f"t-{name}", variant="one", condition=name, repeat=1, block=1, order=0, attempt=1, violations=(violation,),
            verdict="invalid", reasons=("a fixture",), outcome="functions", failure_class="invalid", warmup_s=0, measure_s=1,
            load_agents=("a",), target_agent="a", workload_doses={violation.name: given}, off_nominal=found[name],
        )
        for name, (violation, given) in asked.items()
    ]  # fmt: skip
    made = build_document(run="r", campaign="fixture", records=records, run_dir=tmp_path, objectives=Objectives(), design=Design())
    html = write_report(tmp_path, made, records, nodes={}, versions={"offspec": "0"}).read_text()
    markdown = (tmp_path / "report.md").read_text()
    rows = {row["condition"]: row for row in pq.read_table(tmp_path / "doses.parquet").to_pylist()}
    assert "<h2>How far off nominal the workload was</h2>" in html and "## How far off nominal the workload was" in markdown
    for name, (violation, given) in asked.items():
        off = found[name][violation.name]
        far = off["distance"]["wasserstein"]
        cells = (name, violation.name, number(violation.dose), number(given, 4), violation.unit, off["dimension"], number(far))
        plain, figures = "<td>{}</td>", '<td class="n">{}</td>'
        columns = ('<td class="name">{}</td>', plain, figures, figures, plain, plain, figures)
        assert "".join(column.format(cell) for column, cell in zip(columns, cells, strict=True)) in html
        assert f"| {' | '.join((*cells[:2], f'{cells[2]} {violation.unit}', cells[3], *cells[5:]))} |" in markdown
        row = rows[name]
        assert (row["asked"], row["measured"], row["dimension"], row["distance"]) == (violation.dose, given, off["dimension"], far)
    assert [rows[name]["verdict"] for name in asked] == ["confirmed", "mismatch"]


def test_conditions_go_downwards_where_there_are_many_of_them(tmp_path: Path) -> None:
    def headed(count: int) -> str:
        names = [f"c{n}" for n in range(count)]
        trials = [
            AttemptRecord(
                trial=f"t-{name}", variant="one", condition=name, repeat=1, block=1, order=0, attempt=1, violations=(), verdict="invalid",
                reasons=("a fixture",), outcome="functions", failure_class="invalid", warmup_s=0, measure_s=1, load_agents=("a",),
            )
            for name in names
        ]  # fmt: skip
        made = build_document(run="r", campaign="f", records=trials, run_dir=tmp_path, objectives=Objectives(), design=Design())
        kept = {"variant": "one", "metric": "goodput", "value": 0.5, "low": None, "high": None, "unit": "block"}
        made["scores"] = [kept | {"condition": name} for name in names]
        return write_report(tmp_path, made, trials, nodes={}, versions={"offspec": "0"}).read_text()

    assert "<thead><tr><th>variant</th><th>c0</th><th>c1</th></tr></thead>" in headed(2)
    many = headed(5)
    assert "<thead><tr><th>condition</th><th>one</th></tr></thead>" in many
    assert all(f'<tr><th>c{n}</th><td class="h3">0.5<small>no interval</small></td></tr>' in many for n in range(5))
