"""What every contestant is: something that puts a load on a server and says what it did. And how its process is run."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

SERVER_CORE, GENERATOR_CORE = 0, 1
GRACE_S = 20.0
"""How long a process may take beyond the seconds of its load: start, connecting, and its own statistics."""


class Failed(Exception):
    """A contestant that is there did not give a figure; str() says why in words."""


@dataclass(frozen=True)
class Load:
    """What is asked of a contestant. `rate_per_s` None: its own maximum."""

    host: str
    port: int
    connections: int
    seconds: int
    seed: int
    rate_per_s: float | None = None
    op: str = "get"

    def at(self, rate_per_s: float) -> "Load":
        return replace(self, rate_per_s=rate_per_s)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/"


@dataclass(frozen=True)
class Measured:
    """What a contestant did. `cpu_s` is user and system time over `requests`; `rate_per_s` what it reached or held."""

    rate_per_s: float
    requests: int
    cpu_s: float
    details: dict[str, float] = field(default_factory=dict)

    @property
    def cpu_s_per_million(self) -> float | None:
        return self.cpu_s / self.requests * 1e6 if self.requests else None


class Contestant(Protocol):
    name: str
    loop: str
    """"closed" or "open", and for an open loop the criterion of its maximum."""
    paces: bool
    """Whether it can be given a rate."""

    def missing(self) -> str | None:
        """Why it cannot run here; None if it can."""

    def version(self) -> str: ...

    def run(self, load: Load) -> Measured:
        """One measurement. Raises Failed."""


@dataclass(frozen=True)
class Ended:
    """A process that ended by itself. `rss_bytes` is its peak."""

    out: str
    cpu_s: float
    wall_s: float
    rss_bytes: int


def find(program: str) -> str | None:
    """The program in $OFFSPEC_PEERS (install_peers.sh has the same default), which goes first, or on PATH."""
    peers = os.environ.get("OFFSPEC_PEERS") or str(Path.home() / ".cache" / "offspec-peers")
    return shutil.which(program, path=peers) or shutil.which(program)


def absent(program: str) -> str | None:
    return None if find(program) else f"{program} is not installed"


def first_line(argv: Sequence[str], pattern: str = r"\S.*") -> str:
    """What a program says of its version; "?" if it says nothing that matches."""
    try:
        said = subprocess.run(argv, capture_output=True, text=True, timeout=GRACE_S, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return "?"
    found = re.search(pattern, said.stdout + "\n" + said.stderr)
    return found.group(found.lastindex or 0).strip() if found else "?"


def pinned(core: int, argv: Sequence[str], *, favoured: bool = False) -> list[str]:
    """`favoured`: at the least nice value, which the engine's own threads take. Where that is not allowed, nice(1) says so and goes on."""
    return ["taskset", "-c", str(core), *(["nice", "-n", "-20"] if favoured else []), *argv]


def run_generator(argv: Sequence[str], *, limit_s: float, feed: str = "") -> Ended:
    """Runs one generator on its core to its end. Raises Failed if it fails or outlives `limit_s`; then it has been killed.

    CPU time and peak memory are of wait4(2): the process and the children that it waited for.
    """
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained, tempfile.TemporaryFile() as given:
        given.write(feed.encode())
        given.seek(0)
        started = time.monotonic()
        process = subprocess.Popen(
            pinned(GENERATOR_CORE, argv, favoured=True), stdin=given, stdout=said, stderr=complained, start_new_session=True
        )
        try:
            status, usage = _wait(process.pid, started + limit_s)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            if process.returncode is None:
                end_group(process)
        wall_s = time.monotonic() - started
        said.seek(0)
        complained.seek(0)
        out, err = said.read().decode(errors="replace"), complained.read().decode(errors="replace")
    if process.returncode != 0:
        last = (err.strip() or out.strip() or "no words").splitlines()[-1]
        raise Failed(f"{Path(argv[0]).name} ended with {process.returncode}: {last[:300]}")
    return Ended(out + err, usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss * 1024)


def _wait(pid: int, until: float) -> "tuple[int, os.struct_rusage]":  # type: ignore[name-defined]
    while time.monotonic() < until:
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            return status, usage
        time.sleep(0.01)
    raise Failed("still ran when its time was up, and was killed")


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process that leads a session, and all that it started."""
    for signalled in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signalled)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)


def number(text: str, pattern: str) -> float:
    """The first group of `pattern` in what a peer printed. Raises Failed."""
    found = re.search(pattern, text)
    if found is None:
        raise Failed(f"printed no {pattern!r}: {text.strip()[-300:]!r}")
    return float(found.group(1).replace(",", ""))
