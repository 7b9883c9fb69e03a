"""Reading ahead in a thread: Arrow releases the interpreter while it parses and writes, so both go on at once on two cores."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
_END = object()


def ahead(items: Iterable[T], depth: int = 4) -> Iterator[T]:
    """The same items in the same order, up to `depth` of them made before they are asked for. What making one raises is raised here, in its
    place. A reader that stops early ends the thread at the next item.
    """
    made: queue.Queue[object] = queue.Queue(depth)
    left = threading.Event()
    failed: list[BaseException] = []

    def offered(item: object) -> bool:
        while not left.is_set():
            try:
                made.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def make() -> None:
        try:
            for item in items:
                if not offered(item):
                    return
        except BaseException as error:  # noqa: BLE001 - raised again by whoever reads
            failed.append(error)
        offered(_END)

    thread = threading.Thread(target=make, name="read-ahead", daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not _END:
            yield item  # type: ignore[misc]
        if failed:
            raise failed[0]
    finally:
        left.set()
        thread.join()
