"""The plan: pure, seeded, each block a permutation of all cells."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.campaign import Campaign, load_campaign
from controller.plan import NodeInfo, Plan, make_plan
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
