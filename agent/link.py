"""The agent's end of the link: dials the controller, obeys its commands one at a time, and holds a lease.

When the lease ends (no acknowledged heartbeat for its time) or the link is lost, the load stops, violations are undone and the
system is ended; with `exit_with_controller` the agent then exits. Commands of an epoch older than the highest seen are refused.
"""

import asyncio
import hashlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import grpc
import pyarrow as pa
import pyarrow.parquet as pq

from agent import inventory, noise_floor, policy, quarantine
from agent.ledger import Ledger
from agent.metrics import Figures
from agent.replay import Live
from agent.scope import Cgroups
from agent.trial import Clock, StepFailed, Trial
from protos.offspec.v1 import agent_link_pb2 as pb
from protos.offspec.v1 import agent_link_pb2_grpc as rpc
from traces.errors import OffspecError, SafetyStop

_OPTIONS = (
    ("grpc.max_receive_message_length", 8 << 20),
    ("grpc.max_send_message_length", 8 << 20),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_http_proxy", 0),
)
_CHUNK_BYTES = 512 * 1024
_BURST = 64
_DIAL_EVERY_S = 0.5
_ABANDON_S = 4.0


def _leave_to_the_guard() -> NoReturn:
    """A step that waits for what will not come keeps the worker: the guard undoes everything when we are gone."""
    print(f"offspec agent: a step did not end within {_ABANDON_S:g} s: left to the guard", file=sys.stderr, flush=True)
    os._exit(SafetyStop.exit_code)


class LinkLost(Exception):
    """The controller is gone, or silent for longer than the lease."""


class Epochs:
    """The highest lease epoch ever obeyed; survives restarts of the agent."""

    def __init__(self, state_dir: Path, agent: str) -> None:
        self._path = state_dir / f"epoch-{agent}"
        try:
            self.seen = int(self._path.read_text())
        except (OSError, ValueError):
            self.seen = 0

    def allow(self, epoch: int) -> bool:
        if epoch < self.seen:
            return False
        if epoch > self.seen:
            self.seen = epoch
            partial = self._path.with_suffix(".tmp")
            partial.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(str(epoch))
            partial.replace(self._path)
        return True


class Link:
    """One agent's session with a controller, again and again until it is told to end."""

    def __init__(
        self,
        *,
        address: str,
        agent: str,
        token: str,
        state_dir: Path,
        ledger: Ledger,
        figures: Figures,
        metrics_url: str,
        leftovers: dict[str, int],
        exit_with_controller: bool,
    ) -> None:
        self._address = address
        self._agent = agent
        self._token = token
        self._state_dir = state_dir
        self._dir = state_dir / "work" / agent
        self._epochs = Epochs(state_dir, agent)
        self._ledger = ledger
        self._figures = figures
        self._metrics_url = metrics_url
        self._leftovers = leftovers
        self._exit_with_controller = exit_with_controller
        self._cgroups = Cgroups()
        # One thread for all verbs, for life: children are bound to the thread that spawned them.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="trial")
        self._results: dict[str, tuple[bytes, pb.CommandResult]] = {}
        self._trial: Trial | None = None
        self._port = 0
        self._clock = Clock(0, 1 << 62)
        self._outbox: asyncio.Queue[pb.AttachRequest] = asyncio.Queue()
        self._stub: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._acked = time.monotonic()
        self._ttl_s = 6.0
        figures.set(lease_left_s=lambda: max(0.0, self._ttl_s - (time.monotonic() - self._acked)))

    async def run(self) -> None:
        """Returns only with exit_with_controller, once the controller is gone and everything is undone."""
        self._loop = asyncio.get_running_loop()
        dialled = time.monotonic()
        while True:
            try:
                await self._session()
            except (LinkLost, grpc.aio.AioRpcError) as error:
                attached = self._trial is not None or self._acked > dialled
                if self._trial is not None:
                    self._trial.stop_load()
                try:
                    await asyncio.wait_for(asyncio.shield(self._in_worker(self._abandon)), _ABANDON_S)
                except TimeoutError:
                    _leave_to_the_guard()
                refused = isinstance(error, grpc.aio.AioRpcError) and error.code() in (
                    grpc.StatusCode.UNAUTHENTICATED,
                    grpc.StatusCode.ALREADY_EXISTS,
                )
                if refused:
                    raise SafetyStop(f"the controller at {self._address} refuses this agent: {error.details()}") from None  # type: ignore[union-attr]
                if self._exit_with_controller and (attached or time.monotonic() - dialled > self._ttl_s):
                    return
            await asyncio.sleep(_DIAL_EVERY_S)

    def close(self) -> None:
        """Ends what is under way; blocks until it is undone."""
        if self._trial is not None:
            self._trial.stop_load()
        try:
            self._worker.submit(self._abandon).result(_ABANDON_S)
        except TimeoutError:
            _leave_to_the_guard()
        self._worker.shutdown()

    async def _session(self) -> None:
        async with grpc.aio.insecure_channel(self._address, options=_OPTIONS) as channel:
            self._stub = rpc.AgentLinkServiceStub(channel)  # type: ignore[no-untyped-call]
            self._outbox = asyncio.Queue()
            facts = inventory.fingerprint(self._cgroups)
            hello = pb.Hello(
                agent=self._agent,
                machine_id=facts["machine_id"],
                boot_id=facts["boot_id"],
                token=self._token,
                epoch_seen=self._epochs.seen,
                metrics_url=self._metrics_url,
                labels_json=json.dumps(inventory.labels(facts)),
                pid=os.getpid(),
            )
            call = self._stub.Attach(self._say(hello))
            first = await call.read()
            if first is grpc.aio.EOF or first.WhichOneof("body") != "welcome":
                raise LinkLost("no welcome")
            self._acked = time.monotonic()
            self._ttl_s = first.welcome.lease_ttl_ms / 1000
            beat = asyncio.ensure_future(self._beat(first.welcome.heartbeat_ms / 1000))
            hear = asyncio.ensure_future(self._hear(call))
            await self._sync_clock()
            try:
                done, _ = await asyncio.wait({beat, hear}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                raise LinkLost("the controller ended the session")
            finally:
                beat.cancel()
                hear.cancel()

    async def _say(self, hello: pb.Hello) -> AsyncIterator[pb.AttachRequest]:
        yield pb.AttachRequest(hello=hello)
        while True:
            yield await self._outbox.get()

    async def _beat(self, every_s: float) -> None:
        """Sends heartbeats; raises LinkLost when the lease, counted from the last acknowledged sending, is over."""
        self._sent_at: dict[int, float] = {}
        seq = 0
        due = time.monotonic()
        while True:
            now = time.monotonic()
            if now - self._acked > self._ttl_s:
                raise LinkLost("the lease is over")
            if not self._ledger.guarded:
                raise LinkLost("the guard is gone")
            if now >= due:
                seq += 1
                self._sent_at[seq] = now
                key = self._trial.key if self._trial is not None else ""
                self._outbox.put_nowait(pb.AttachRequest(heartbeat=pb.Heartbeat(seq=seq, attempt=key)))
                due = now + every_s
            await asyncio.sleep(0.2)

    async def _hear(self, call: Any) -> None:
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                message = await call.read()
                if message is grpc.aio.EOF:
                    raise LinkLost("the controller closed the link")
                match message.WhichOneof("body"):
                    case "ack":
                        sent = self._sent_at.pop(message.ack.seq, None)
                        if sent is not None:
                            self._acked = max(self._acked, sent)
                    case "command":
                        task = asyncio.ensure_future(self._obey(message.command))
                        tasks.add(task)
                        task.add_done_callback(tasks.discard)
                    case _:
                        pass
        finally:
            for task in tasks:
                task.cancel()

    async def _obey(self, command: pb.Command) -> None:
        """Does a command once, whatever number of times it is sent."""
        payload = hashlib.sha256(command.SerializeToString(deterministic=True)).digest()
        kept = self._results.get(command.id)
        if kept is not None:
            same = kept[0] == payload
            result = kept[1] if same else _failed(command.id, "spec", "this id was used for another command")
        else:
            result = await self._do(command)
            self._results[command.id] = (payload, result)
            if len(self._results) > 256:
                self._results.pop(next(iter(self._results)))
        self._outbox.put_nowait(pb.AttachRequest(result=result))

    async def _do(self, command: pb.Command) -> pb.CommandResult:
        # A probe changes nothing, so it needs no lease; everything else must be of the newest epoch.
        if command.WhichOneof("verb") != "probe" and not self._epochs.allow(command.lease_epoch):
            return _failed(command.id, "infra", f"epoch {command.lease_epoch} is over: {self._epochs.seen} was seen here")
        name = command.WhichOneof("verb")
        if name in ("arm", "finish"):
            await self._sync_clock()
        self._unblock(name or "")
        try:
            work = self._in_worker(lambda: self._verb(command, name or ""))
            answer = await asyncio.wait_for(asyncio.shield(work), command.timeout_ms / 1000)
            return pb.CommandResult(id=command.id, ok=True, result_json=json.dumps(answer))
        except TimeoutError:
            if self._trial is not None:
                self._trial.stop_load()
            return _failed(command.id, "infra", f"{name} took longer than {command.timeout_ms / 1000:g} s")
        except StepFailed as error:
            return _failed(command.id, error.failure_class, str(error))
        except OffspecError as error:
            return _failed(command.id, "spec" if error.exit_code in (2, 3, 4) else "infra", str(error))
        except OSError as error:
            return _failed(command.id, "infra", f"{name}: {error}")

    def _in_worker(self, work: Callable[[], Any]) -> "asyncio.Future[Any]":
        return asyncio.get_running_loop().run_in_executor(self._worker, work)

    def _unblock(self, name: str) -> None:
        """An undo must not queue behind a step that waits for something which will not come."""
        if name in ("undo", "teardown") and self._trial is not None:
            self._trial.stop_load()

    def _verb(self, command: pb.Command, name: str) -> dict[str, Any]:
        verb = getattr(command, name)
        if name == "probe":
            found = {**inventory.probe(self._cgroups), "leftovers_undone": self._leftovers}
            held = quarantine.of(self._state_dir)
            found["quarantine"] = None if held is None else str(held)
            if set(verb.load_cores) <= set(found["cores"]) and verb.load_cores:
                found["noise_floor"] = noise_floor.measure(list(verb.load_cores), verb.connections, by_python=verb.by_python)
            return found
        if self._trial is not None and self._trial.key != command.attempt:
            self._trial.teardown()
            self._trial = None
        if self._trial is None:
            if name in ("undo", "teardown"):
                return {"leftovers": []}
            self._trial = self._new_trial(command.attempt)
        trial = self._trial
        match name:
            case "deploy":
                answer = trial.deploy(verb)
                self._port = answer["port"]
                return answer
            case "await_ready":
                return trial.await_ready(verb, self._port)
            case "arm":
                return trial.arm(verb)
            case "start":
                return trial.start(verb)
            case "finish":
                return trial.finish()
            case "undo":
                return dict(trial.undo())
            case "teardown":
                self._trial = None
                return trial.teardown()
            case "preload" | "violate" | "verify_dose":
                return dict(getattr(trial, name)(verb))
            case _:
                raise StepFailed("spec", f"this agent does not know {name}; is it older than the controller?")

    def _abandon(self) -> None:
        """The controller is gone: nothing of its attempt may stay."""
        if self._trial is not None:
            self._trial.teardown()
            self._trial = None
        self._ledger.undo_all()

    def _new_trial(self, key: str) -> Trial:
        if (held := quarantine.of(self._state_dir)) is not None:
            raise StepFailed("spec", f"node {self._agent} is quarantined: {held}")
        return Trial(
            state_dir=self._state_dir,
            key=key,
            agent=self._agent,
            ledger=self._ledger,
            cgroups=self._cgroups,
            figures=self._figures,
            base_dir=self._dir,
            all_cores=tuple(policy.cores_of(inventory.cores())),
            fetch_trace=lambda ref: self._call(self._fetch(ref)),
            put_table=lambda table, rows: self._call(self._put(key, table, _parquet(rows))),
            put_log=lambda data: self._call(self._put(key, "log", data)),
            on_live=lambda live: self._live(key, live),
            clock=lambda: self._clock,
        )

    def _call(self, work: Any) -> Any:
        """From the worker thread, on the loop's thread: gRPC's objects belong to it."""
        assert self._loop is not None
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)
        except grpc.aio.AioRpcError as error:
            raise StepFailed("infra", f"link: {error.details()}") from None

    def _live(self, key: str, live: Live) -> None:
        telemetry = pb.Telemetry(
            attempt=key,
            second=live.second,
            scheduled=live.scheduled,
            completed=live.completed,
            failed=live.failed,
            inflight=live.inflight,
            slip_p99_ns=live.slip_p99_ns,
            response_p50_ns=live.response_p50_ns,
            response_p99_ns=live.response_p99_ns,
        )
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._outbox.put_nowait, pb.AttachRequest(telemetry=telemetry))

    async def _fetch(self, ref: pb.TraceRef) -> Path:
        """The trace by its content, from the cache or from the controller."""
        path = self._dir / "traces" / f"{ref.sha256}.parquet"
        if path.exists() and path.stat().st_size == ref.bytes:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        partial = path.with_suffix(f".{os.getpid()}.tmp")
        with partial.open("wb") as file:
            async for part in self._stub.FetchTrace(pb.FetchTraceRequest(sha256=ref.sha256, token=self._token)):
                digest.update(part.data)
                file.write(part.data)
        if digest.hexdigest() != ref.sha256:
            partial.unlink()
            raise StepFailed("infra", f"trace {ref.sha256[:12]}: damaged on the way")
        partial.replace(path)
        return path

    async def _put(self, key: str, table: str, data: bytes) -> None:
        sha256 = hashlib.sha256(data).hexdigest()

        async def parts() -> AsyncIterator[pb.PutArtifactRequest]:
            head = {
                "token": self._token,
                "attempt": key,
                "agent": self._agent,
                "table": table,
                "sha256": sha256,
            }
            yield pb.PutArtifactRequest(**head, data=data[:_CHUNK_BYTES])
            for at in range(_CHUNK_BYTES, len(data), _CHUNK_BYTES):
                yield pb.PutArtifactRequest(data=data[at : at + _CHUNK_BYTES])

        await self._stub.PutArtifact(parts())

    async def _sync_clock(self) -> None:
        """A burst of four-timestamp probes; the one with the least round trip is believed (RFC 5905, clock filter)."""
        best: Clock | None = None

        async def probes() -> AsyncIterator[pb.SyncClockRequest]:
            for _ in range(_BURST):
                await turn.acquire()
                yield pb.SyncClockRequest(t1_agent_mono_ns=time.monotonic_ns())

        turn = asyncio.Semaphore(1)
        async for reply in self._stub.SyncClock(probes()):
            t4 = time.monotonic_ns()
            t1, t2, t3 = reply.t1_agent_mono_ns, reply.t2_controller_mono_ns, reply.t3_controller_mono_ns
            round_trip = (t4 - t1) - (t3 - t2)
            if best is None or round_trip // 2 + 1 < best.bound_ns:
                best = Clock(((t2 - t1) + (t3 - t4)) // 2, round_trip // 2 + 1)
            turn.release()
        if best is not None:
            self._clock = best


def _failed(id_: str, failure_class: str, message: str) -> pb.CommandResult:
    return pb.CommandResult(id=id_, ok=False, failure_class=failure_class, message=message)


def _parquet(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())
