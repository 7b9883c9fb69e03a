"""Swap areas of this machine: which there are, and one more in a file of ours, recorded with the guard before it is made.

Sources: swapon(2), mkswap(8), the kernel's union swap_header (include/linux/swap.h), proc_swaps(5).
"""

import ctypes
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from agent import storage
from agent.ledger import Ledger
from agent.marks import TEMPORARY
from agent.undo import swaps
from traces.errors import PreflightFailed

_HOLDS_FILES = ("ext3", "ext4", "xfs")
"""File systems whose files may be swapped to as they are; btrfs wants a file without copy on write, overlay and tmpfs refuse."""
_HEADER_AT, _VERSION, _MAGIC = 1024, 1, b"SWAPSPACE2"
NAME = f"{TEMPORARY}swap"


@dataclass(frozen=True)
class Area:
    path: Path
    size_bytes: int
    used_bytes: int


def areas(table: Path = Path("/proc/swaps")) -> list[Area]:
    """Those in use; [] where the kernel has no swap at all."""
    return [Area(Path(path), size, used) for path, (size, used) in swaps(table).items()]


def free_bytes(table: Path = Path("/proc/swaps")) -> int:
    return sum(area.size_bytes - area.used_bytes for area in areas(table))


def why_no_file(folder: Path, size_bytes: int) -> str | None:
    """Why a swap file cannot be made there, in words; None where it can, as far as a look tells."""
    if not Path("/proc/swaps").exists():
        return "this kernel has no swap"
    if os.geteuid() != 0:
        return "a swap file wants root; run the agent as root, or give the machine a swap area"
    kind = storage.file_system(storage.existing(folder.resolve()))
    if kind not in _HOLDS_FILES:
        return f"{folder} lies on {kind or 'an unknown file system'}, which takes no plain swap file; give one on {', '.join(_HOLDS_FILES)}"
    return storage.why_not(folder, size_bytes)


def add(folder: Path, size_bytes: int, limits: list[tuple[Path, str]], ledger: Ledger) -> tuple[Path, int]:
    """A swap area of ours, and the number of its undo step. `limits`: what is written where before it is taken away, so that what lies in
    it has a place to come back to. Raises PreflightFailed, with nothing left behind.
    """
    path = folder / NAME
    step = ledger.record({"kind": "swap", "path": str(path), "lift": [[str(file), text] for file, text in limits]})
    try:
        _make(path, size_bytes)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.swapon(os.fsencode(path), 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    except OSError as error:
        ledger.undo(step)
        raise PreflightFailed(f"swap file {path}: {error.strerror}; give a folder on {', '.join(_HOLDS_FILES)}") from None
    return path, step


def _make(path: Path, size_bytes: int) -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    header = bytearray(page)
    struct.pack_into("=III", header, _HEADER_AT, _VERSION, size_bytes // page - 1, 0)
    header[page - len(_MAGIC) :] = _MAGIC
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(file, 0, size_bytes)
        os.pwrite(file, header, 0)
        os.fsync(file)
    finally:
        os.close(file)
