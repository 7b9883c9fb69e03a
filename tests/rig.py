"""What tests of living processes share: waiting for something to become true, and who guards a state folder."""

import time
from collections.abc import Callable
from pathlib import Path


def await_true(check: Callable[[], bool], seconds: float = 8.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if check():
            return True
        time.sleep(0.02)
    return check()


def guards_of(state_dir: Path) -> dict[str, int]:
    """Live guards and heirs of a state folder, by what they call themselves."""
    found: dict[str, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            ours = str(state_dir).encode() in words and any(w.endswith(b"guard.py") for w in words)
            if ours and (folder / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                found[(folder / "comm").read_text().strip()] = int(folder.name)
        except OSError:
            continue
    return found
