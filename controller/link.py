"""The controller's end of the link: agents dial in, get commands and traces, and hand in their tables.

Knows sessions and commands, not trials. An agent that is silent for the lease's time is lost; it undoes everything by itself.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from controller.store import write_whole
from protos.offspec.v1 import agent_link_pb2 as pb
from protos.offspec.v1 import agent_link_pb2_grpc as rpc
from traces.errors import InvalidInput, OffspecError, OutOfReach

LEASE_TTL_MS = 6_000
HEARTBEAT_MS = 2_000
_CHUNK_BYTES = 512 * 1024
_MOST_ARTIFACT_BYTES = 2 << 30
_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 8 << 20),
    ("grpc.max_send_message_length", 8 << 20),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.enable_http_proxy", 0),
)


class AgentLost(OffspecError):
    """The agent is gone or silent: what it was doing is void, and is repeated."""

    exit_code = OutOfReach.exit_code


class CommandFailed(OffspecError):
    """The agent answered that it could not; `failure_class` says whose fault that is."""

    def __init__(self, failure_class: str, message: str) -> None:
        super().__init__(message)
        self.failure_class = failure_class


@dataclass
class _Waiting:
    answer: asyncio.Future[pb.CommandResult]


class Session:
    """One attached agent."""

    def __init__(self, hello: pb.Hello, address: str) -> None:
        self.agent = hello.agent
        self.machine_id = hello.machine_id
        self.metrics_url = hello.metrics_url
        self.pid = hello.pid
        self.address = address
        self.lost = asyncio.Event()
        self.heard = time.monotonic()
        self.outbox: asyncio.Queue[pb.AttachResponse | None] = asyncio.Queue()
        self._waiting: dict[str, _Waiting] = {}
        self._count = 0

    @property
    def alive(self) -> bool:
        return not self.lost.is_set()

    async def command(self, verb: Any, *, attempt: str, epoch: int, timeout_ms: int) -> dict[str, Any]:
        """Sends one verb (a message of the contract) and waits for its answer, as parsed JSON.

        The agent enforces `timeout_ms` itself; we wait 3 s longer for it to say so, then take it for lost.
        """
        if not self.alive:
            raise AgentLost(f"agent {self.agent} is gone")
        name = _field(verb)
        self._count += 1
        command = pb.Command(id=f"{attempt}/{name}/{self._count}", attempt=attempt, lease_epoch=epoch, timeout_ms=timeout_ms)
        getattr(command, name).CopyFrom(verb)
        waiting = _Waiting(asyncio.get_running_loop().create_future())
        self._waiting[command.id] = waiting
        self.outbox.put_nowait(pb.AttachResponse(command=command))
        gone = asyncio.ensure_future(self.lost.wait())
        try:
            waited: set[asyncio.Future[Any]] = {waiting.answer, gone}
            await asyncio.wait(waited, timeout=timeout_ms / 1000 + 3, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            self._waiting.pop(command.id, None)
        if not waiting.answer.done():
            what = "was lost" if self.lost.is_set() else f"gave no answer within {timeout_ms / 1000 + 3:g} s"
            raise AgentLost(f"agent {self.agent} {what} during {name}")
        result = waiting.answer.result()
        if not result.ok:
            raise CommandFailed(result.failure_class or "infra", result.message)
        return dict(json.loads(result.result_json or "{}"))

    def answered(self, result: pb.CommandResult) -> None:
        waiting = self._waiting.get(result.id)
        if waiting is not None and not waiting.answer.done():
            waiting.answer.set_result(result)

    def end(self) -> None:
        self.lost.set()
        self.outbox.put_nowait(None)


def _field(verb: Any) -> str:
    for field in pb.Command.DESCRIPTOR.oneofs_by_name["verb"].fields:
        if field.message_type is verb.DESCRIPTOR:
            return str(field.name)
    raise TypeError(f"{type(verb).__name__} is no verb of a command")


class LinkServer(rpc.AgentLinkServiceServicer):
    """Serves AgentLinkService. Set `artifact_path` and offer traces before commands that need them."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(16)
        self.agents: dict[str, Session] = {}
        self.artifact_path: Callable[[str, str, str], Path] | None = None
        self.on_telemetry: Callable[[pb.Telemetry], None] | None = None
        self._traces: dict[str, Path] = {}
        self._changed = asyncio.Event()
        self._server: grpc.aio.Server | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the port. Raises OutOfReach where the address cannot be had."""
        self._server = grpc.aio.server(options=_OPTIONS)
        rpc.add_AgentLinkServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        try:
            bound = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError:
            bound = 0
        if bound == 0:
            raise OutOfReach(f"{host}:{port}: cannot listen there (in use, or not an address of this machine); give another --listen")
        await self._server.start()
        self._watch = asyncio.ensure_future(self._expire())
        return int(bound)

    async def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        for session in list(self.agents.values()):
            session.end()
        if self._server is not None:
            await self._server.stop(grace=0.5)

    def offer_trace(self, sha256: str, path: Path) -> None:
        self._traces[sha256] = path

    async def wait_for(self, count: int, timeout_s: float) -> list[Session]:
        """Returns when so many agents are attached. Raises OutOfReach with how many there are."""
        deadline = time.monotonic() + timeout_s
        while len(self.agents) < count:
            self._changed.clear()
            left = deadline - time.monotonic()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), max(0.01, left))
            if time.monotonic() >= deadline and len(self.agents) < count:
                raise OutOfReach(
                    f"agents: {len(self.agents)} of {count} attached within {timeout_s:g} s; look at the agents' logs, "
                    "and whether they can reach this machine's --listen address"
                )
        return list(self.agents.values())

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            for session in list(self.agents.values()):
                if time.monotonic() - session.heard > LEASE_TTL_MS / 1000:
                    self._drop(session)

    def _drop(self, session: Session) -> None:
        if self.agents.get(session.agent) is session:
            del self.agents[session.agent]
        session.end()
        self._changed.set()

    async def _allow(self, token: str, context: Any) -> None:
        if not hmac.compare_digest(token, self.token):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong token")

    async def Attach(self, requests: AsyncIterator[pb.AttachRequest], context: Any) -> AsyncIterator[pb.AttachResponse]:
        first = await anext(aiter(requests), None)
        if first is None or first.WhichOneof("body") != "hello":
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first message must be Hello")
            return
        await self._allow(first.hello.token, context)
        held = self.agents.get(first.hello.agent)
        if held is not None:
            if held.machine_id != first.hello.machine_id or held.pid != first.hello.pid:
                await context.abort(grpc.StatusCode.ALREADY_EXISTS, f"agent {held.agent} is attached from elsewhere")
            self._drop(held)
        session = Session(first.hello, _host(context.peer()))
        self.agents[session.agent] = session
        self._changed.set()
        reader = asyncio.ensure_future(self._hear(session, requests))
        try:
            yield pb.AttachResponse(welcome=pb.Welcome(lease_ttl_ms=LEASE_TTL_MS, heartbeat_ms=HEARTBEAT_MS))
            while True:
                message = await session.outbox.get()
                if message is None:
                    return
                yield message
        finally:
            reader.cancel()
            self._drop(session)

    async def _hear(self, session: Session, requests: AsyncIterator[pb.AttachRequest]) -> None:
        try:
            async for request in requests:
                session.heard = time.monotonic()
                match request.WhichOneof("body"):
                    case "heartbeat":
                        session.outbox.put_nowait(pb.AttachResponse(ack=pb.HeartbeatAck(seq=request.heartbeat.seq)))
                    case "result":
                        session.answered(request.result)
                    case "telemetry" if self.on_telemetry is not None:
                        self.on_telemetry(request.telemetry)
                    case _:
                        pass
        finally:
            self._drop(session)

    async def SyncClock(self, requests: AsyncIterator[pb.SyncClockRequest], context: Any) -> AsyncIterator[pb.SyncClockResponse]:
        async for probe in requests:
            t2 = time.monotonic_ns()
            yield pb.SyncClockResponse(
                t1_agent_mono_ns=probe.t1_agent_mono_ns,
                t2_controller_mono_ns=t2,
                t3_controller_mono_ns=time.monotonic_ns(),
            )

    async def FetchTrace(self, request: pb.FetchTraceRequest, context: Any) -> AsyncIterator[pb.FetchTraceResponse]:
        await self._allow(request.token, context)
        path = self._traces.get(request.sha256)
        if path is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"trace {request.sha256} is not offered")
            return
        with path.open("rb") as file:
            while data := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                yield pb.FetchTraceResponse(data=data)

    async def PutArtifact(self, requests: AsyncIterator[pb.PutArtifactRequest], context: Any) -> pb.PutArtifactResponse:
        head: pb.PutArtifactRequest | None = None
        data = bytearray()
        async for part in requests:
            if head is None:
                await self._allow(part.token, context)
                head = part
            data += part.data
            if len(data) > _MOST_ARTIFACT_BYTES:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "artifact too large")
        if head is None or self.artifact_path is None:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no artifact is expected now")
            raise AssertionError
        if hashlib.sha256(data).hexdigest() != head.sha256:
            await context.abort(grpc.StatusCode.DATA_LOSS, f"{head.table}: damaged on the way")
        try:
            path = self.artifact_path(head.attempt, head.agent, head.table)
        except InvalidInput as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            raise AssertionError from None
        await asyncio.to_thread(write_whole, path, bytes(data))
        return pb.PutArtifactResponse(bytes=len(data))


def _host(peer: str) -> str:
    """gRPC's peer text ("ipv4:127.0.0.1:4711") as the address that other agents reach the node at."""
    text = peer.partition(":")[2].rpartition(":")[0].strip("[]").replace("%5B", "").replace("%5D", "")
    return text or "127.0.0.1"
