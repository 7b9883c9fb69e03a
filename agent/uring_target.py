"""`python -m agent.uring_target --port N`: a small RESP server whose loop waits by io_uring, and by epoll where the kernel refuses it.

A system with a fast path and a way back, so that falling back can be watched: it says in its log which one it took. With `--require` it has
no way back and ends. PING, SET and GET. Not fast: Python. The rings are those of io_uring(7), mapped and read here; one POLL_ADD per wait.
"""

import argparse
import ctypes
import errno
import mmap
import os
import select
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Protocol

_SETUP, _ENTER = 425, 426
_ENTRIES = 64
_GETEVENTS = 1
_POLL_ADD = 6
_SQ_RING, _SQES = 0, 0x10000000
_SINGLE_MMAP = 1
_PARAMS_BYTES, _SQE_BYTES, _CQE_BYTES = 120, 64, 16
_LIBC = ctypes.CDLL(None, use_errno=True)


class Waiter(Protocol):
    def wait(self, fds: Sequence[int]) -> list[int]:
        """Which of these can be read; blocks until one can."""
        ...


class Epoll:
    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._known: set[int] = set()

    def wait(self, fds: Sequence[int]) -> list[int]:
        for fd in self._known - set(fds):
            self._known.discard(fd)  # closed, and so gone from the set by itself
        for fd in set(fds) - self._known:
            self._epoll.register(fd, select.EPOLLIN)
            self._known.add(fd)
        return [fd for fd, _ in self._epoll.poll()]


class IoUring:
    """Raises OSError where the kernel refuses it."""

    def __init__(self) -> None:
        params = ctypes.create_string_buffer(_PARAMS_BYTES)
        self._fd = _LIBC.syscall(_SETUP, _ENTRIES, params)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        sq_entries, cq_entries, _, _, _, features = struct.unpack_from("=6I", params.raw, 0)
        if not features & _SINGLE_MMAP:
            raise OSError(errno.ENOSYS, "one mapping for both rings (Linux 5.4) is not there")
        _, self._sq_tail, self._sq_mask, _, _, _, self._sq_array = struct.unpack_from("=7I", params.raw, 40)
        self._cq_head, self._cq_tail, self._cq_mask, _, _, self._cqes = struct.unpack_from("=6I", params.raw, 80)
        size = max(self._sq_array + 4 * sq_entries, self._cqes + _CQE_BYTES * cq_entries)
        self._ring = mmap.mmap(self._fd, size, offset=_SQ_RING)
        self._sqes = mmap.mmap(self._fd, _SQE_BYTES * sq_entries, offset=_SQES)
        self._asked: set[int] = set()

    def wait(self, fds: Sequence[int]) -> list[int]:
        self._asked &= set(fds)
        new = [fd for fd in fds if fd not in self._asked][:_ENTRIES]
        tail = self._word(self._sq_tail)
        for fd in new:
            at = tail & self._word(self._sq_mask)
            # opcode, flags, ioprio, fd, off, addr, len, poll events, user_data, padding
            sqe = struct.pack("=BBHiQQIIQ24x", _POLL_ADD, 0, 0, fd, 0, 0, 0, select.POLLIN, fd)
            self._sqes[at * _SQE_BYTES : (at + 1) * _SQE_BYTES] = sqe
            self._put(self._sq_array + 4 * at, at)
            tail += 1
        self._put(self._sq_tail, tail)
        self._asked.update(new)
        if _LIBC.syscall(_ENTER, self._fd, len(new), 1, _GETEVENTS, None, 0) < 0 and ctypes.get_errno() != errno.EINTR:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return self._completed()

    def _completed(self) -> list[int]:
        ready = []
        head = self._word(self._cq_head)
        while head != self._word(self._cq_tail):
            at = self._cqes + _CQE_BYTES * (head & self._word(self._cq_mask))
            fd = struct.unpack_from("=Q", self._ring, at)[0]
            if fd in self._asked:  # else of a connection that has been closed meanwhile
                self._asked.discard(fd)
                ready.append(fd)
            head += 1
        self._put(self._cq_head, head)
        return ready

    def _word(self, at: int) -> int:
        return int(struct.unpack_from("=I", self._ring, at)[0])

    def _put(self, at: int, value: int) -> None:
        struct.pack_into("=I", self._ring, at, value & 0xFFFFFFFF)


def waiter(require: bool) -> Waiter:
    """The fast way, or the way back, told in a line. Raises OSError where it is required and refused."""
    try:
        made = IoUring()
        print("waits by io_uring", flush=True)
        return made
    except OSError as error:
        if require:
            raise
        print(f"io_uring is refused ({error.strerror}): falling back to epoll", flush=True)
        return Epoll()


class Store:
    """Answers whole commands in RESP; keeps what of one has come so far."""

    def __init__(self, data: dict[bytes, bytes]) -> None:
        self._data = data
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        self._held += data
        answers = []
        while (command := self._next()) is not None:
            answers.append(self._answer(command))
        return b"".join(answers)

    def _next(self) -> list[bytes] | None:
        lines = self._held.split(b"\r\n", 1)
        if len(lines) < 2 or not lines[0].startswith(b"*"):
            return None
        words, rest = [], lines[1]
        for _ in range(int(lines[0][1:])):
            head, found, rest = rest.partition(b"\r\n")
            size = int(head[1:] or 0) if found else 0
            if not found or len(rest) < size + 2:
                return None
            words.append(rest[:size])
            rest = rest[size + 2 :]
        self._held = rest
        return words

    def _answer(self, words: list[bytes]) -> bytes:
        match words[0].upper(), len(words):
            case b"PING", _:
                return b"+PONG\r\n"
            case b"SET", n if n >= 3:
                self._data[words[1]] = words[2]
                return b"+OK\r\n"
            case b"GET", 2:
                value = self._data.get(words[1])
                return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)
            case _:
                return b"-ERR unknown command\r\n"


def serve(listener: socket.socket, way: Waiter) -> None:
    data: dict[bytes, bytes] = {}
    clients: dict[int, tuple[socket.socket, Store]] = {}
    while True:
        for fd in way.wait([listener.fileno(), *clients]):
            if fd == listener.fileno():
                client, _ = listener.accept()
                clients[client.fileno()] = (client, Store(data))
                continue
            client, store = clients[fd]
            try:
                came = client.recv(1 << 16)
                client.sendall(store.feed(came))
            except OSError:
                came = b""
            if not came:
                del clients[fd]
                client.close()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m agent.uring_target", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--require", action="store_true", help="end where io_uring is refused")
    args = parser.parse_args(argv)
    try:
        way = waiter(args.require)
    except OSError as error:
        print(f"io_uring is refused ({error.strerror}), and nothing else is known here", file=sys.stderr)
        return 1
    serve(socket.create_server(("127.0.0.1", args.port)), way)
    return 0


if __name__ == "__main__":
    sys.exit(main())
