"""What the kernel counts of one process: the doses of neighbours, read where the neighbour itself cannot be wrong about them.

Each raises OSError where the process is gone or the kernel does not tell. Sources: proc_pid_stat(5), proc_pid_io(5), proc_pid_status(5),
and /proc/PID/net/dev of the process's own network namespace.
"""

import os
from pathlib import Path
from typing import Literal


def minor_faults(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


def io(pid: int, *names: str) -> int:
    """The sum of these lines of /proc/PID/io: syscr, syscw, rchar, wchar, read_bytes, write_bytes."""
    lines = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return sum(int(lines[name]) for name in names)


def voluntary_switches(pid: int) -> int:
    """Over all its threads."""
    return sum(_status(Path(f"/proc/{pid}/task/{task}/status"), "voluntary_ctxt_switches") for task in os.listdir(f"/proc/{pid}/task"))


def anonymous_bytes(pid: int) -> int:
    """Resident memory that is no file's."""
    return _status(Path(f"/proc/{pid}/status"), "RssAnon") * 1024


def _status(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise OSError(f"{path} has no {name}")


def passed(pid: int | Literal["thread-self"], interface: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """(bytes, packets) that came in by an interface of its network namespace, and those that went out."""
    for line in Path(f"/proc/{pid}/net/dev").read_text().splitlines():
        name, _, told = line.partition(":")
        if name.strip() == interface:
            counts = told.split()
            return (int(counts[0]), int(counts[1])), (int(counts[8]), int(counts[9]))
    raise OSError(f"process {pid} has no interface {interface}")


def received(pid: int, interface: str = "lo") -> tuple[int, int]:
    """(bytes, packets) that came in by loopback or another interface of its network namespace; on loopback from the IP header on."""
    return passed(pid, interface)[0]


def tells_io() -> bool:
    """Whether this kernel counts I/O by process (CONFIG_TASK_IO_ACCOUNTING)."""
    return Path("/proc/self/io").exists()
