"""A system to stand before: it sends back what it gets; and how long that takes."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from agent.ledger import Ledger
from agent.scope import Cgroups
from agent.violations import Context


class System:
    """Sends back what it gets, by stream and by datagram, on one port; notes who ended and who broke off."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(("127.0.0.1", self.port))
        self.ends: list[str] = []
        for work in (self._accept, self._datagrams):
            threading.Thread(target=work, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(link,), daemon=True).start()

    def _echo(self, link: socket.socket) -> None:
        with link:
            try:
                while data := link.recv(1 << 16):
                    link.sendall(data)
                self.ends.append("ended")
            except OSError:
                self.ends.append("broken")

    def _datagrams(self) -> None:
        while True:
            try:
                data, sender = self.datagrams.recvfrom(1 << 16)
                self.datagrams.sendto(data, sender)
            except OSError:
                return

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # a thread that waits in accept would keep it listening
        self.listener.close()
        self.datagrams.close()


@contextlib.contextmanager
def before(system: System, folder: Path) -> Iterator[Context]:
    """What a violation that stands before it works on; at the end all of it must be undone, without a file left."""
    ledger = Ledger(folder / "state")
    cores = tuple(sorted(os.sched_getaffinity(0)))
    work = folder / "work"
    work.mkdir()
    yield Context(ledger, Cgroups(), cores[:1], cores, work, port=system.port)
    assert ledger.close().get("failed", 0) == 0
    assert not list(work.iterdir()), "a detour leaves no file behind"


def round_trips_s(port: int, times: int) -> list[float]:
    found = []
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(times):
            begun = time.perf_counter()
            link.sendall(b"x" * 64)
            got = b""
            while len(got) < 64:
                got += link.recv(64)
            found.append(time.perf_counter() - begun)
    return found
