"""The steps of one attempt, in order, each with its deadline and its two rows in the journal.

    deploy -> ready -> preload -> violate -> verify dose -> arm -> start (warm up, measure, drain) -> finish -> undo -> teardown

`clean_up` is what must happen however the attempt ended; it asks only what is still needed and reports what it could not do.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from controller.campaign import Campaign
from controller.journal import Journal
from controller.link import AgentLost, CommandFailed, LinkServer
from controller.plan import Trial
from controller.progress import Progress
from protos.offspec.v1 import agent_link_pb2 as pb
from protos.violations import CATALOGUE
from traces.compile import Compiled

T = TypeVar("T")

_DEPLOY_MS, _PRELOAD_MS, _VIOLATE_MS, _ARM_MS, _START_MS, _UNDO_MS, _TEARDOWN_MS = (
    30_000, 300_000, 90_000, 60_000, 5_000, 15_000, 20_000,
)  # fmt: skip
_FINISH_SLACK_MS = 30_000
_VERIFY_MS = 1_000
_READY_SLACK_MS = 2_000
_LEAD_NS = 1_000_000_000
"""Agents get T0 this long ahead: a message must never be in the critical path of a start."""


@dataclass
class Gathered:
    """What an attempt has brought so far; becomes its record whatever stops it."""

    step: str = ""
    deployed: dict[str, Any] = field(default_factory=dict)
    ready: dict[str, Any] = field(default_factory=dict)
    preloaded: dict[str, dict[str, Any]] = field(default_factory=dict)
    applied: list[dict[str, Any]] = field(default_factory=list)
    verified: list[dict[str, Any]] = field(default_factory=list)
    started: dict[str, dict[str, Any]] = field(default_factory=dict)
    finished: dict[str, dict[str, Any]] = field(default_factory=dict)
    undone: dict[str, Any] = field(default_factory=dict)
    not_cleaned: list[str] = field(default_factory=list)
    cleanup: dict[str, dict[str, Any]] = field(default_factory=dict)
    t0_mono_ns: int | None = None
    failure_class: str | None = None
    failure: str | None = None


class Steps:
    """The verbs of one attempt, bound to its agents. `got` is filled as they answer."""

    def __init__(
        self,
        *,
        campaign: Campaign,
        trial: Trial,
        workload: Compiled,
        link: LinkServer,
        journal: Journal,
        progress: Progress,
        key: str,
        number: int,
        epoch: int,
    ) -> None:
        self._campaign = campaign
        self._trial = trial
        self._workload = workload
        self._link = link
        self._journal = journal
        self._progress = progress
        self._number = number
        self._epoch = epoch
        self._touched: set[str] = set()
        self.key = key
        self.got = Gathered()

    async def all(self) -> None:
        """Raises CommandFailed or AgentLost at the first step that fails; `got.step` says which."""
        trial, got = self._trial, self.got
        target = trial.target_agent
        got.deployed = await self._step("deploy", self._ask(target, self._deploy(), _DEPLOY_MS))
        got.applied += got.deployed["mechanisms"]
        ready_ms = self._campaign.system.ready.timeout_ms + _READY_SLACK_MS
        got.ready = await self._step("ready", self._ask(target, self._await_ready(), ready_ms))
        if self._campaign.workload.preload:
            got.preloaded = await self._step("preload", self._each_load(self._preload, _PRELOAD_MS))
        orders = self._orders("violate")
        if orders:
            answer = await self._step("violate", self._ask(target, pb.Violate(violations=orders), _VIOLATE_MS))
            got.applied += answer["applied"]
            # A violation of the network stands between: the load goes by it, whatever was stored before went directly.
            got.deployed["port"] = answer["port"]
        if orders or self._orders("deploy"):
            watch = pb.VerifyDose(window_ms=_VERIFY_MS)
            answer = await self._step("verify dose", self._ask(target, watch, _VERIFY_MS + _VIOLATE_MS))
            got.verified = answer["readings"]
        await self._step("arm", self._each_load(self._arm, _ARM_MS))
        await self._step("start", self._start())
        got.finished = await self._step("measure", self._finish())

    async def clean_up(self) -> None:
        """Undoes the violations and ends the system on every agent that was asked anything; never raises."""
        for name, verb, timeout_ms in (
            ("undo", pb.Undo(), _UNDO_MS),
            ("teardown", pb.Teardown(), _TEARDOWN_MS),
        ):
            self._begin(name)
            for agent in sorted(self._touched):
                try:
                    answer = await self._ask(agent, verb, timeout_ms)
                    if name == "undo":
                        self.got.undone[agent] = answer
                    self.got.not_cleaned += [f"{agent}: {left}" for left in answer.get("leftovers", [])]
                    if "cleanup" in answer:
                        self.got.cleanup[agent] = answer["cleanup"]
                except AgentLost:
                    # Its guard undoes by itself when the lease ends; there is nobody here to ask.
                    self.got.cleanup[agent] = {"verdict": "unknown", "left": [], "changed": []}
                except CommandFailed as error:
                    self.got.not_cleaned.append(f"{agent}: {name}: {error}")
            self._journal.step(self._trial.id, self._number, name, "done")

    async def _step(self, name: str, work: Awaitable[T]) -> T:
        self.got.step = name
        self._begin(name)
        self._progress.phase(name)
        try:
            answer = await work
        except BaseException:
            self._journal.step(self._trial.id, self._number, name, "failed")
            raise
        self._journal.step(self._trial.id, self._number, name, "done")
        return answer

    def _begin(self, name: str) -> None:
        self._journal.step(self._trial.id, self._number, name, "begun")

    async def _ask(self, agent: str, verb: Any, timeout_ms: int) -> dict[str, Any]:
        session = self._link.agents.get(agent)
        if session is None or not session.alive:
            raise AgentLost(f"agent {agent} is not attached")
        self._touched.add(agent)
        return await session.command(verb, attempt=self.key, epoch=self._epoch, timeout_ms=timeout_ms)

    async def _each_load(self, verb: Callable[[int], Any], timeout_ms: int) -> dict[str, dict[str, Any]]:
        agents = self._trial.load_agents
        asked = (self._ask(agent, verb(shard), timeout_ms) for shard, agent in enumerate(agents))
        return dict(zip(agents, await asyncio.gather(*asked), strict=True))

    async def _start(self) -> None:
        """T0 is absolute, on this process's clock; each agent converts it by the offset that it measured."""
        phases = self._campaign.phases
        self.got.t0_mono_ns = time.monotonic_ns() + _LEAD_NS
        start = pb.Start(t0_controller_mono_ns=self.got.t0_mono_ns, warmup_s=phases.warmup_s, measure_s=phases.measure_s)
        asked = (self._ask(agent, start, _START_MS) for agent in self._everyone())
        self.got.started = dict(zip(self._everyone(), await asyncio.gather(*asked), strict=True))

    async def _finish(self) -> dict[str, dict[str, Any]]:
        phases = self._campaign.phases
        timeout_ms = (phases.warmup_s + phases.measure_s) * 1000 + phases.drain_ms + _FINISH_SLACK_MS
        asked = (self._ask(agent, pb.Finish(), timeout_ms) for agent in self._everyone())
        return dict(zip(self._everyone(), await asyncio.gather(*asked), strict=True))

    def _everyone(self) -> list[str]:
        return list(dict.fromkeys((*self._trial.load_agents, self._trial.target_agent)))

    def _orders(self, stage: str) -> list[pb.ViolationOrder]:
        trial = self._trial
        load_cores = list(trial.load_cores) if trial.target_agent in trial.load_agents else []
        return [
            pb.ViolationOrder(
                name=v.name,
                dose=v.dose,
                options=dict(v.options),
                target_cores=list(trial.target_cores),
                profile_json=v.profile,
                load_cores=load_cores,
            )
            for v in self._trial.violations
            if CATALOGUE[v.name].stage == stage
        ]

    def _deploy(self) -> pb.Deploy:
        system, variant = self._campaign.system, self._campaign.variant(self._trial.variant)
        return pb.Deploy(
            system=self._campaign.system_name,
            variant=self._trial.variant,
            command=list(variant.command),
            env=dict(variant.env),
            files=dict(variant.files),
            cores=list(self._trial.target_cores),
            pin=variant.pin,
            port=variant.port or system.port or 0,
            violations=self._orders("deploy"),
        )

    def _await_ready(self) -> pb.AwaitReady:
        system = self._campaign.system
        return pb.AwaitReady(probe=system.ready.probe, path=system.path, timeout_ms=system.ready.timeout_ms)

    def _endpoint(self) -> pb.Endpoint:
        system = self._campaign.system
        host = self._link.agents[self._trial.target_agent].address
        port = self.got.deployed["port"]
        options = {name: text.replace("{host}", host).replace("{port}", str(port)) for name, text in system.options.items()}
        return pb.Endpoint(driver=system.driver, host=host, port=port, path=system.path, options=options, tls=system.tls or "")

    def _trace(self, shard: int) -> pb.TraceRef:
        made = self._workload
        return pb.TraceRef(
            sha256=made.sha256,
            rows=made.rows,
            bytes=made.bytes,
            shard=shard,
            shards=len(self._trial.load_agents),
        )

    def _preload(self, shard: int) -> pb.Preload:
        return pb.Preload(trace=self._trace(shard), endpoint=self._endpoint(), cores=list(self._trial.load_cores))

    def _arm(self, shard: int) -> pb.Arm:
        workload, phases = self._campaign.workload, self._campaign.phases
        return pb.Arm(
            trace=self._trace(shard),
            endpoint=self._endpoint(),
            cores=list(self._trial.load_cores),
            connections=workload.connections,
            timeout_ms=workload.timeout_ms,
            late=workload.late,
            warmup_s=phases.warmup_s,
            measure_s=phases.measure_s,
            drain_ms=phases.drain_ms,
            gate_achieved=self._campaign.gates.achieved.value,
            gate_slip_p99_ns=round(self._campaign.gates.slip_p99.value * 1000),
            gate_steal=self._campaign.gates.steal.value,
        )
