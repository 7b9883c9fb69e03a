"""`python -m agent.relay ways ORDER`, or `trips ORDER`: the process that stands between load and system, and the one that proves what it
adds. ORDER is a JSON object, as agent.detour makes it. Each ends on SIGTERM or SIGINT; the work is the engine's.
"""

import argparse
import json
import mmap
import socket
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.targets import stop_descriptor

PORTS_AT = 3 * 8
"""Where in the relay's page the ports stand, as two numbers of 64 bits: of what is held back, and of the way to the echo."""
_BACKLOG = 1024
_SAME_PORT_TRIES = 20
_LOOK_S = 0.005


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m agent.relay", description=__doc__)
    parser.add_argument("kind", choices=["ways", "trips"])
    parser.add_argument("order", type=json.loads)
    args = parser.parse_args(argv)
    try:
        (_ways if args.kind == "ways" else _trips)(args.order, stop_descriptor(until_stdin_closes=False))
    except (OSError, ValueError) as error:
        print(error.strerror if isinstance(error, OSError) and error.strerror else error, file=sys.stderr)
        return 1
    return 0


def listening(host: str, port: int = 0) -> socket.socket:
    """A stream that listens. Raises OSError."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.bind((host, port))
    made.listen(_BACKLOG)
    return made


def both(host: str) -> tuple[socket.socket, socket.socket]:
    """A listening stream and a datagram socket of one number. Raises OSError."""
    for left in reversed(range(_SAME_PORT_TRIES)):
        stream = listening(host)
        datagrams = socket.socket(stream.family, socket.SOCK_DGRAM)
        try:
            datagrams.bind((host, stream.getsockname()[1]))
            return stream, datagrams
        except OSError:
            stream.close()
            datagrams.close()
            if not left:
                raise
    raise AssertionError


def _ways(order: Mapping[str, Any], stop_fd: int) -> None:
    from agent import _engine

    stream, datagrams = both(order["listen"])
    to_echo = listening("127.0.0.1")
    with Path(order["page_path"]).open("r+b") as file, mmap.mmap(file.fileno(), 0) as page:
        page[PORTS_AT : PORTS_AT + 16] = struct.pack("=QQ", stream.getsockname()[1], to_echo.getsockname()[1])
    host, port = order["onward"]
    _engine.relay_ways(
        routes=[
            (stream.detach(), datagrams.detach(), host, port, True),
            # Of packets that are lost no round trip is to tell.
            (to_echo.detach(), -1, "127.0.0.1", order["echo_port"], not order.get("lost")),
        ],
        page_path=order["page_path"],
        stop_fd=stop_fd,
        lost=order.get("lost", 0.0),
    )


def _trips(order: Mapping[str, Any], stop_fd: int) -> None:
    from agent import _engine

    def await_way() -> tuple[str, int]:
        told = Path(order["way_path"])
        while not told.exists():
            time.sleep(_LOOK_S)
        return "127.0.0.1", int(told.read_text())

    _engine.measure_round_trips(page_path=order["page_path"], every_us=order["every_us"], await_way=await_way, stop_fd=stop_fd)


if __name__ == "__main__":
    sys.exit(main())
