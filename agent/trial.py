"""The verbs of one attempt on this node: deploy, ready, preload, violate, verify, arm, start, finish, undo, teardown.

Runs on the agent's one worker thread (children are bound to the thread that spawned them). Knows nothing of the link: traces come
and artifacts go through functions that it is given.
"""

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa

from agent import foreign, launcher, policy, quarantine, snapshot
from agent.dose import DoseWatch
from agent.endpoint import Endpoint
from agent.foreign import CoreUse
from agent.launcher import Child, LaunchFailed
from agent.ledger import Ledger, work_folder
from agent.metrics import Figures
from agent.probes import answers
from agent.replay import Live, Replay, ReplayOrder
from agent.scope import Cgroups, Scope
from agent.selfcheck import Gates
from agent.snapshot import Snapshot
from agent.violations import Confining, Context, Preparing, Rerouting, Varying, registry
from protos.offspec.v1 import agent_link_pb2 as pb
from protos.profile import Profile
from protos.violations import CATALOGUE
from traces.compiled import preload_rows, shard_batches
from traces.errors import OffspecError

_PROBE_EVERY_S = 0.02
_PRELOAD_WINDOW = 64
_LOG_TAIL_BYTES = 4096
_LOG_PART_BYTES = 512 << 10
_EXITED_AT_ONCE_S = 0.25
_START_LEAST_NS = 50_000_000


def endpoint_of(told: pb.Endpoint) -> Endpoint:
    """An endpoint from the controller's words."""
    options = dict(told.options)
    if told.path not in ("", "/") and told.driver in ("http", "http2", "grpc", "openai"):
        options.setdefault("path", told.path)
    return Endpoint(told.driver, told.host, told.port, options, told.tls or None)


class StepFailed(Exception):
    """A verb could not be done. failure_class: infra | invalid | system | spec."""

    def __init__(self, failure_class: str, message: str) -> None:
        super().__init__(message)
        self.failure_class = failure_class


@dataclass(frozen=True)
class Clock:
    """controller's monotonic clock minus ours, and how wrong that may be."""

    offset_ns: int
    bound_ns: int


@dataclass
class _Window:
    """CPU time of the system over the measured seconds, and of all on its cores, read at their very edges."""

    begin_ns: int | None = None
    end_ns: int | None = None
    cores: list[CoreUse | None] = field(default_factory=list)


@dataclass
class Trial:
    """State of the attempt that this agent works on."""

    key: str
    agent: str
    ledger: Ledger
    cgroups: Cgroups
    figures: Figures
    base_dir: Path
    all_cores: tuple[int, ...]
    fetch_trace: Callable[[pb.TraceRef], Path]
    put_table: Callable[[str, pa.Table], None]
    put_log: Callable[[bytes], None]
    on_live: Callable[[Live], None]
    clock: Callable[[], Clock]
    state_dir: Path
    _before: Snapshot = field(init=False)
    _dir: Path | None = None
    _dir_undo: int | None = None
    _scope: Scope | None = None
    _child: Child | None = None
    _log: Path | None = None
    _asked_cores: tuple[int, ...] = ()
    _port: int | None = None
    _doses: DoseWatch = field(default_factory=DoseWatch)
    _replay: Replay | None = None
    _rows: pa.RecordBatchReader | None = None
    _arm: pb.Arm | None = None
    _t0_ns: int | None = None
    _window: _Window = field(default_factory=_Window)
    _threads: list[threading.Thread] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _loader: Replay | None = None
    _replay_error: str | None = None

    def __post_init__(self) -> None:
        self._before = self._look()

    def _look(self) -> Snapshot:
        return snapshot.take(self.state_dir, lambda lease: lease == self.ledger.lease, self.base_dir)

    # --- the system under test

    def deploy(self, order: pb.Deploy) -> dict[str, Any]:
        if outside := sorted(set(order.cores) - set(self.all_cores)):
            raise StepFailed("spec", f"core {outside[0]} is none that this node has and its policy allows")
        work = self._work_dir()
        port = order.port or _free_port()
        if order.port:
            _refuse_taken(order.port)
        self._scope = Scope("target", self.ledger, self.cgroups)
        self.figures.set(attempt=self.key, target=self._scope, doses=self._doses.now)
        cores = tuple(order.cores)
        env = dict(order.env)
        prelude: list[Mapping[str, Any]] = []
        pin = order.pin
        for violation in order.violations:
            applied = self._apply(violation)
            if isinstance(applied, Confining):
                cores, pin = applied.cores, True
            if isinstance(applied, Preparing):
                env |= applied.env
                prelude += applied.prelude
        pinned = cores if pin else ()
        holes = {
            "port": str(port),
            "dir": str(work),
            "core": str(order.cores[0]) if order.cores else "0",
            "cores": ",".join(map(str, cores)),
            "ncores": str(len(cores)),
            "python": sys.executable,
        }
        for name, content in order.files.items():
            path = (work / name).resolve()
            if work.resolve() not in path.parents:
                raise StepFailed(
                    "spec",
                    f"systems.{order.system}.files: {name!r} lies outside the working folder; use a plain name",
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_filled(content, holes))
        self._log = work / "system.log"
        argv = [_filled(word, holes) for word in order.command]
        try:
            with self._log.open("wb") as log:
                self._child = self._scope.spawn(
                    argv,
                    env={k: _filled(v, holes) for k, v in env.items()},
                    cores=pinned,
                    cwd=str(work),
                    output=log,
                    prelude=prelude,
                )
        except LaunchFailed as error:
            raise StepFailed("spec", f"systems.{order.system}.variants.{order.variant}.command: {error}") from None
        self._asked_cores = pinned
        self._port = port
        time.sleep(_EXITED_AT_ONCE_S)
        self._still_runs("at once")
        found = launcher.facts(self._child.pid)
        return {
            "port": port,
            "pid": self._child.pid,
            "cores": list(cores),
            "child": {**found, "differs": launcher.differences(found, pinned)},
            "mechanisms": self._doses.applied(),
        }

    def await_ready(self, order: pb.AwaitReady, port: int) -> dict[str, Any]:
        begun = time.monotonic()
        deadline = begun + order.timeout_ms / 1000
        while not answers(order.probe, "127.0.0.1", port, order.path):
            self._still_runs("before it was ready")
            if time.monotonic() > deadline:
                raise StepFailed(
                    "system",
                    f"not ready within {order.timeout_ms / 1000:g} s ({order.probe} on port {port}){self._last_words()}",
                )
            if self._stopped.wait(_PROBE_EVERY_S):
                raise StepFailed("cancelled", "stopped while the system became ready")
        return {"ready_s": round(time.monotonic() - begun, 4)}

    def _still_runs(self, when: str) -> None:
        code = self._child.exit_code() if self._child is not None else 1
        if code is not None:
            how = f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
            raise StepFailed("system", f"the system {how} {when}{self._last_words()}")

    def _last_words(self) -> str:
        """The last line of the system's log, as the reason that a person looks for."""
        try:
            tail = self._log.read_bytes()[-_LOG_TAIL_BYTES:] if self._log else b""
        except OSError:
            tail = b""
        lines = [line.strip() for line in tail.decode(errors="replace").splitlines() if line.strip()]
        return f"; its last line: {lines[-1][:300]}" if lines else "; it wrote nothing"

    # --- violations

    def violate(self, order: pb.Violate) -> dict[str, Any]:
        before = len(self._doses.applied())
        for violation in order.violations:
            self._apply(violation)
        self._doses.start()
        return {"applied": self._doses.applied()[before:], "port": self._port}

    def _apply(self, order: pb.ViolationOrder) -> Any:
        violation = registry().get(order.name)
        if violation is None:
            raise StepFailed("spec", f"violation {order.name}: this agent does not know it")
        context = Context(
            ledger=self.ledger,
            cgroups=self.cgroups,
            target_cores=tuple(order.target_cores),
            busy_cores=tuple(order.load_cores),
            all_cores=self.all_cores,
            work_dir=self._work_dir(),
            target=self._scope,
            port=self._port,
        )
        spec = CATALOGUE[order.name]
        with self.ledger.ending(policy.enforce(order.name, order.dose).time_for(order.name)):
            profile = Profile.from_json(order.profile_json) if order.profile_json else None
            applied = violation.apply(order.dose, dict(order.options), context)
        if profile is not None and not isinstance(applied, Varying):
            applied.undo()
            raise StepFailed("spec", f"violation {order.name}: its dose cannot change while it is in force; give one number")
        if profile is not None and isinstance(applied, Varying):
            applied.set(profile.at(0))  # it was applied with its most, so that all it needs is there when T0 comes
        self._doses.add(spec, order.dose, applied, profile)
        if isinstance(applied, Rerouting):
            self._port = applied.port
        return applied

    def verify_dose(self, order: pb.VerifyDose) -> dict[str, Any]:
        self._doses.start()
        return {"readings": self._doses.verify(order.window_ms / 1000)}

    # --- the load

    def preload(self, order: pb.Preload) -> dict[str, Any]:
        path = self.fetch_trace(order.trace)
        rows = preload_rows(path, order.trace.shard, order.trace.shards)
        size = int(pa.compute.sum(rows["req_bytes"]).as_py() or 0) if rows.num_rows else 0
        begun = time.monotonic()
        loader = Replay(
            ReplayOrder(
                endpoint_of(order.endpoint),
                tuple(order.cores),
                connections=8,
                timeout_ms=30_000,
                window=_PRELOAD_WINDOW,
            )
        )
        self._loader = loader
        loader.arm()
        loader.run(rows.to_reader(), time.monotonic_ns())
        counts = loader.counts()
        if counts.get("completed", 0) != rows.num_rows:
            raise StepFailed(
                "system",
                f"preload: {counts.get('completed', 0)} of {rows.num_rows} keys were stored; "
                f"errors {counts['errors']}, {counts.get('timed_out', 0)} timed out{self._last_words()}",
            )
        return {"keys": rows.num_rows, "bytes": size, "seconds": round(time.monotonic() - begun, 3)}

    def arm(self, order: pb.Arm) -> dict[str, Any]:
        path = self.fetch_trace(order.trace)
        self._arm = order
        self._replay = Replay(
            ReplayOrder(
                endpoint=endpoint_of(order.endpoint),
                cores=tuple(order.cores),
                connections=order.connections,
                timeout_ms=order.timeout_ms,
                late=order.late,
                warmup_s=order.warmup_s,
                gates=Gates(order.gate_achieved, order.gate_slip_p99_ns, order.gate_steal),
            ),
            agent=self.agent,
            on_live=self.on_live,
        )
        try:
            self._replay.arm()
        except OffspecError as error:
            raise StepFailed("system", f"{error}{self._last_words()}") from None
        self._rows = shard_batches(path, order.trace.shard, order.trace.shards)
        self.figures.set(replay=self._replay)
        return {"rows": order.trace.rows, "connections": order.connections}

    def start(self, order: pb.Start) -> dict[str, Any]:
        """Converts T0 to our clock and leaves threads that wait for it; answers at once."""
        clock = self.clock()
        t0_ns = order.t0_controller_mono_ns - clock.offset_ns
        if t0_ns - time.monotonic_ns() < _START_LEAST_NS:
            raise StepFailed("infra", "T0 had passed before it arrived here; the link is too slow for a common start")
        self._t0_ns = t0_ns
        self._doses.set_t0(t0_ns)
        if self._scope is not None:
            self._thread("target-window", lambda: self._watch_window(t0_ns, order.warmup_s, order.measure_s))
        if self._replay is not None:
            self._thread("replay", self._run_replay)
        return {"offset_ns": clock.offset_ns, "bound_ns": clock.bound_ns, "t0_mono_ns": t0_ns}

    def _thread(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run_replay(self) -> None:
        assert self._replay is not None and self._rows is not None and self._t0_ns is not None
        try:
            self._replay.run(self._rows, self._t0_ns)
        except OffspecError as error:
            self._replay_error = str(error)

    def _watch_window(self, t0_ns: int, warmup_s: int, measure_s: int) -> None:
        assert self._scope is not None
        cores = self._scope.cores_allowed()
        for name, second in (("begin_ns", warmup_s), ("end_ns", warmup_s + measure_s)):
            if self._stopped.wait(max(0.0, (t0_ns + second * 1_000_000_000 - time.monotonic_ns()) / 1e9)):
                return
            setattr(self._window, name, self._scope.usage_ns())
            self._window.cores.append(foreign.read(cores, self.cgroups, self.ledger.lease))

    def finish(self) -> dict[str, Any]:
        for thread in self._threads:
            thread.join()
        answer: dict[str, Any] = {"artifacts": [], "clock": vars(self.clock()) | {"t0_mono_ns": self._t0_ns}}
        if self._replay_error is not None:
            raise StepFailed("spec", self._replay_error)
        if self._replay is not None and self._replay.totals is not None:
            for name, table in self._replay.tables().items():
                self.put_table(name, table)
                answer["artifacts"].append(name)
            totals = self._replay.totals
            answer["summary"] = self._replay.summary()
            answer["first_send_ns"] = totals.first_send_ns
            first = totals.first_send_ns - (self._t0_ns or 0)
            answer["clock"]["first_send_after_t0_ns"] = first
        if self._scope is not None and self._child is not None:
            answer["target"] = self._target()
            answer["child"] = launcher.facts(self._child.pid)
        if self._doses.any():
            doses = self._doses.table(self.agent)
            self.put_table("doses", doses)
            answer["artifacts"].append("doses")
        return answer

    def _target(self) -> dict[str, Any]:
        assert self._scope is not None and self._child is not None
        code = self._child.exit_code()
        begin, end = self._window.begin_ns, self._window.end_ns
        return {
            "alive": code is None,
            "exit": code,
            "cpu_ns": None if begin is None or end is None else end - begin,
            "rss_bytes": self._scope.resident_bytes(),
            "cores_allowed": sorted(self._scope.cores_allowed()),
            "foreign": foreign.share(*self._window.cores) if len(self._window.cores) == 2 else None,
        }

    # --- the way back

    def stop_load(self) -> None:
        """From any thread: whatever the worker waits for ends soon."""
        self._stopped.set()
        for replay in (self._replay, self._loader):
            if replay is not None:
                replay.stop()

    def undo(self) -> dict[str, Any]:
        """How many steps went how; `summaries`: what violations say of all that they did, where one does."""
        counts = self._doses.undo()
        return {**counts, "summaries": self._doses.summaries} if self._doses.summaries else dict(counts)

    def teardown(self) -> dict[str, Any]:
        """Ends everything of this attempt; what would not go is named."""
        self.stop_load()
        for thread in self._threads:
            thread.join(5)
        self._doses.undo()
        left: list[str] = []
        if self._log is not None:
            with contextlib.suppress(OSError):
                self.put_log(_both_ends(self._log))
        if self._scope is not None and self._scope.end() == "failed":
            left += [f"process {pid} of the system" for pid in self._scope.members()]
        if self._child is not None:
            with contextlib.suppress(Exception):
                self._child.process.wait(2)
        if self._dir_undo is not None and self.ledger.undo(self._dir_undo) == "failed":
            left.append(f"folder {self._dir}")
        self.figures.set(attempt="", target=None, doses=None, replay=None)
        # The journal of this agent is open as long as it lives, and no part of what a trial leaves.
        found = snapshot.cleanup(self._before, self._look())
        if found.left:
            quarantine.declare(self.state_dir, self.key, found.left)
        self.figures.set(dirty=bool(found.left))
        return {"leftovers": left, "cleanup": found.to_json()}

    def _work_dir(self) -> Path:
        if self._dir is None:
            name = "".join(c if c.isalnum() or c in "._-" else "_" for c in self.key)
            self._dir, self._dir_undo = work_folder(self.ledger, self.base_dir / f"{name}-{os.getpid()}")
        return self._dir


def _both_ends(log: Path) -> bytes:
    """A log as it is, or its beginning (what a system says when it starts) and its end (what it says when it dies)."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if size <= 2 * _LOG_PART_BYTES:
            return file.read()
        head = file.read(_LOG_PART_BYTES)
        file.seek(-_LOG_PART_BYTES, os.SEEK_END)
        return head + f"\n[{size - 2 * _LOG_PART_BYTES} bytes left out]\n".encode() + file.read()


def _filled(text: str, holes: Mapping[str, str]) -> str:
    """{port} and the like; other braces (nginx.conf is full of them) stay."""
    for name, value in holes.items():
        text = text.replace("{" + name + "}", value)
    return text


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return
        except OSError:
            holder = _holder(port)
    raise StepFailed("spec", f"port {port} is in use{holder}; end that, or leave `port` out and any free one is taken")


def _holder(port: int) -> str:
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == "LISTEN" and connection.laddr and connection.laddr.port == port and connection.pid:
                return f" by process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return ""
