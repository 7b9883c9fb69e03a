"""The page that we share with an antagonist: what it is asked, what it did. The other side is agent/engine/natives/src/antagonist/page.rs.

It lies in memory alone (memfd_create(2)), so there is no file to leave behind, and it can be read at any time without a wait.
"""

import mmap
import os
import struct

PAGE_BYTES = 64
RATE_AT, DONE_AT, _FORGIVEN, _FAILED, _ERRNO, READY_AT = range(0, 48, 8)


class Page:
    """Eight numbers of 8 bytes; `path` is where a process of the same user opens it as long as we live."""

    def __init__(self) -> None:
        self._fd = os.memfd_create("offspec-antagonist")
        os.ftruncate(self._fd, PAGE_BYTES)
        self._map = mmap.mmap(self._fd, PAGE_BYTES)
        self.path = f"/proc/{os.getpid()}/fd/{self._fd}"

    def _number(self, at: int) -> int:
        return int(struct.unpack_from("=Q", self._map, at)[0])

    def ask(self, rate_per_s: float) -> None:
        """Units per second from now on; 0: none, infinite: as fast as it goes."""
        struct.pack_into("=d", self._map, RATE_AT, rate_per_s)

    @property
    def done(self) -> int:
        """Units done since the start."""
        return self._number(DONE_AT)

    @property
    def forgiven(self) -> int:
        """Units that fell due while it could not run, and were let go."""
        return self._number(_FORGIVEN)

    @property
    def failure(self) -> str | None:
        """How many steps failed and with what; None where none did."""
        failed = self._number(_FAILED)
        return f"{failed} steps failed, the last with {os.strerror(self._number(_ERRNO))}" if failed else None

    @property
    def ready(self) -> bool:
        return self._number(READY_AT) == 1

    def close(self) -> None:
        if not self._map.closed:
            self._map.close()
            os.close(self._fd)
