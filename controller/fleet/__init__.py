"""Where agents come from: an embedded Ray on this machine, a given Ray cluster, or people who start them by hand."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from controller.link import LinkServer
from traces.errors import UsageError


@dataclass(frozen=True)
class FleetOptions:
    """What every fleet must know: where agents dial, where they keep their state, which cores are not for measuring."""

    address: str
    state_dir: Path
    log_dir: Path
    housekeeping: tuple[int, ...] = ()


class Fleet(Protocol):
    async def start(self, link: LinkServer, options: FleetOptions) -> int:
        """Brings the agents up; returns how many will attach. Raises OutOfReach, one line."""
        ...

    async def stop(self) -> None:
        """Ends what it started; nothing of it is left when this returns."""
        ...


def make_fleet(mode: str) -> Fleet:
    """embedded | ray[:ADDRESS] | static:N. Raises UsageError."""
    from controller.fleet.embedded import Embedded
    from controller.fleet.ray_cluster import RayCluster
    from controller.fleet.static import Static

    name, _, rest = mode.partition(":")
    if name == "embedded" and not rest:
        return Embedded()
    if name == "ray":
        return RayCluster(rest or "auto")
    if name == "static" and rest.isdigit() and int(rest) > 0:
        return Static(int(rest))
    raise UsageError(f"--fleet {mode}: expected embedded, ray, ray:ADDRESS or static:N")
