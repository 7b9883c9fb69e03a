"""Folders for as long as a piece of work lasts, which are known as ours and as orphaned when their owner was killed."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MARK = ".offspec"
"""The file in it that says so (agent.marks.FOLDER_MARK): the owner's process number and when that started, in clock ticks since boot."""


@contextmanager
def scratch(purpose: str) -> Iterator[Path]:
    """A new folder `offspec-<purpose>-...` among the temporary ones. Raises OSError."""
    with tempfile.TemporaryDirectory(prefix=f"offspec-{purpose}-") as folder:
        (Path(folder) / MARK).write_text(f"{os.getpid()} {_started(os.getpid())}")
        yield Path(folder)


def owned(folder: Path) -> bool | None:
    """Whether the process that made it lives; None where the folder does not say who that is."""
    try:
        pid, started = map(int, (folder / MARK).read_text().split())
    except (OSError, ValueError):
        return None
    return _started(pid) == started


def _started(pid: int) -> int:
    """0 for a process that is gone, or no more than a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])
