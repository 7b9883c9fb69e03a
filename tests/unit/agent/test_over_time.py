"""The mean of a setting over the time between two looks."""

from agent.over_time import OverTime


def test_each_value_counts_as_long_as_it_was_in_force_and_each_look_begins_anew() -> None:
    now_ns = [1000]
    held = OverTime(2.0, lambda: now_ns[0])
    assert held.look() == 2.0
    now_ns[0] = 1300
    held.set(6.0)
    now_ns[0] = 1400
    assert held.look() == 3.0
    now_ns[0] = 1500
    assert held.look() == 6.0
