"""A Ray of our own on this machine, for as long as this controller lives.

It runs under `keeper.py`, a process that outlives a killed controller just long enough to remove every trace of it.
"""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from controller.fleet import FleetOptions
from controller.fleet.ray_cluster import RayCluster
from controller.link import LinkServer
from traces.errors import OutOfReach, PreflightFailed

_KEEPER = Path(__file__).with_name("keeper.py")
_UP_S = 60.0
_DOWN_S = 20.0


class Embedded:
    def __init__(self) -> None:
        self._keeper: subprocess.Popen[bytes] | None = None
        self._cluster: RayCluster | None = None
        self._state_dir = Path()
        self._watch: asyncio.Task[None] | None = None

    async def start(self, link: LinkServer, options: FleetOptions) -> int:
        self._state_dir = options.state_dir
        log = (options.log_dir / "ray.log").open("wb")
        with log:
            self._keeper = subprocess.Popen(
                [
                    sys.executable,
                    str(_KEEPER),
                    json.dumps({"state_dir": str(options.state_dir), "cores": options.housekeeping}),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        keeper = self._keeper
        self._watch = asyncio.ensure_future(self._clean_after(keeper))
        assert keeper.stdout is not None
        try:
            line = await asyncio.wait_for(asyncio.to_thread(keeper.stdout.readline), _UP_S)
        except TimeoutError:
            line = b""
        if not line:
            raise OutOfReach(f"the embedded Ray did not start; look at {options.log_dir / 'ray.log'}")
        said = json.loads(line)
        if "error" in said:
            raise PreflightFailed(said["error"])
        self._cluster = RayCluster(said["address"])
        return await self._cluster.start(link, options)

    async def _clean_after(self, keeper: "subprocess.Popen[bytes]") -> None:
        """When the keeper was killed, at once: a driver whose GCS is gone is ended by Ray itself, and then cleans nothing."""
        if await asyncio.to_thread(keeper.wait) < 0:
            await asyncio.to_thread(self._clean)

    def _clean(self) -> None:
        """Should the keeper's guard and heir have been killed with it, nobody else does."""
        subprocess.run([sys.executable, str(_KEEPER), json.dumps({"state_dir": str(self._state_dir), "clean": True})], timeout=_DOWN_S)

    async def stop(self) -> None:
        try:
            if self._cluster is not None:
                await self._cluster.stop()
        finally:
            if self._keeper is not None and self._keeper.stdin is not None:
                self._keeper.stdin.close()
                if self._watch is not None:
                    await asyncio.wait({self._watch}, timeout=2 * _DOWN_S)
