"""Numbers of 64 bits in a file that two processes of ours share, and the times of two ways that one of them measures."""

import mmap
import struct
from pathlib import Path

KEPT = 1024
TRIPS_WORDS = 3 + 2 * KEPT


class Words:
    """A file of numbers of 64 bits, shared with a process of ours."""

    def __init__(self, path: Path, count: int | None = None) -> None:
        """A new one of so many, all 0; None: one that is there. Raises OSError."""
        self.path = path
        if count is not None:
            path.write_bytes(bytes(count * 8))
        with path.open("r+b") as file:
            self._held = mmap.mmap(file.fileno(), 0)

    def __getitem__(self, at: int) -> int:
        return int(struct.unpack_from("=Q", self._held, at * 8)[0])

    def __setitem__(self, at: int, value: int) -> None:
        struct.pack_into("=Q", self._held, at * 8, value)

    def close(self) -> None:
        self._held.close()
        self.path.unlink(missing_ok=True)


class Trips:
    """Times of two ways, by turns: word 0 is the caller's, then how many have ended of either, then the last that are kept of each, in
    nanoseconds. Who looks reads those that have ended since.
    """

    def __init__(self, words: Words) -> None:
        self._words = words
        self._seen = [0, 0]

    def look(self) -> tuple[list[int], list[int]]:
        """(by what stands between, directly), nanoseconds; of many the last that are kept."""
        found: tuple[list[int], list[int]] = ([], [])
        for way in (0, 1):
            ended = self._words[1 + way]
            first = max(self._seen[way], ended - KEPT + 1)
            found[way].extend(self._words[3 + way * KEPT + at % KEPT] for at in range(first, ended))
            self._seen[way] = ended
        return found

    def note(self, way: int, took_ns: int) -> None:
        """For the one process that measures."""
        ended = self._words[1 + way]
        self._words[3 + way * KEPT + ended % KEPT] = took_ns
        self._words[1 + way] = ended + 1
