"""Is a system ready? One quick look by each protocol; never waits long, never raises for a system that is not there yet."""

import socket

_TIMEOUT_S = 0.5


def answers(probe: str, host: str, port: int, path: str = "/") -> bool:
    """ping: PONG (or an error in RESP) to PING; http: a status below 500; tcp: a connect."""
    try:
        with socket.create_connection((host, port), _TIMEOUT_S) as link:
            link.settimeout(_TIMEOUT_S)
            if probe == "tcp":
                return True
            if probe == "ping":
                link.sendall(b"*1\r\n$4\r\nPING\r\n")
                return link.recv(64).startswith(b"+PONG")
            request = f"GET {path or '/'} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            link.sendall(request.encode())
            words = link.recv(64).split()
            return len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1].isdigit() and int(words[1]) < 500
    except OSError:
        return False
