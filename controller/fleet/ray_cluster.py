"""Agents on a Ray cluster: one detached actor per machine, pinned to its node, which supervises the agent process there.

Ray places and starts; commands, data and liveness are the link's. The actor is pinned by node id, because by label alone Ray
restarts it on another machine.
"""

import asyncio
import contextlib
import os
import secrets
from typing import Any

from agent.host import AgentConfig, agent_host_actor
from controller.fleet import FleetOptions
from controller.link import LinkServer
from traces.errors import OutOfReach

_PLACE_S = 60.0
_STOP_S = 15.0
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}


class RayCluster:
    def __init__(self, address: str) -> None:
        self._address = address
        self._actors: list[Any] = []

    async def start(self, link: LinkServer, options: FleetOptions) -> int:
        return await asyncio.to_thread(self._start, link, options)

    def _start(self, link: LinkServer, options: FleetOptions) -> int:
        os.environ.update(_QUIET)
        import ray

        try:
            ray.init(address=self._address, namespace="offspec", log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            raise OutOfReach(f"Ray at {self._address}: {str(error).splitlines()[0]}; is the cluster up?") from None
        actor = agent_host_actor()
        nodes = [n for n in ray.nodes() if n["Alive"]]
        run = secrets.token_hex(3)
        waiting = []
        for node in nodes:
            name = node["NodeName"] if len(nodes) > 1 else "local"
            host = actor.options(
                name=f"agenthost:{run}:{node['NodeID']}",
                label_selector={"ray.io/node-id": node["NodeID"]},
            ).remote()
            self._actors.append(host)
            config = AgentConfig(
                controller=options.address,
                name=name,
                token=link.token,
                state_dir=str(options.state_dir),
                log=str(options.log_dir / f"agent-{name}.log"),
                cores=options.housekeeping,
            )
            waiting.append(host.ensure.remote(config))
        try:
            ray.get(waiting, timeout=_PLACE_S)
        except ray.exceptions.RayError as error:
            raise OutOfReach(f"Ray at {self._address}: an agent could not be started: {str(error).splitlines()[-1]}") from None
        return len(nodes)

    async def stop(self) -> None:
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        import ray

        if not ray.is_initialized():
            return
        with contextlib.suppress(ray.exceptions.RayError):  # a host that is gone has nothing left to stop
            ray.get([host.stop.remote(_STOP_S) for host in self._actors], timeout=_STOP_S + 5)
        for host in self._actors:
            ray.kill(host)
        self._actors = []
        ray.shutdown()
