"""The sequential stop: whole blocks only, not before the first that count, and intervals that hold at whichever block was the last."""

import asyncio
import io
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.analysis.findings import stopping
from controller.analysis.retention import log_interval
from controller.analysis.sequential import Look, due, look, looks_of
from controller.analysis.student import critical, two_sided
from controller.attempts import AttemptRecord
from controller.campaign import Campaign, Design, Until, load_campaign
from controller.journal import Journal
from controller.plan import Plan, Trial, make_plan
from controller.progress import Progress
from controller.runner import Runner
from tests.unit.test_analysis import entry

DEMO = Path(__file__).parents[2] / "controller" / "demo.yaml"
DESIGN = Design.model_validate({"repeats": 3, "max_repeats": 8, "until": {"half_width": "10%", "metric": "response_p50"}})
CELLS = {("v", "bad")}


def blocks(ratios: Sequence[float], **more: Any) -> list[dict[str, Any]]:
    nominal = [entry("v", "nominal", b, 10.0) for b in range(1, len(ratios) + 1)]
    return nominal + [entry("v", "bad", b, 10.0 / r if r else 0.0, **more) for b, r in enumerate(ratios, 1)]


@pytest.mark.parametrize(
    ("freedom", "confidence", "expected"),
    [(1, 0.95, 12.7062), (2, 0.95, 4.3027), (3, 0.95, 3.1824), (4, 0.99, 4.6041), (5, 0.95, 2.5706), (10, 0.95, 2.2281),
     (15, 0.95, 2.1314), (30, 0.99, 2.7500), (120, 0.95, 1.9799), (999, 0.95, 1.9623)],
)  # fmt: skip
def test_students_quantiles_are_those_of_the_tables(freedom: int, confidence: float, expected: float) -> None:
    assert critical(confidence, freedom) == pytest.approx(expected, abs=6e-5)
    assert two_sided(critical(confidence, freedom), freedom) == pytest.approx(confidence)


def test_it_looks_after_whole_blocks_from_the_least_on_and_never_after_the_last() -> None:
    assert [b for b in range(1, 10) if due(DESIGN, b)] == [3, 4, 5, 6, 7]
    assert looks_of(DESIGN) == 6
    assert not any(due(Design(), b) for b in range(1, 10))
    assert looks_of(Design()) == 1


def test_narrow_intervals_stop_and_wide_ones_go_on() -> None:
    assert look(blocks([0.5, 0.5001, 0.4999]), CELLS, DESIGN, 3).stop
    wide = look(blocks([0.3, 0.5, 0.8]), CELLS, DESIGN, 3)
    assert (wide.stop, wide.where) == (False, "v under bad")
    assert wide.widest is not None and wide.widest > 0.1


def test_what_came_after_the_block_is_not_looked_at() -> None:
    entries = blocks([0.5, 0.5001, 0.4999, 0.1])
    assert look(entries, CELLS, DESIGN, 3) == look(blocks([0.5, 0.5001, 0.4999]), CELLS, DESIGN, 3)
    assert not look(entries, CELLS, DESIGN, 4).stop


def test_a_condition_without_an_interval_holds_the_stop_back() -> None:
    entries = blocks([0.5, 0.5001, 0.4999])
    assert not look(entries, CELLS | {("v", "never-measured")}, DESIGN, 3).stop
    entries[-1]["verdict"] = "invalid"  # two blocks are left of three
    assert not look(entries, CELLS, DESIGN, 3).stop
    assert not look(blocks([0.5, 0.0, 0.5]), CELLS, DESIGN, 3).stop
    assert not look(entries, set(), DESIGN, 3).stop


def test_a_system_that_fails_in_every_block_is_known_enough() -> None:
    assert look(blocks([0.0, 0.0, 0.0], outcome="fails"), CELLS, DESIGN, 3).stop


@pytest.mark.parametrize(("spread", "half_width"), [(0.05, "5%"), (0.2, "15%"), (0.2, "30%")])
def test_intervals_cover_at_whichever_block_the_run_ended(spread: float, half_width: str) -> None:
    design = Design.model_validate({"repeats": 3, "max_repeats": 20, "until": {"half_width": half_width}})
    assert design.until is not None
    rng = np.random.default_rng(5)
    truth, covered, stops, campaigns = 0.4, 0, [], 400
    for _ in range(campaigns):
        ratios = list(np.exp(np.log(truth) + rng.normal(0, spread, design.blocks)))
        for block in range(design.repeats, design.blocks + 1):
            _, low, high = log_interval(ratios[:block], looks_of(design))
            assert low is not None and high is not None
            if math.sqrt(high / low) - 1 <= design.until.half_width:
                break
        stops.append(block)
        covered += low <= truth <= high
    assert covered / campaigns >= 0.95
    assert design.repeats <= np.mean(stops) <= design.blocks


def test_the_finding_says_when_and_what_the_intervals_are_worth() -> None:
    (said,) = stopping(DESIGN, [Look(4, "response_p50", 0.08, "v under bad", True).to_json()])
    assert said.startswith("Ended after block 4 of at most 8: median response is known within 0.1 of its value")
    assert "6 looks" in said
    assert stopping(Design(), []) == []


class Scripted(Runner):
    """Attempts that measure nothing, and figures that come from a list: what is left is the order of things."""

    def prepare(self, ratios: Sequence[float]) -> "Scripted":
        self.ratios, self.looked, self.ran = ratios, [], []  # type: ignore[var-annotated]
        return self

    async def _attempt(self, trial: Trial) -> AttemptRecord:
        number, _ = self._journal.begin_attempt(trial.id)
        self.ran.append(trial.block)
        record = AttemptRecord(
            trial=trial.id, variant=trial.variant, condition=trial.condition, repeat=trial.repeat, block=trial.block, order=trial.order,
            attempt=number, violations=(), verdict="valid", reasons=(), outcome="functions", failure_class=None, warmup_s=1, measure_s=2,
            load_agents=("a",),
        )  # fmt: skip
        self._journal.end_attempt(record)
        return record

    def _seen(self, records: Sequence[AttemptRecord], cells: Collection[tuple[str, str]], block: int) -> Look:
        self.looked.append(block)
        return look(blocks(self.ratios[:block]), CELLS, self._campaign.design, block)


def campaign_and_plan() -> tuple[Campaign, Plan]:
    demo = load_campaign(DEMO)
    phases = demo.phases.model_copy(update={"cooldown": 0})
    campaign = demo.model_copy(update={"design": DESIGN, "phases": phases})
    return campaign, make_plan(campaign, None)


def runner(journal: Journal, ratios: Sequence[float]) -> Scripted:
    campaign, plan = campaign_and_plan()
    progress = Progress(len(plan.trials), 0, 1.0, stream=io.StringIO())
    made = Scripted(
        campaign=campaign, plan=plan, folder=None, journal=journal, link=None, workloads={}, off_nominal={}, progress=progress
    )  # type: ignore[arg-type]  # fmt: skip
    return made.prepare(ratios)


def test_the_plan_holds_the_most_blocks_and_says_that_fewer_may_do() -> None:
    _, plan = campaign_and_plan()
    assert max(t.block for t in plan.trials) == 8
    assert "ends after block 3 or later, once every interval of response_p50 is within 0.1 of its value; 8 blocks at most" in plan.warnings


def test_a_run_ends_after_the_block_that_made_enough_known(tmp_path: Path) -> None:
    _, plan = campaign_and_plan()
    with Journal.create(tmp_path / "journal.db", plan) as journal:
        run = runner(journal, [0.3, 0.5, 0.8, 0.5, 0.5, 0.5, 0.5, 0.5])
        asyncio.run(run.run())
        assert run.looked == [3, 4, 5, 6, 7]  # too uneven to end: and after the last block there is nothing to decide
        assert (max(run.ran), journal.planned()) == (8, len(plan.trials))
    with Journal.create(tmp_path / "second.db", plan) as journal:
        run = runner(journal, [0.5, 0.52, 0.51, 0.5, 0.51, 0.5, 0.51, 0.5])
        asyncio.run(run.run())
        last = run.looked[-1]
        assert 3 < last < 8
        assert run.ran == sorted([*range(1, last + 1)] * 4)
        assert journal.looks()[-1] | {"widest": 0, "where": ""} == Look(last, "response_p50", 0, "", True).to_json()
        assert (journal.unfinished(), journal.quarantined(), journal.planned()) == ([], [], 4 * last)


def test_a_restarted_run_looks_once_at_each_block_and_at_the_one_it_died_after(tmp_path: Path) -> None:
    _, plan = campaign_and_plan()
    ratios = [0.3, 0.5, 0.8, 0.5, 0.5, 0.5, 0.5, 0.5]
    with Journal.create(tmp_path / "journal.db", plan) as journal:
        run = runner(journal, ratios)
        for trial in plan.trials[: 4 * 4]:
            asyncio.run(run._attempt(trial))
            if trial.order == 11:
                asyncio.run(run._enough(trial))
        assert run.looked == [3]  # it died between the end of block 4 and the look
    with Journal.open(tmp_path / "journal.db") as journal:
        run = runner(journal, ratios)
        asyncio.run(run.run())
        assert run.looked == [4, 5, 6, 7]
        assert min(run.ran) == 5


def test_until_is_part_of_what_a_campaign_is() -> None:
    assert DESIGN.until == Until.model_validate({"half_width": "10%", "metric": "response_p50"})
    assert campaign_and_plan()[0].spec_hash != load_campaign(DEMO).spec_hash
