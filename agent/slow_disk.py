"""`python -m agent.slow_disk ORDER`: the process that shows a folder by FUSE and holds what reaches the disk, and beside it the one that
has the mount and proves what it adds. ORDER is a JSON object, as agent.held_folder makes it.

The mount is in a mount namespace of the second process, which the system joins: the host never sees it, and it is gone with the last
process in there, whoever was killed. When the first is gone the kernel answers the system's requests with ENOTCONN.
"""

import argparse
import contextlib
import ctypes
import json
import mmap
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.targets import stop_descriptor
from agent.words import Trips, Words

DEVICE = Path("/dev/fuse")
MOUNT_TYPE = "fuse.offspec"
PROBE_BYTES = 4096
"""What is read each time, directly."""
PAGE_WORDS = 8
DELAY, HELD, LATE, PID, FAILED, WHERE = range(6)
"""Of the page: ns to hold, how many were, the latest that one was done after it was due; then the process that has the mount, the error's
number where it could not have it, and at which of STEPS.
"""
STEPS = ("a mount namespace of its own", "keeping its mounts to itself", "mounting by FUSE", "reading by the mount", "reading directly")
_EVERY_S = 0.025
_NICE = -20
_PR_SET_PDEATHSIG = 1
_CLONE_NEWNS = 0x00020000
_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_SLAVE = 0x2, 0x4, 0x4000, 0x80000


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m agent.slow_disk", description=__doc__)
    parser.add_argument("order", type=json.loads)
    order = parser.parse_args(argv).order
    try:
        _run(order)
    except OSError as error:
        print(error.strerror or error, file=sys.stderr)
        return 1
    return 0


def _run(order: Mapping[str, Any]) -> None:
    stop_fd = stop_descriptor(until_stdin_closes=False)
    with contextlib.suppress(PermissionError):  # then it is later on busy cores, which the times tell
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    folder = Path(order["folder"])
    below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    fuse = os.open(DEVICE, os.O_RDWR)
    parent, (told, tell) = os.getpid(), os.pipe()
    if os.fork() == 0:
        os._exit(_hold_mount(order, folder, fuse, parent, tell))  # nothing of the parent's is to be run twice
    os.close(tell)
    from agent import _engine

    if not os.read(told, 1):  # until there is a mount the kernel refuses to be asked for requests
        return
    _engine.serve_slow_disk(folder_fd=below, fuse_fd=fuse, page_path=order["page_path"], stop_fd=stop_fd)


def _hold_mount(order: Mapping[str, Any], folder: Path, fuse: int, parent: int, tell: int) -> int:
    # Before the mount lies over them.
    page, trips = Words(Path(order["page_path"])), Trips(Words(Path(order["trips_path"])))
    libc = ctypes.CDLL(None, use_errno=True)

    def step(at: int, result: int) -> None:
        page[WHERE] = at
        if result != 0:
            raise OSError(ctypes.get_errno(), STEPS[at])

    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
            return 1
        step(0, libc.unshare(_CLONE_NEWNS))
        # The host's mounts still come and go in here, none of here ever gets out.
        step(1, libc.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None))
        probe = folder / f".offspec-probe-{os.getpid()}"
        directly = _file_of_pages(probe)
        said = f"fd={fuse},rootmode={folder.stat().st_mode:o},user_id=0,group_id=0,allow_other,default_permissions"
        step(2, libc.mount(b"offspec", os.fsencode(folder), MOUNT_TYPE.encode(), _MS_NOSUID | _MS_NODEV, said.encode()))
        os.close(fuse)  # the parent alone serves it: when it is gone the kernel must see that
        os.write(tell, b"1")
        page[WHERE] = 3
        by_mount = os.open(probe, os.O_RDONLY | os.O_DIRECT)
        probe.unlink()  # the system's folder is its own
        _measure((by_mount, directly), trips, page)
    except OSError as error:
        page[FAILED] = error.errno or 1
        return 1
    return 0


def _file_of_pages(path: Path) -> int:
    """A file with its bytes on the disk, open for direct reading."""
    with path.open("xb") as file:
        file.write(bytes(PROBE_BYTES))
        os.fsync(file.fileno())
    return os.open(path, os.O_RDONLY | os.O_DIRECT)


def _measure(files: tuple[int, int], trips: Trips, page: Words) -> None:
    """Until it is killed: a read by the mount, one directly, a pause."""
    buffer = mmap.mmap(-1, PROBE_BYTES)  # its address is that of a page
    while True:
        for way, file in enumerate(files):
            page[WHERE] = 3 + way
            began = time.monotonic_ns()
            os.preadv(file, [buffer], 0)
            trips.note(way, time.monotonic_ns() - began)
        page[PID] = os.getpid()
        time.sleep(_EVERY_S)


if __name__ == "__main__":
    sys.exit(main())
