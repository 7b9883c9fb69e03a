"""A detour: the load reaches the system by way of a relay of ours, or of a link of ours, which can hold back what passes. What it adds is
measured, not believed.

The relay is native, needs no rights, and dies with its scope. Beside it round trips go by the same relay to an echo, and directly to it:
their difference is the time that the way adds, whatever this machine's scheduler adds to both. What the relay itself costs is measured
before anything is held back, and taken off.
"""

import contextlib
import ipaddress
import json
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from agent.kernel_path import PROGRAM, KernelPath
from agent.launcher import Child, LaunchFailed
from agent.paced import Cost
from agent.relay import PORTS_AT
from agent.scope import Scope
from agent.violations import Context
from agent.words import TRIPS_WORDS, Trips, Words
from traces.errors import PreflightFailed

_RELAY = (sys.executable, "-m", "agent.relay")
MECHANISM = "relay between load and system"
LINK = "on a link of its own between load and system"
_EVERY_US = 10_000
_READY_S = 15.0
_LOOK_S = 0.005
_SAMPLES = 30
_RELAY_WORDS = 16
_LISTENING = ("0A", "07")
"""A stream that listens, a datagram socket without a peer."""
_DELAY, _JITTER, _RATE, _ARRIVED, _LOST, _BYTES = 0, 1, 2, 5, 6, 8


def listening_host(port: int, net: Path = Path("/proc/net")) -> str:
    """At which address the system takes what comes (proc_net(5)), so that nobody reaches it by us who could not without; 0.0.0.0 for all of
    IPv4, and loopback where the kernel does not tell.
    """
    for table in ("tcp", "tcp6", "udp", "udp6"):
        with contextlib.suppress(OSError):
            for line in (net / table).read_text().splitlines()[1:]:
                words = line.split()
                address, _, number = words[1].partition(":")
                if int(number, 16) == port and words[3] in _LISTENING:
                    return _address(address)
    return "127.0.0.1"


def _address(told: str) -> str:
    """Words of 32 bits as this machine keeps them in memory, in hexadecimal."""
    found = ipaddress.ip_address(b"".join(int(told[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(told), 8)))
    if isinstance(found, ipaddress.IPv6Address):
        if found.is_unspecified:
            return "0.0.0.0"  # takes IPv4 as well
        found = found.ipv4_mapped or found
    return str(found)


@contextlib.contextmanager
def standing(name: str, context: Context, *, link: bool = False, lost: float = 0.0) -> Iterator["Detour"]:
    """A detour to be put to use; what the kernel refuses then is PreflightFailed too, and nothing is left behind."""
    detour = Detour(name, context, link=link, lost=lost)
    try:
        yield detour
    except OSError as error:
        detour.end()
        raise PreflightFailed(f"violation {name}: {error.strerror or error}") from None


class Detour:
    """One way that holds nothing back yet: a relay, or with `link` a link of its own which the kernel can act upon (agent/hop.py). `lost`
    is the share of packets that a relay's own sockets lose from the start. Raises PreflightFailed, with nothing left behind.
    """

    def __init__(self, name: str, context: Context, *, link: bool = False, lost: float = 0.0) -> None:
        if context.port is None:
            raise PreflightFailed(f"violation {name}: it stands between load and a system, and there is none here")
        stem = context.work_dir / f"{name}-{os.getpid()}-{time.monotonic_ns()}"
        self._page = Words(stem.with_suffix(".relay"), _RELAY_WORDS)
        self._trips_page = Words(stem.with_suffix(".trips"), TRIPS_WORDS)
        self._way = stem.with_suffix(".way")
        self._trips = Trips(self._trips_page)
        self._scope = Scope(f"{name}-relay-{time.monotonic_ns()}", context.ledger, context.cgroups)
        self._path: KernelPath | None = None
        host = listening_host(context.port)
        try:
            order = {"page_path": str(self._trips_page.path), "way_path": str(self._way), "every_us": _EVERY_US}
            self._trips_child = self._start([*_RELAY, "trips"], order)
            self._await(lambda: self._trips_page[0] != 0, self._trips_child, "its echo")
            onward = ["127.0.0.1" if host == "0.0.0.0" else host, context.port]
            order = {"page_path": str(self._page.path), "listen": host, "onward": onward, "echo_port": self._trips_page[0]}
            self._relay = self._linked(order) if link else self._start([*_RELAY, "ways"], order | {"lost": lost})
            self._await(lambda: self._page[PORTS_AT // 8 + 1] != 0, self._relay, "its relay")
            self.port = self._page[PORTS_AT // 8]
            partial = self._way.with_suffix(".tmp")
            partial.write_text(str(self._page[PORTS_AT // 8 + 1]))
            partial.replace(self._way)
            self._await(lambda: min(self._trips_page[1], self._trips_page[2]) >= _SAMPLES, self._trips_child, "its first round trips")
        except (LaunchFailed, OSError) as error:
            self.end()
            raise PreflightFailed(f"violation {name}: {error}") from None
        self.own_ns = max(0, self.added_ns() or 0)
        self.cost = Cost(self._scope)
        self._passed = (time.monotonic_ns(), self._counted())

    def _linked(self, order: dict[str, object]) -> Child:
        ours, theirs = socket.socketpair()
        self._path = KernelPath(ours)
        with theirs:
            return self._start(PROGRAM, order | {"control_fd": theirs.fileno()}, held=(theirs.fileno(),))

    @property
    def linked(self) -> bool:
        return self._path is not None

    @property
    def path(self) -> KernelPath:
        """Of one that was made with a link."""
        assert self._path is not None
        return self._path

    def end_trips(self) -> None:
        """No more round trips: what the way costs is known by now, and on a narrow link, or one that loses packets, they are in the way."""
        self._trips_child.process.kill()
        self._trips_child.process.wait()

    def _start(self, program: Sequence[str], order: dict[str, object], held: Sequence[int] = ()) -> Child:
        return self._scope.spawn([*program, json.dumps(order)], held=held)

    @staticmethod
    def _await(there: Callable[[], bool], child: Child, what: str) -> None:
        deadline = time.monotonic() + _READY_S
        while not there():
            if child.exit_code() is not None:
                raise LaunchFailed(f"{what} ended with {child.exit_code()}")
            if time.monotonic() > deadline:
                raise LaunchFailed(f"{what} did not come within {_READY_S:g} s")
            time.sleep(_LOOK_S)

    @property
    def alive(self) -> bool:
        return self._relay.exit_code() is None

    def hold(self, *, delay_ns: float = 0, jitter_ns: float = 0, bytes_per_s: float = 0) -> None:
        """From now on: `delay_ns` on the round trip, half each way; up to `jitter_ns`, evenly, on the way to the system; so much at most,
        each way, over all connections (0: no limit).
        """
        if self._path is not None:
            half_ns = round(max(0.0, delay_ns) / 2)
            self._path.shape(delay_ns=half_ns, jitter_ns=round(jitter_ns), bytes_per_s=round(bytes_per_s))
            return
        self._page[_DELAY] = round(max(0.0, delay_ns) / 2)
        self._page[_JITTER] = round(jitter_ns)
        self._page[_RATE] = round(bytes_per_s)

    @property
    def bytes_per_s(self) -> int:
        """The limit in force, as the relay reads it."""
        return self._page[_RATE]

    def added_ns(self) -> float | None:
        """What the way has added to a round trip since the last look, by the middle of either; None: nothing came back."""
        by_relay, direct = self._trips.look()
        return statistics.median(by_relay) - statistics.median(direct) if by_relay and direct else None

    def spread_ns(self) -> float | None:
        """How far the times of the way lie apart since the last look, beyond those of the direct one: an even spread of this width."""
        ways = self._trips.look()
        if min(map(len, ways)) < 20:
            return None
        # Of even draws nine tenths lie between these two; what lies outside may be the scheduler's.
        widths = [(cuts[-1] - cuts[0]) / 0.9 for cuts in (statistics.quantiles(way, n=20) for way in ways)]
        return max(0.0, widths[0] - widths[1])

    def _counted(self) -> tuple[int, int]:
        return self._page[_BYTES], self._page[_BYTES + 1]

    def passed_per_s(self) -> float:
        """Bytes a second that went on since the last look, of the way that took more."""
        (then_ns, before), self._passed = self._passed, (time.monotonic_ns(), self._counted())
        now_ns, count = self._passed
        return max(n - b for n, b in zip(count, before, strict=True)) * 1e9 / max(1, now_ns - then_ns)

    def lost(self) -> tuple[int, int]:
        """(packets that arrived at the relay's sockets so far, those of them that were lost), by the kernel's count of each socket."""
        return self._page[_ARRIVED], self._page[_LOST]

    def end(self) -> str:
        """undone | foreign | failed; twice is harmless."""
        result = self._scope.end()
        if self._path is not None:
            self._path.close()
        self._page.close()
        self._trips_page.close()
        self._way.unlink(missing_ok=True)
        return result
