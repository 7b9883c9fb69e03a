"""What the benchmark of the engine makes of its runs; it runs no engine and no peer."""

import pytest

from tests.bench.engine import search, table
from tests.bench.engine.contestant import Failed, Measured, number
from tests.bench.engine.peers.wrk2 import quantile_ms
from tests.bench.engine.race import MAXIMUM, Lane


def lane(name: str, *rounds: float | str) -> Lane:
    return Lane(name, "closed", MAXIMUM, "1", None, [each if isinstance(each, str) else Measured(each, 1000, 0.001) for each in rounds])


@pytest.fixture(autouse=True)
def unpaused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PAUSE_S", 0.0)


@pytest.mark.parametrize("limit", [6_000.0, 10_000.0, 123_456.0, 900_000.0])
def test_search_ends_within_a_few_percent_below_the_limit(limit: float) -> None:
    found = search.highest(lambda rate: rate if rate <= limit else None, start=10_000, ceiling=1e7)
    assert found is not None
    assert limit * 0.97 <= found[0] <= limit
    assert found[0] == found[1]


def test_search_says_when_nothing_holds_and_stops_at_the_ceiling() -> None:
    assert search.highest(lambda rate: None, start=10_000, ceiling=1e7) is None
    assert search.highest(lambda rate: rate, start=10_000, ceiling=100_000) == (80_000, 80_000)


def test_search_survives_a_disturbance_that_outlasts_the_repetitions() -> None:
    asked = 0

    def holds(rate: float) -> float | None:
        nonlocal asked
        asked += 1
        return rate if rate <= 100_000 and not 2 <= asked <= 5 else None

    found = search.highest(holds, start=10_000, ceiling=1e7)
    assert found is not None and found[0] > 97_000


def test_ratios_are_formed_within_a_round_and_a_round_without_both_has_none() -> None:
    ratio = table.ratio(lane("ours", 10.0, 100.0, "failed"), lane("theirs", 5.0, 25.0, 1.0), table.rate)
    assert ratio is not None
    assert ratio["values"] == [2.0, 4.0] and ratio["median"] == 3.0


def test_spread_and_quartiles() -> None:
    assert table.summary([1.0, 2.0, 3.0, 4.0, 5.0]) == {
        "median": 3.0, "quartiles": [2.0, 4.0], "spread": 4 / 3, "values": [1.0, 2.0, 3.0, 4.0, 5.0],
    }  # fmt: skip
    assert table.summary([]) is None


def test_cpu_time_is_per_million_requests() -> None:
    assert Measured(1.0, 500_000, 2.0).cpu_s_per_million == 4.0
    assert Measured(1.0, 0, 2.0).cpu_s_per_million is None


@pytest.mark.parametrize(("line", "expected"), [(" 99.000%  758.00us", 0.758), (" 99.000%    1.89ms", 1.89), (" 99.000%    2.50s ", 2500)])
def test_latency_of_wrk2_is_read_in_milliseconds(line: str, expected: float) -> None:
    assert quantile_ms(f" 50.000%  1.00us\n{line}\n", "99.000") == pytest.approx(expected)


def test_a_figure_that_is_not_printed_is_a_failure_in_words() -> None:
    with pytest.raises(Failed, match="printed no"):
        number("nothing of use", r"Requests/sec:\s+([\d.]+)")
