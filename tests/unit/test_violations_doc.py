"""The page of violations is what the code says, and the code says enough."""

import pytest

from agent.violations_doc import PAGE, page
from protos.violations import CATALOGUE


def test_the_page_of_violations_is_fresh() -> None:
    assert PAGE.read_text() == page(), "stale: run python -m agent.violations_doc"


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_violation_says_how_it_is_done_measured_and_what_to_mind(name: str) -> None:
    spec = CATALOGUE[name]
    assert spec.mechanisms and spec.measured_by, "fill mechanisms and measured_by in protos/violations.py"
    assert spec.axis == "workload" or spec.hazards, "fill hazards in protos/violations.py"
    assert spec.undo != "D", "what needs a reboot is refused, never in the catalogue"
    assert spec.longest_s > 0
