import pytest

from traces.errors import InvalidInput
from traces.quantities import parse_duration, parse_quantity, parse_rate, parse_size


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("10s", 10**10),
        ("500ms", 5 * 10**8),
        ("2m", 12 * 10**10),
        ("1.5 s", 15 * 10**8),
        ("7ns", 7),
        ("1h", 36 * 10**11),
    ],
)
def test_durations_become_nanoseconds(text: str, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize("text", ["10", "10 parsecs", "-1s", "s", "", "1s2"])
def test_a_duration_without_a_unit_of_time_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidInput) as error:
        parse_duration(text, "campaign.yaml:3: phases.warmup")
    assert str(error.value).startswith("campaign.yaml:3: phases.warmup: ") and "\n" not in str(error.value)


@pytest.mark.parametrize(("text", "size"), [("64KiB", 65_536), ("64", 64), ("1MB", 10**6), ("0.5 GiB", 2**29)])
def test_sizes_become_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["2ms", "-1", "64 Kb", "many"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        parse_size(text)


@pytest.mark.parametrize(("text", "rate"), [("20000/s", 20_000), ("12k/s", 12_000), ("90/min", 1.5), ("0.5 /s", 0.5)])
def test_rates_are_per_second(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["20000", "0/s", "-3/s", "5/fortnight", "12q/s"])
def test_a_rate_that_does_not_say_per_what_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        parse_rate(text)


def test_quantities_keep_their_unit() -> None:
    assert parse_quantity("50%") == (50.0, "percent")
    assert parse_quantity("1 GB/s") == (1.0, "GB/s")
    assert parse_quantity(2) == (2.0, "")
