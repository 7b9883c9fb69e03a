"""A UDP echo that does one thing wrong: `python odd_datagrams.py BEHAVIOUR` prints its port. Runs until its standard input closes."""

import os
import socket
import sys
import threading

GARBAGE = (b"", b"short", b"\xff" * 64)


def serve(port: socket.socket, behaviour: str) -> None:
    held: tuple[bytes, object] | None = None
    seen = 0
    while True:
        piece, peer = port.recvfrom(65536)
        seen += 1
        if behaviour == "lost" and seen % 3 == 0:
            continue
        if behaviour == "reordered":
            if held is None:
                held = (piece, peer)
                continue
            port.sendto(piece, peer)
            piece, peer, held = *held, None
        port.sendto(piece, peer)
        if behaviour == "doubled":
            port.sendto(piece, peer)
        if behaviour == "garbage":
            for junk in GARBAGE:
                port.sendto(junk, peer)


def main(behaviour: str) -> None:
    port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    port.bind(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(port, behaviour), daemon=True).start()
    print(port.getsockname()[1], flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
