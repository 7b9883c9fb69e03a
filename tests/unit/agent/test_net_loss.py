"""A loss is judged as what it is, a draw: what accords with the dose is the dose, what does not is what was counted."""

from typing import Any

import numpy as np
import pytest

from agent.violations.net_loss import Counts, Lossy, accords


@pytest.mark.parametrize("share", [0.0005, 0.01, 0.2, 1.0])
@pytest.mark.parametrize("of", [50, 1000, 40_000])
def test_what_a_share_gives_accords_with_it(share: float, of: int) -> None:
    drawn = np.random.default_rng(7).binomial(of, share, 3000)
    assert np.mean([accords(int(lost), (of, share)) for lost in drawn]) > 0.995


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_twice_the_share_or_none_at_all_does_not(share: float) -> None:
    of = 20_000
    assert not accords(round(2 * share * of), (of, share)) and not accords(0, (of, share))
    assert accords(0, (0, share)), "nothing was sent, so nothing speaks against it"


class Path:
    """The boundary: counts of a link, as a process of it would tell them."""

    def __init__(self, *seconds: dict[str, Any]) -> None:
        self._seconds = [second(0, 0, 0), *seconds]
        self.shaped: list[dict[str, object]] = []

    def shape(self, **settings: object) -> None:
        self.shaped.append(settings)

    def offload(self, on: bool) -> None:
        assert not on

    def count(self) -> list[dict[str, Any]]:
        return [self._seconds.pop(0), second(0, 0, 0)]


class Detour:
    port, own_ns = 7, 50_000

    class cost:
        look = staticmethod(lambda: 3.0)

    def __init__(self, path: Path) -> None:
        self.path = path

    def end_trips(self) -> None:
        pass


def second(of: int, lost: int, dropped: int) -> dict[str, Any]:
    return {"arriving": (of, lost), "leaving": (0, 0), "sent_again": lost, "clsact": {"dropped": [dropped, dropped]}}


@pytest.mark.parametrize(
    ("of", "lost", "dropped", "given"),
    [(10_000, 108, 108, 1.0), (10_000, 300, 300, 3.0), (10_000, 0, 0, 0.0), (0, 0, 0, 1.0), (10_000, 100, 20, None)],
)
def test_a_second_is_the_dose_the_count_or_unreadable(of: int, lost: int, dropped: int, given: float | None) -> None:
    path = Path(second(of, lost, dropped))
    applied = Lossy(Detour(path), "cls_bpf", 1.0)  # type: ignore[arg-type]
    assert path.shaped == [{"lost": 0.01, "by": "cls_bpf"}]
    reading = applied.measure()
    assert reading.given == (None if given is None else pytest.approx(given))
    assert reading.remark is not None and f"{lost} of {of} packets lost" in reading.remark


def test_a_second_in_which_the_dose_changed_is_judged_by_what_was_due_in_each_part() -> None:
    path = Path(second(10_000, 100, 100), second(20_000, 1_100, 1_100), second(30_000, 2_100, 2_100), second(40_000, 2_500, 2_500))
    applied = Lossy(Detour(path), "cls_bpf", 1.0)  # type: ignore[arg-type]
    applied.set(10.0)
    reading = applied.measure()
    assert reading.given is not None and 1.0 < reading.given < 10.0 and reading.remark is not None
    assert reading.remark.startswith("1100 of 20000 packets lost"), "the whole second's, 1 percent of its first half and 10 of the other"
    applied.set(0.5)
    assert applied.measure().given == pytest.approx(7.0), "1400 where 1000 and 50 were due: what was counted"


def test_netem_is_counted_from_what_set_out_because_it_drops_before_the_link() -> None:
    ends = [{"arriving": (40, 0), "leaving": (100, 9), "sent_again": 2, "netem": {"dropped": [9, 9]}}]
    ends += [{"arriving": (91, 0), "leaving": (41, 1), "sent_again": 1, "netem": {"dropped": [1, 1]}}]
    found = Counts("netem", ends)
    assert (found.set_out, found.lost, found.dropped, found.sent_again) == (141, 10, 10, 3)
