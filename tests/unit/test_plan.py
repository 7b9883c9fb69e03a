"""The plan: pure, seeded, each block a permutation of all cells."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.campaign import Campaign, Violated, load_campaign
from controller.placement import NodeInfo
from controller.plan import Plan, make_plan, placed_again
from controller.where import compile_where
from traces.errors import InvalidInput, PreflightFailed

DEMO = Path(__file__).parents[2] / "controller" / "demo.yaml"
ABLE = {"cpu": {"supported": True, "max_dose": 100.0}, "membw": {"supported": True}}


def node(name: str = "a", cores: tuple[int, ...] = (0, 1), **labels: object) -> NodeInfo:
    return NodeInfo(name, {"cores": len(cores), **labels}, cores, ABLE)  # type: ignore[dict-item]


def demo(**changes: object) -> Campaign:
    return load_campaign(DEMO).model_copy(update=changes)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_every_block_holds_every_cell_once_in_an_order_of_its_own(seed: int, repeats: int) -> None:
    campaign = demo(seed=seed)
    campaign = campaign.model_copy(update={"design": campaign.design.model_copy(update={"repeats": repeats})})
    plan = make_plan(campaign, [node()])
    assert [t.order for t in plan.trials] == list(range(4 * repeats))
    for block in range(1, repeats + 1):
        cells = Counter((t.variant, t.condition) for t in plan.trials if t.block == block)
        assert len(cells) == 4
        assert set(cells.values()) == {1}
    assert len({t.id for t in plan.trials}) == len(plan.trials)
    assert make_plan(campaign, [node()]) == plan


def test_another_seed_is_another_order() -> None:
    orders = {tuple((t.variant, t.condition) for t in make_plan(demo(seed=s), [node()]).trials) for s in range(12)}
    assert len(orders) > 3


def test_a_plan_survives_json() -> None:
    plan = make_plan(demo(), [node()])
    assert Plan.from_json(plan.to_json()) == plan


def test_a_condition_that_the_node_cannot_do_is_refused_by_name_and_reason() -> None:
    unable = replace(node(), capabilities={"cpu": {"supported": False, "reason": "no writable cpu cgroup"}})
    plan = make_plan(demo(), [unable])
    assert {t.condition for t in plan.trials} == {"nominal"}
    assert [(r.violation, r.node, r.reason) for r in plan.refusals] == [("cpu", "a", "no writable cpu cgroup")]


@pytest.mark.parametrize(
    ("axis", "violation", "asked", "able", "reason"),
    [
        ("hardware", "cores", 8, {"supported": True}, "8 cores asked, the node gives at most 2"),
        ("hardware", "cores", 8, {"supported": True, "max_dose": 64.0}, "8 cores asked, the node gives at most 2"),
        ("hardware", "cpu-quota", 250, {"supported": True}, "250 percent asked, the node gives at most 200"),
        ("sharing", "cpu", 80, {"supported": True, "max_dose": 50.0}, "80 percent asked, the node gives at most 50"),
        ("sharing", "membw", 1, {"supported": False, "reason": "100 MiB of memory are free"}, "100 MiB of memory are free"),
        ("sharing", "membw", 1, {"supported": False}, "not supported"),
        ("sharing", "membw", 1, None, "the agent does not know it"),
        ("sharing", "membw", 3, {"supported": True, "calibrated": 2.5},
         "3 GB/s asked, the node gave at most 2.5 when it was calibrated with default place, threads"),
        ("sharing", "membw", {"dose": 1, "place": "sibling"}, {"supported": True},
         "place sibling: core 0 has no second hardware thread to lend (SMT is off or absent)"),
        (
            "sharing", "cpu", {"dose": 50, "weight": 1024}, {"supported": True, "fidelity": "proxy", "mechanism": "stress-ng"},
            "weight needs a writable cgroup, and the node does it by stress-ng, which has none",
        ),
    ],
)  # fmt: skip
def test_an_impossible_condition_is_refused_with_node_and_reason(
    axis: str, violation: str, asked: object, able: dict[str, object] | None, reason: str
) -> None:
    campaign = demo(conditions={"off": Violated.model_validate({axis: {violation: asked}})})
    plan = make_plan(campaign, [replace(node(), capabilities={violation: able} if able is not None else {})])
    assert [(r.condition, r.violation, r.node, r.reason) for r in plan.refusals] == [("off", violation, "a", reason)]
    assert {t.condition for t in plan.trials} == {"nominal"}


def test_what_was_calibrated_for_the_defaults_does_not_bind_other_options() -> None:
    campaign = demo(conditions={"off": Violated.model_validate({"sharing": {"membw": {"dose": 3, "threads": 4}}})})
    able = replace(node(), capabilities={"membw": {"supported": True, "calibrated": 2.5}})
    plan = make_plan(campaign, [able])
    assert not plan.refusals
    (said,) = [warning for warning in plan.warnings if warning.startswith("off: membw: ")]
    assert "3 GB/s asked with threads 4; the node gave at most 2.5 when it was calibrated with default place, threads" in said


def test_a_place_that_the_node_does_not_have_is_refused() -> None:
    campaign = demo(conditions={"off": Violated.model_validate({"sharing": {"membw": {"dose": 1, "place": "other-core"}}})})
    target = campaign.nodes.target.model_copy(update={"cores": (0, 1)})
    load = campaign.nodes.load.model_copy(update={"cores": (0,)})
    full = campaign.model_copy(update={"nodes": campaign.nodes.model_copy(update={"target": target, "load": load})})
    plan = make_plan(full, [node("a"), node("b")])
    assert [r.reason for r in plan.refusals] == [
        "place other-core: the system has every core of the node (0, 1); use same-core or anywhere"
    ]
    assert not make_plan(campaign, [node("a"), node("b")]).refusals


def test_a_resumed_run_whose_node_can_no_longer_do_a_condition_says_so() -> None:
    plan = make_plan(demo(), [node()])
    unable = replace(node("b"), capabilities={"cpu": {"supported": False, "reason": "no writable cpu cgroup"}})
    with pytest.raises(PreflightFailed, match="same-core-neighbour: cpu on b: no writable cpu cgroup; it could when this run was planned"):
        placed_again(plan, demo(), [unable], [t.id for t in plan.trials])
    left = [t.id for t in plan.trials if t.condition == "nominal"]
    again = placed_again(plan, demo(), [unable], left)  # none of its trials is left to run
    assert {t.target_agent for t in again.trials} == {"b"}


def test_a_resumed_run_says_what_changed_on_its_node() -> None:
    plan = make_plan(demo(), [node(kernel="6.1")])
    everything = [t.id for t in plan.trials]
    same = placed_again(Plan.from_json(plan.to_json()), demo(), [node("b", kernel="6.1")], everything)
    assert same.warnings == make_plan(demo(), [node("b")]).warnings
    other = replace(node("b", kernel="6.8"), capabilities={"cpu": {"supported": True, "max_dose": 90.0}})
    said = placed_again(plan, demo(), [other], everything).warnings
    assert "changed since this run was planned: kernel was 6.1, is 6.8" in said
    assert "changed since this run was planned: cpu: max_dose was 100.0, is 90.0" in said


def test_a_condition_that_has_become_possible_stays_left_out_and_is_named() -> None:
    unable = replace(node(), capabilities={"cpu": {"supported": False, "reason": "no"}})
    plan = make_plan(demo(), [unable])
    again = placed_again(plan, demo(), [node()], [t.id for t in plan.trials])
    assert again.refusals == plan.refusals
    assert any("same-core-neighbour was refused when this run was planned" in w for w in again.warnings)


def test_load_and_target_on_the_same_core_of_many_is_refused() -> None:
    campaign = demo()
    nodes = campaign.nodes.model_copy(update={"load": campaign.nodes.load.model_copy(update={"cores": (0,)})})
    with pytest.raises(PreflightFailed, match="share core 0 of a"):
        make_plan(campaign.model_copy(update={"nodes": nodes}), [node()])


def test_a_core_that_no_node_has_is_one_line() -> None:
    with pytest.raises(PreflightFailed, match=r"nodes\.load\.cores: core 1 does not exist on a"):
        make_plan(demo(), [node(cores=(0,))])


def test_load_goes_on_a_node_of_its_own_where_there_is_one() -> None:
    plan = make_plan(demo(), [node("a"), node("b")])
    assert plan.trials[0].target_agent == "a"
    assert plan.trials[0].load_agents == ("b",)


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ("cpu_model =~ 'EPYC'", {"cpu_model": "AMD EPYC 7763"}, True),
        ("cores >= 8 and not virtual == true", {"cores": 16, "virtual": "false"}, True),
        ("site in ['a', \"b\"] or cores < 2", {"site": "c", "cores": 4}, False),
        ("(cores == 2)", {"cores": 2}, True),
        ("missing == 1", {}, False),
        ("missing != 1", {}, False),
    ],
)
def test_where_selects_by_labels(text: str, labels: dict[str, object], expected: bool) -> None:
    assert compile_where(text)(labels) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["cores >=", "cores ~ 2", "(cores == 2", "cores == 2 2", "cores < 'a'", "x =~ '['", ""])
def test_a_wrong_where_says_the_column(text: str) -> None:
    with pytest.raises(InvalidInput, match="where: "):
        compile_where(text)


def test_a_quarantined_node_is_left_out_and_said_so_and_without_another_there_is_no_plan() -> None:
    dirty = replace(node("a"), quarantine="after t001.1 this was left behind: x; run `offspec undo --all` there")
    with pytest.raises(PreflightFailed, match=r"all are quarantined: a: after t001.1 this was left behind"):
        make_plan(demo(), [dirty])
    plan = make_plan(demo(), [dirty, node("b")])
    assert {t.target_agent for t in plan.trials} == {"b"}
    assert any(w.startswith("quarantined and left out: a: after t001.1") for w in plan.warnings)
