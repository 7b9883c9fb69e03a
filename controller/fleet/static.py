"""Agents that somebody starts by hand (or systemd does): says how, and waits for them."""

import sys

from controller.fleet import FleetOptions
from controller.link import LinkServer


class Static:
    def __init__(self, count: int) -> None:
        self._count = count

    async def start(self, link: LinkServer, options: FleetOptions) -> int:
        token = options.log_dir / "agent-token"
        token.touch(mode=0o600)
        token.write_text(link.token)
        print(
            f"waiting for {self._count} agents; on each node: python -m agent --controller {options.address} "
            f"--name NAME --token-file {token}",
            file=sys.stderr,
            flush=True,
        )
        return self._count

    async def stop(self) -> None:
        """They are not ours to end: they undo everything when the link closes, and wait for the next controller."""
