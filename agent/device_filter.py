"""Device files that the processes of one cgroup may not open: by an eBPF program on it (v2), or by its devices.deny (v1).

Either lies on a cgroup of our own and ends with it. Opening then fails with EPERM, whoever asks and by whatever library; what was open
before stays open. Sources: bpf(2); Documentation/admin-guide/cgroup-v2.rst, "Device controller"; cgroup-v1/devices.rst;
include/uapi/linux/bpf.h (struct bpf_cgroup_dev_ctx).
"""

import ctypes
import os
import platform
import stat
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

Number = tuple[int, int]
"""(major, minor) of a character device."""

_BPF = {"x86_64": 321, "aarch64": 280}
_PROG_LOAD, _PROG_ATTACH = 5, 8
_CGROUP_DEVICE_PROGRAM, _CGROUP_DEVICE, _ALLOW_MULTI = 15, 6, 2
_CHARACTER = 2
"""BPF_DEVCG_DEV_CHAR, in the lower half of access_type."""
_LOAD_WORD, _AND, _JUMP_IF, _JUMP_IF_NOT, _MOVE, _EXIT = 0x61, 0x54, 0x15, 0x55, 0xB7, 0x95
_R0, _R1, _MAJOR, _MINOR, _TYPE = range(5)
_ACCESS_AT, _MAJOR_AT, _MINOR_AT = 0, 4, 8


def numbers(paths: Iterable[Path]) -> tuple[Number, ...]:
    """Those of the files that are character devices."""
    found = []
    for path in paths:
        try:
            seen = path.stat()
        except OSError:
            continue  # gone since it was listed
        if stat.S_ISCHR(seen.st_mode):
            found.append((os.major(seen.st_rdev), os.minor(seen.st_rdev)))
    return tuple(sorted(set(found)))


def program(denied: Sequence[Number]) -> bytes:
    """eBPF: 0 (EPERM) for these character devices, 1 for all else."""
    lines = [
        _line(_LOAD_WORD, _MAJOR, _R1, _MAJOR_AT),
        _line(_LOAD_WORD, _MINOR, _R1, _MINOR_AT),
        _line(_LOAD_WORD, _TYPE, _R1, _ACCESS_AT),
        _line(_AND, _TYPE, imm=0xFFFF),
        _line(_JUMP_IF_NOT, _TYPE, offset=2 * len(denied), imm=_CHARACTER),
    ]
    for at, (major, minor) in enumerate(denied):
        to_deny = 2 * (len(denied) - at - 1) + 2  # past the other pairs and the two lines that allow
        lines += [_line(_JUMP_IF_NOT, _MAJOR, offset=1, imm=major), _line(_JUMP_IF, _MINOR, offset=to_deny, imm=minor)]
    lines += [_line(_MOVE, _R0, imm=1), _line(_EXIT), _line(_MOVE, _R0, imm=0), _line(_EXIT)]
    return b"".join(lines)


def _line(code: int, to: int = 0, source: int = 0, offset: int = 0, imm: int = 0) -> bytes:
    return struct.pack("=BBhi", code, source << 4 | to, offset, imm)


def _bpf(command: int, attributes: bytes) -> int:
    """Raises OSError."""
    number = _BPF.get(platform.machine())
    if number is None:
        raise OSError(f"bpf(2): not written for {platform.machine()}")
    held = ctypes.create_string_buffer(attributes, len(attributes))
    result = int(ctypes.CDLL(None, use_errno=True).syscall(number, command, held, len(attributes)))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _load(denied: Sequence[Number]) -> int:
    code, licence = program(denied), b"GPL\0"
    code_at, licence_at = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(licence)
    begin = (_CGROUP_DEVICE_PROGRAM, len(code) // 8, ctypes.addressof(code_at), ctypes.addressof(licence_at))
    return _bpf(_PROG_LOAD, struct.pack("=IIQQIIQ", *begin, 0, 0, 0))


def why_no_program() -> str | None:
    """Why the kernel takes no such program of ours, in words; tried without attaching it to anything."""
    try:
        os.close(_load([(0, 0)]))
    except OSError as error:
        return f"bpf: {error.strerror or error}"
    return None


def deny_by_program(group: Path, denied: Sequence[Number]) -> None:
    """On a directory of a cgroup v2 hierarchy. Raises OSError."""
    loaded = _load(denied)
    try:
        target = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _bpf(_PROG_ATTACH, struct.pack("=IIII", target, loaded, _CGROUP_DEVICE, _ALLOW_MULTI))
        finally:
            os.close(target)
    finally:
        os.close(loaded)  # the cgroup holds it from now on


def deny_by_list(group: Path, denied: Sequence[Number]) -> None:
    """On a directory of the v1 devices hierarchy. Raises OSError."""
    for major, minor in denied:
        (group / "devices.deny").write_text(f"c {major}:{minor} rwm")
