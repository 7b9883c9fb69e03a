"""A relay that does one thing wrong to what a real server answers: `python odd_relay.py PORT BEHAVIOUR` prints its own port.

It knows no protocol, so the same faults come to every driver over TCP: from the eighth piece of answers on, on each connection.
Runs until its standard input closes.
"""

import contextlib
import os
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

PIECES_BEFORE_FAULT = 7
GARBAGE = b"\x00\xffnot a protocol\r\n\r\n" * 20
RESET = struct.pack("ii", 1, 0)


class Fault(Exception):
    """The connection is over."""


def _stall(client: socket.socket, piece: bytes) -> None:
    threading.Event().wait()


def _close(client: socket.socket, piece: bytes) -> None:
    raise Fault


def _halve(client: socket.socket, piece: bytes) -> None:
    client.sendall(piece[: len(piece) // 2])
    raise Fault


def _reset(client: socket.socket, piece: bytes) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    raise Fault


def _crumble(client: socket.socket, piece: bytes) -> None:
    for at in range(len(piece)):
        client.sendall(piece[at : at + 1])


def _pause(client: socket.socket, piece: bytes) -> None:
    time.sleep(0.005)
    client.sendall(piece)


FAULTS: dict[str, Callable[[socket.socket, bytes], None]] = {
    "well": lambda client, piece: client.sendall(piece),
    "slow": _pause,
    "stalled": _stall,
    "closing": _close,
    "halved": _halve,
    "reset": _reset,
    "crumbled": _crumble,
    "garbage": lambda client, piece: client.sendall(GARBAGE),
    "doubled": lambda client, piece: client.sendall(piece * 2),
    "cut": lambda client, piece: client.sendall(piece[1:]),
}


def main(port: str, behaviour: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    fault = FAULTS[behaviour]

    def serve(client: socket.socket, server: socket.socket) -> None:
        # One thread for both ways: a socket that another thread reads is not closed by `close`.
        pieces = 0
        with client, server, contextlib.suppress(OSError, Fault):
            while True:
                readable, _, _ = select.select([client, server], [], [])
                for source in readable:
                    piece = source.recv(65536)
                    if not piece:
                        return
                    pieces += source is server
                    if source is client:
                        server.sendall(piece)
                    elif pieces <= PIECES_BEFORE_FAULT:
                        client.sendall(piece)
                    else:
                        fault(client, piece)

    def accept() -> None:
        while True:
            client, _ = listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                server = socket.create_connection(("127.0.0.1", int(port)))
            except OSError:
                client.close()
                continue
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(client, server), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
