"""Asks a Redis Cluster which server holds which slot, before a replay; during it the engine follows redirections.

<https://redis.io/docs/latest/commands/cluster-slots/>
"""

import socket
from typing import Any

from agent.endpoint import Endpoint
from traces.errors import OutOfReach

SLOTS = 16_384
_TIMEOUT_S = 5.0

Servers = tuple[list[tuple[str, int]], list[int]]
"""Servers, and the place of each slot's server among them."""


def discover(endpoint: Endpoint) -> Servers:
    """Raises OutOfReach, one line, where there is no cluster."""
    where = f"redis://{endpoint.host}:{endpoint.port}"
    try:
        with socket.create_connection((endpoint.host, endpoint.port), _TIMEOUT_S) as peer:
            peer.settimeout(_TIMEOUT_S)
            stream = peer.makefile("rwb")
            if password := endpoint.options.get("password"):
                _say(stream, "AUTH", *filter(None, [endpoint.options.get("user")]), password)
                _read(stream)
            _say(stream, "CLUSTER", "SLOTS")
            ranges = _read(stream)
    except (OSError, ValueError, IndexError) as error:
        raise OutOfReach(f"{where}: CLUSTER SLOTS: {error}; is it a cluster? leave --cluster out for a single server") from None
    servers: list[tuple[str, int]] = []
    places: list[int | None] = [None] * SLOTS
    for first, last, master, *_ in ranges:
        host = master[0].decode() if master[0] else endpoint.host
        server = (host or endpoint.host, int(master[1]))
        if server not in servers:
            servers.append(server)
        places[first : last + 1] = [servers.index(server)] * (last + 1 - first)
    missing = places.count(None)
    if missing:
        raise OutOfReach(f"{where}: {missing} of {SLOTS} slots are served by nobody; wait until the cluster's state is ok")
    return servers, [place for place in places if place is not None]


def _say(stream: Any, *words: str) -> None:
    stream.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w.encode()), w.encode()) for w in words))
    stream.flush()


def _read(stream: Any) -> Any:
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("the connection was closed")
    kind, text = line[:1], line[1:-2]
    if kind == b"-":
        raise ValueError(text.decode(errors="replace"))
    if kind == b":":
        return int(text)
    if kind == b"$":
        return None if text == b"-1" else stream.read(int(text) + 2)[:-2]
    if kind == b"*":
        return [_read(stream) for _ in range(int(text))]
    return text
