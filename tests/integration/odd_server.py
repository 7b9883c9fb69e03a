"""Servers that do one thing wrong: `python odd_server.py PROTOCOL BEHAVIOUR` prints its port.

Protocols redis, http and tcp, as far as the engine's requests go. Runs until its standard input closes.
"""

import contextlib
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

BEHAVIOURS = (
    "well",
    "slow",
    "stalled",
    "deaf",
    "closing",
    "parting",
    "garbage",
    "reset",
    "halved",
    "failing",
)
ANSWERS_BEFORE_FAULT = 7

Take = Callable[[bytearray], bytes | None]


def take_redis(data: bytearray) -> bytes | None:
    """Removes one whole command and returns what Redis would answer."""
    try:
        end = data.index(b"\r\n")
        at = end + 2
        words = []
        for _ in range(int(data[1:end])):
            end = data.index(b"\r\n", at)
            size = int(data[at + 1 : end])
            words.append(bytes(data[end + 2 : end + 2 + size]))
            at = end + 2 + size + 2
    except ValueError:
        return None
    if at > len(data):
        return None
    del data[:at]
    return {b"GET": b"$3\r\nabc\r\n", b"SET": b"+OK\r\n"}.get(words[0], b":1\r\n")


def take_http(data: bytearray) -> bytes | None:
    head, found, _ = bytes(data).partition(b"\r\n\r\n")
    if not found:
        return None
    body = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            body = int(value)
    if len(data) < len(head) + 4 + body:
        return None
    del data[: len(head) + 4 + body]
    return b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def take_tcp(data: bytearray) -> bytes | None:
    if not data:
        return None
    echo = bytes(data)
    data.clear()
    return echo


TAKE: dict[str, Take] = {"redis": take_redis, "http": take_http, "tcp": take_tcp}
FAILURE = {"redis": b"-ERR out of order\r\n", "http": b"HTTP/1.1 503 no\r\nContent-Length: 0\r\n\r\n"}
GARBAGE = b"\x00\xffnot a protocol\r\n\r\n" * 20


def serve(peer: socket.socket, protocol: str, behaviour: str) -> None:
    data = bytearray()
    answered = 0
    if behaviour == "deaf":
        threading.Event().wait()
    while piece := peer.recv(65536):
        if behaviour == "stalled":
            continue
        data += piece
        while (answer := TAKE[protocol](data)) is not None:
            faulty = answered >= ANSWERS_BEFORE_FAULT
            if behaviour == "slow":
                time.sleep(0.005)
            elif behaviour == "failing" and faulty:
                answer = FAILURE.get(protocol, answer)
            elif behaviour == "parting" and answered % ANSWERS_BEFORE_FAULT == ANSWERS_BEFORE_FAULT - 1:
                peer.sendall(answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
                return
            elif behaviour == "closing" and faulty:
                return
            elif behaviour == "reset" and faulty:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            elif behaviour == "halved" and faulty:
                peer.sendall(answer[: len(answer) // 2])
                return
            elif behaviour == "garbage" and faulty:
                answer = GARBAGE
            peer.sendall(answer)
            answered += 1


def main(protocol: str, behaviour: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    if behaviour == "deaf":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def handle(peer: socket.socket) -> None:
        with peer, contextlib.suppress(ConnectionError):
            serve(peer, protocol, behaviour)

    def accept() -> None:
        while True:
            peer, _ = listener.accept()
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=handle, args=(peer,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
