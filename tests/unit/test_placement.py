"""The node as a condition: the same system on another machine, chosen, refused by reason, told in plan and report."""

from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from controller.analysis.findings import findings
from controller.analysis.retention import retentions
from controller.campaign import Campaign, Violated, load_campaign
from controller.placement import NodeInfo
from controller.plan import Plan, make_plan, placed_again
from controller.plan_text import plan_text
from controller.report.files import ran_on
from controller.schema import campaign_schema
from tests.unit.test_analysis import entry
from traces.document import load_document
from traces.errors import InvalidInput, PreflightFailed

DEMO = Path(__file__).parents[2] / "controller" / "demo.yaml"
ABLE = {"cpu": {"supported": True, "max_dose": 100.0}}


def node(name: str, model: str, cores: tuple[int, ...] = (0, 1), **labels: object) -> NodeInfo:
    known = {"cores": len(cores), "cpu_model": model, "machine_id": f"m-{name}", **labels}
    return NodeInfo(name, known, cores, ABLE)  # type: ignore[arg-type]


def campaign(where: str = "cpu_model == 'new'", load: int = 1, **more: object) -> Campaign:
    made = load_campaign(DEMO)
    nodes = made.nodes.model_copy(update={"load": made.nodes.load.model_copy(update={"count": load})})
    conditions = {"moved": Violated.model_validate({"hardware": {"nodes": {"where": where}, **more}})}
    return made.model_copy(update={"conditions": conditions, "nodes": nodes})


def where_of(plan: Plan, condition: str) -> set[tuple[str, tuple[str, ...]]]:
    return {(t.target_agent, t.load_agents) for t in plan.trials if t.condition == condition}


A, B, C = node("a", "old"), node("b", "new"), node("c", "old")


def test_the_condition_runs_on_the_other_machine_and_the_load_stays_where_it_is() -> None:
    plan = make_plan(campaign(), [A, B, C])
    assert where_of(plan, "nominal") == {("a", ("c",))}
    assert where_of(plan, "moved") == {("b", ("c",))}
    assert not plan.refusals and not plan.warnings
    assert Plan.from_json(plan.to_json()) == plan
    assert "cpu_model == 'new'" in plan_text(plan)


def test_what_differs_beside_the_machine_is_said() -> None:
    swapped = make_plan(campaign(), [A, B])
    assert (where_of(swapped, "nominal"), where_of(swapped, "moved")) == ({("a", ("b",))}, {("b", ("a",))})
    assert swapped.warnings == ("moved: load comes from a, nominal's from b",)
    crowded = make_plan(campaign().model_copy(update={"nodes": nodes_with_load("cpu_model == 'old'")}), [A, B])
    assert where_of(crowded, "moved") == {("b", ("a",))}
    assert any("moved: load comes over the network, nominal's on the target's own node" in w for w in crowded.warnings)


def nodes_with_load(where: str) -> object:
    nodes = load_campaign(DEMO).nodes
    return nodes.model_copy(update={"load": nodes.load.model_copy(update={"where": where})})


@pytest.mark.parametrize(
    ("where", "nodes", "node_named", "reason"),
    [
        ("cpu_model == 'none'", [A, B], "a, b", "no node matches \"cpu_model == 'none'\"; there are a: cores=2, cpu_model=old"),
        ("cpu_model == 'old'", [A, B], "a, b", "matches a alone, on the machine that nominal trials run on (a): nothing would differ"),
        ("cpu_model == 'new'", [A, replace(B, labels={**B.labels, "machine_id": "m-a"})], "a, b", "on the machine that nominal trials run"),
        ("cpu_model == 'new'", [A, replace(B, cores=(1,))], "a, b", "nodes.target.cores: b has no core 0; its cores are 1"),
        ("cpu_model == 'new'", [A, replace(B, quarantine="dirty")], "a", "(quarantined and left out: b: dirty)"),
    ],
)
def test_where_no_other_machine_can_take_it_the_condition_is_refused_by_reason(
    where: str, nodes: list[NodeInfo], node_named: str, reason: str
) -> None:
    plan = make_plan(campaign(where), nodes)
    (refusal,) = plan.refusals
    assert (refusal.condition, refusal.violation, refusal.node) == ("moved", "nodes", node_named) and reason in refusal.reason
    assert {t.condition for t in plan.trials} == {"nominal"}


def test_what_else_the_condition_asks_must_be_done_by_the_other_node() -> None:
    asked = campaign(cores=1)
    able = replace(node("d", "new"), capabilities={"cores": {"supported": True}})
    assert where_of(make_plan(asked, [A, B, able]), "moved") == {("d", ("b",))}, "of two that match, the one that can"
    (refusal,) = make_plan(asked, [A, B]).refusals
    assert (refusal.violation, refusal.node, refusal.reason) == ("cores", "b", "the agent does not know it")


def test_a_resumed_run_takes_the_same_machines_under_whatever_names() -> None:
    twin = node("x", "new")
    plan = make_plan(campaign(), [A, B, C, twin])
    assert where_of(plan, "moved") == {("b", ("c",))}
    renamed = [replace(each, name=f"{each.name}2") for each in (twin, C, B, A)]
    again = placed_again(Plan.from_json(plan.to_json()), campaign(), renamed, [t.id for t in plan.trials])
    assert (where_of(again, "nominal"), where_of(again, "moved")) == ({("a2", ("x2",))}, {("b2", ("x2",))})
    assert not any("changed" in w for w in again.warnings)
    with pytest.raises(PreflightFailed, match="moved: nodes on a, c: no node matches"):
        placed_again(plan, campaign(), [A, C], [t.id for t in plan.trials])
    left = [t.id for t in plan.trials if t.condition == "nominal"]
    assert where_of(placed_again(plan, campaign(), [A, C], left), "nominal") == {("a", ("c",))}


def test_a_machine_that_changed_meanwhile_is_told_with_its_condition() -> None:
    plan = make_plan(campaign(), [A, B, C])
    newer = replace(B, labels={**B.labels, "kernel": "6.8"})
    said = placed_again(plan, campaign(), [A, newer, C], [t.id for t in plan.trials]).warnings
    assert said == ("changed since this run was planned: moved: kernel was None, is 6.8",)


@pytest.mark.parametrize(
    ("line", "at", "words"),
    [
        ('moved: {hardware: {nodes: {where: "cores >"}}}', 8, "conditions.moved.hardware.nodes.where: column 8: '' is no value"),
        ("moved: {hardware: {nodes: {cores: 4}}}", 8, "conditions.moved.hardware.nodes.cores: unknown key"),
        ("moved: {hardware: {nodes: {}}}", 8, "where is missing; give an expression over labels"),
        ("moved: {sharing: {nodes: {where: cores == 2}}}", 8, "is a violation of axis hardware, not sharing"),
        ('moved: {hardware: {cores: 1}}\nnodes: {target: {where: "cores ~ 2"}}', 9, "nodes.target.where: "),
    ],
)
def test_a_wrong_choice_of_nodes_is_one_line_with_its_place(line: str, at: int, words: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    head = (
        "campaign: small\nsystems:\n  redis:\n    driver: redis\n    variants: {one: {command: [redis-server]}}\n    ready: {ping: 10s}\n"
    )
    path.write_text(f'{head}conditions:\n  {line}\nworkload: {{trace: "poisson:1000", rate: 2000/s}}\n')
    with pytest.raises(InvalidInput) as raised:
        load_campaign(path)
    assert f"c.yaml:{at}: " in str(raised.value) and words in str(raised.value)


def test_an_editor_takes_it_and_underlines_what_is_not_an_expression(tmp_path: Path) -> None:
    schema = jsonschema.Draft202012Validator(campaign_schema())
    data = load_document(DEMO).data
    assert schema.is_valid(data | {"conditions": {"moved": {"hardware": {"nodes": {"where": "cores >= 8"}}}}})
    assert not schema.is_valid(data | {"conditions": {"moved": {"hardware": {"nodes": {"where": 8}}}}})
    assert not schema.is_valid(data | {"conditions": {"moved": {"hardware": {"nodes": None}}}})


def test_the_report_says_which_machine_each_condition_ran_on() -> None:
    entries = [
        {"condition": "nominal", "target_agent": "a", "load_agents": ["c"]},
        {"condition": "moved", "target_agent": "b", "load_agents": ["c"]},
        {"condition": "moved", "target_agent": "b", "load_agents": ["c"]},
    ]
    rows = ran_on(entries, {"b": {"labels": {"cpu_model": "new", "cores": 8, "mem_gib": 3.5, "kernel": "6.1"}}})
    assert rows == [
        {"condition": "nominal", "node": "a", "machine": "", "load": "c"},
        {"condition": "moved", "node": "b", "machine": "new, 8 cores, 3.5 GiB, 6.1", "load": "c"},
    ]


def test_findings_do_not_take_two_machines_for_one() -> None:
    home = [entry("v", "nominal", 1, 10.0, target_agent="a"), entry("v", "slow", 1, 20.0, target_agent="a")]
    assert findings(home, retentions(home))[-1].startswith("Holds for this machine and this day")
    said = findings([*home, entry("v", "moved", 1, 20.0, target_agent="b")], [])[-1]
    assert said.startswith("Holds for a (nominal) and b on this day.")
