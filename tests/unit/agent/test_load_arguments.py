"""Unit tests for agent.load_arguments: a signal at any instant of a replay stops it, and is told to whoever started it."""

import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from agent.load_arguments import run_until_interrupted

GIVEN_UP_AFTER_S = 20.0


class Ended(KeyboardInterrupt):
    """What a command makes of SIGTERM."""


class UntilStopped:
    """A replay that never ends by itself; it is told to end as soon as it starts, while its starter is still starting it."""

    def __init__(self, number: signal.Signals | None = None) -> None:
        self._number = number
        self._stop = threading.Event()
        self.stopped = False

    def run(self, rows: Any, t0_ns: int) -> None:
        if self._number is not None:
            os.kill(os.getpid(), self._number)
        self.stopped = self._stop.wait(GIVEN_UP_AFTER_S)

    def stop(self) -> None:
        self._stop.set()


class Broken(UntilStopped):
    def run(self, rows: Any, t0_ns: int) -> None:
        raise RuntimeError("the engine is out of order")


@pytest.fixture
def ends_by_exception() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        raise Ended

    before = [(number, signal.signal(number, end)) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    for number, handler in before:
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_first_instant_stops_the_replay(number: signal.Signals, ends_by_exception: None) -> None:
    for _ in range(100):
        replay = UntilStopped(number)
        assert isinstance(run_until_interrupted(replay, None), Ended)
        assert replay.stopped


def test_the_handlers_are_as_they_were_afterwards(ends_by_exception: None) -> None:
    before = signal.getsignal(signal.SIGTERM)
    run_until_interrupted(UntilStopped(signal.SIGTERM), None)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_that_is_ignored_stays_ignored(ends_by_exception: None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    replay = UntilStopped(signal.SIGINT)
    threading.Timer(0.05, replay.stop).start()
    assert run_until_interrupted(replay, None) is None


def test_a_replay_that_breaks_is_not_taken_for_whole(ends_by_exception: None) -> None:
    with pytest.raises(RuntimeError, match="out of order"):
        run_until_interrupted(Broken(), None)
