"""What a child takes from itself before it becomes the program: system calls, huge pages, its share of time, mounts. Standard library only.

All of it lies in the process, is inherited by its children, and ends with them: there is nothing to undo. Loaded by agent/launcher.py
inside the child, where the rest of the project is not.
"""

import ctypes
import fcntl
import os
import platform
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_THP_DISABLE = 41
_CLONE_NEWTIME = 0x80
_SET_MEMPOLICY = {"x86_64": 238, "aarch64": 237}
_MPOL_BIND = 2
_CLONE_NEWNET = 0x40000000
_CLONE_NEWNS = 0x00020000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_IO_URING = (425, 426, 427)
"""io_uring_setup, io_uring_enter, io_uring_register: the same numbers on every architecture."""
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_* of linux/audit.h."""
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


class Unable(Exception):
    """The kernel does not do it here; str() says why."""


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        raise Unable(f"{what}: {os.strerror(ctypes.get_errno())}")


def refuse_system_calls(numbers: Sequence[int], errno: int) -> None:
    """A seccomp filter: these calls fail with `errno`, all others go through (seccomp(2))."""
    arch = _ARCHITECTURES.get(platform.machine())
    if arch is None:
        raise Unable(f"seccomp: not written for {platform.machine()}")
    # Calls of another architecture (32-bit programs) have other numbers: they go through.
    program = [(_LOAD, 0, 0, 4), (_JUMP_EQUAL, 0, len(numbers) + 1, arch), (_LOAD, 0, 0, 0)]
    program += [(_JUMP_EQUAL, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    program += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _ERRNO | errno)]
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    held = ctypes.create_string_buffer(code, len(code))
    whole = struct.pack("@HP", len(program), ctypes.addressof(held))
    libc = _libc()
    # Root needs no promise to gain no privileges, and setuid programs below the child then go on working.
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, whole) != 0:
        _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
        _checked(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, whole), "seccomp")


def no_io_uring(errno: int) -> None:
    refuse_system_calls(_IO_URING, errno)


def no_huge_pages() -> None:
    """No transparent huge pages (PR_SET_THP_DISABLE, inherited over fork and execve)."""
    _checked(_libc().prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0), "THP_DISABLE")


def shift_clocks(offset_s: int) -> None:
    """Monotonic and boot clocks run this far ahead, in a time namespace that the program is the first in (time_namespaces(7))."""
    _checked(_libc().unshare(_CLONE_NEWTIME), "time namespace")
    try:
        Path("/proc/self/timens_offsets").write_text(f"monotonic {offset_s} 0\nboottime {offset_s} 0\n")
    except OSError as error:
        raise Unable(f"timens_offsets: {error.strerror}") from None


def own_network() -> None:
    """A network namespace that nobody else is in, with its loopback up (network_namespaces(7), netdevice(7))."""
    _checked(_libc().unshare(_CLONE_NEWNET), "network namespace")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            flags = struct.unpack_from("=H", fcntl.ioctl(asking, _SIOCGIFFLAGS, struct.pack("=16s24x", b"lo")), 16)[0]
            fcntl.ioctl(asking, _SIOCSIFFLAGS, struct.pack("=16sH22x", b"lo", flags | _IFF_UP))
    except OSError as error:
        raise Unable(f"loopback of its own: {error.strerror}") from None


def bind_memory(node: int) -> None:
    """Memory of this process and its children comes from one NUMA node alone (set_mempolicy(2), MPOL_BIND)."""
    number = _SET_MEMPOLICY.get(platform.machine())
    if number is None:
        raise Unable(f"memory of node {node}: not written for {platform.machine()}")
    words = (ctypes.c_ulong * (node // 64 + 1))()
    words[node // 64] = 1 << node % 64
    # The kernel takes one off the number of bits that it is told (get_nodes in mm/mempolicy.c).
    _checked(_libc().syscall(number, _MPOL_BIND, words, len(words) * 64 + 1), f"memory of node {node}")


def join_mounts(pid: int, folder: str) -> None:
    """The mounts that a process of ours sees (mount_namespaces(7)), and this folder among them as the one to work in."""
    try:
        held = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Unable(f"mounts of process {pid}: {error.strerror}") from None
    _checked(_libc().setns(held, _CLONE_NEWNS), f"mounts of process {pid}")
    os.close(held)
    try:
        os.chdir(folder)  # setns(2) has left it at the root
    except OSError as error:
        raise Unable(f"{folder}: {error.strerror}") from None


STEPS: Mapping[str, Callable[..., None]] = {
    "no-io-uring": no_io_uring,
    "no-huge-pages": no_huge_pages,
    "shift-clocks": shift_clocks,
    "own-network": own_network,
    "bind-memory": bind_memory,
    "join-mounts": join_mounts,
}


def take(steps: Sequence[Mapping[str, Any]]) -> None:
    """Each {"step": name, its arguments}, in order. Raises Unable."""
    for step in steps:
        arguments = {name: value for name, value in step.items() if name != "step"}
        STEPS[step["step"]](**arguments)
