"""What a folder's file system is and can do, for neighbours that write files. Looks leave nothing behind."""

import errno
import os
from pathlib import Path

_LEFT_SHARE = 0.05
_LEFT_BYTES = 512 << 20
_IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs")


def existing(path: Path) -> Path:
    """The folder itself, or the nearest above it that there is."""
    return next(p for p in (path, *path.parents) if p.is_dir())


def file_system(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Its type, by the kernel's list of mounts (proc_pid_mountinfo(5)); "" where that does not tell."""
    found = ("", "")
    for line in mounts.read_text().splitlines():
        words = line.split()
        at = Path(words[4].replace("\\040", " "))
        # A later mount lies over an earlier one of the same place.
        if (at == path or at in path.parents) and len(str(at)) >= len(found[0]):
            found = (str(at), words[words.index("-") + 1])
    return found[1]


def disk_of(path: Path, devices: Path = Path("/sys/dev/block")) -> str | None:
    """ "major:minor" of the whole disk under a folder; None where the kernel tells of none (overlay, btrfs, tmpfs)."""
    number = existing(path).stat().st_dev
    entry = devices / f"{os.major(number)}:{os.minor(number)}"
    if not entry.exists():
        return None
    # A partition lies in the folder of its disk, and limits are of disks.
    real = entry.resolve()
    return ((real.parent if (real / "partition").exists() else real) / "dev").read_text().strip()


def why_not(folder: Path, file_bytes: int, direct: bool = False) -> str | None:
    """Why a neighbour cannot keep a file of that size there, in words; None where it can. `direct`: it must come from the device."""
    here = existing(folder.resolve())
    if not os.access(here, os.W_OK):
        return f"{here} is not writable; give a folder that is by OFFSPEC_STATE_DIR"
    kind = file_system(here)
    if kind in _IN_MEMORY:
        return f"{here} lies in memory ({kind}), not on a disk; give a folder on one by OFFSPEC_STATE_DIR"
    stat = os.statvfs(here)
    if stat.f_flag & os.ST_RDONLY:
        return f"{here} is mounted read-only; give another folder by OFFSPEC_STATE_DIR"
    lend = stat.f_bavail * stat.f_frsize - max(_LEFT_BYTES, _LEFT_SHARE * stat.f_blocks * stat.f_frsize)
    if file_bytes > lend:
        return f"{here} can lend {max(0, round(lend)) >> 20} MiB and keep its twentieth free, {file_bytes >> 20} MiB are needed; free some"
    return _no_direct(here) if direct else None


def _no_direct(here: Path) -> str | None:
    """A file without a name is opened and gone."""
    try:
        os.close(os.open(here, os.O_TMPFILE | os.O_RDWR | os.O_DIRECT, 0o600))
    except OSError as error:
        if error.errno == errno.EINVAL:
            return f"{here} ({file_system(here)}) has no O_DIRECT; give a folder on another file system by OFFSPEC_STATE_DIR"
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR):  # without files that have no name: found out when it is applied
            return f"{here}: {error.strerror}"
    return None
