"""Unit tests for agent.objectives: no figure, and no answer, is a pass."""

from typing import Any

import pytest

from agent.objectives import missed, parse_objective


def summary(scheduled: int, completed: int, p99: float | None = 400.0) -> dict[str, Any]:
    times = {"p50": 100.0, "p99": p99, "p99_9": 900.0}
    return {"scheduled": scheduled, "completed": completed, "response_us": times, "service_us": times, "slip_us": times}


@pytest.mark.parametrize("text", ["response_p99 < 2ms", "service_p99 <= 2ms"])
def test_a_server_that_fails_most_requests_holds_no_bound_on_times(text: str) -> None:
    bound = [parse_objective(text)]
    assert missed(summary(1000, 1000), bound) == []
    assert missed(summary(1000, 990), bound) == []
    (miss,) = missed(summary(1000, 60), bound)
    assert "94 % of what was due was not answered" in miss


def test_a_median_holds_while_most_are_answered_and_slip_is_of_all_that_left() -> None:
    few = summary(1000, 600)
    assert missed(few, [parse_objective("response_p50 < 2ms"), parse_objective("slip_p99 < 2ms")]) == []
    assert len(missed(summary(1000, 400), [parse_objective("response_p50 < 2ms")])) == 1


def test_no_figure_is_a_miss() -> None:
    assert len(missed(summary(10, 10, None), [parse_objective("response_p99 < 2ms")])) == 1
