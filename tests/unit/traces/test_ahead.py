import threading
from collections.abc import Iterator

import pytest

from traces.ahead import ahead


def alive() -> int:
    return sum(thread.name == "read-ahead" for thread in threading.enumerate())


def test_items_come_in_order_and_the_thread_ends() -> None:
    assert list(ahead(range(1000), depth=2)) == list(range(1000))
    assert alive() == 0


def test_an_error_comes_in_its_place() -> None:
    def broken() -> Iterator[int]:
        yield from (1, 2)
        raise ValueError("cut short")

    seen = []
    with pytest.raises(ValueError, match="cut short"):
        for item in ahead(broken()):
            seen.append(item)
    assert seen == [1, 2] and alive() == 0


def test_a_reader_that_leaves_early_ends_the_thread() -> None:
    endless = ahead(iter(int, 1), depth=2)
    assert next(endless) == 0
    endless.close()  # type: ignore[attr-defined]
    assert alive() == 0
