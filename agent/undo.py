"""Undo steps: how a change to a machine is taken back, as plain data that survives a crash. Standard library only, because the
guard runs this file without the rest of the project.

A step is a JSON object:
    {"kind": "scope", "name", "paths": [cgroup directories], "token": "OFFSPEC_SCOPE=..."}   kill everything in it, remove it
    {"kind": "tree", "path", "mark"}   remove a directory of ours (it holds a file named like `mark`)
Running a step twice is harmless. The journal is `<state_dir>/undo/<boot id>-<lease>.jsonl`; while its owner lives it is locked.
"""

import fcntl
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

Step = dict[str, Any]

UNDONE, FOREIGN, FAILED = "undone", "foreign", "failed"
_KILL_WAIT_S = 3.0


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def default_state_dir() -> Path:
    if given := os.environ.get("OFFSPEC_STATE_DIR"):
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/offspec")
    return Path(os.environ.get("XDG_STATE_HOME", Path.home() / ".local/state")) / "offspec"


def run_step(step: Step) -> str:
    """Takes one change back; never raises."""
    try:
        if step["kind"] == "scope":
            return _end_scope(step)
        if step["kind"] == "tree":
            return _remove_tree(Path(step["path"]), str(step["mark"]))
    except (OSError, KeyError, TypeError, ValueError) as error:
        print(f"offspec: undo of {step.get('kind')} failed: {error}", file=sys.stderr)
        return FAILED
    return FOREIGN


def members(paths: list[str], token: str) -> list[int]:
    """Live processes of a scope: those in its cgroups, and those that carry its token. Zombies count as dead."""
    found: set[int] = set()
    for path in paths:
        for procs in Path(path).glob("**/cgroup.procs"):
            try:
                found.update(int(line) for line in procs.read_text().split())
            except OSError:
                continue  # removed while we looked
    needle = token.encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid() and int(entry) not in found:
            try:
                with open(f"/proc/{entry}/environ", "rb") as environ:  # noqa: PTH123
                    if needle in environ.read().split(b"\0"):
                        found.add(int(entry))
            except OSError:
                continue  # gone, or not ours to read
    return [pid for pid in found if _runs(pid)]


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def kill_members(paths: list[str], token: str, wait_s: float = _KILL_WAIT_S) -> list[int]:
    """Kills until nobody is left or the wait is over; returns who is left."""
    deadline = time.monotonic() + wait_s
    while True:
        for path in paths:
            killer = Path(path) / "cgroup.kill"
            if killer.exists():
                killer.write_text("1")
        left = members(paths, token)
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.005)


def _end_scope(step: Step) -> str:
    paths = [str(p) for p in step["paths"]]
    if any("/offspec/" not in p for p in paths) or not step["token"].startswith("OFFSPEC_SCOPE="):
        return FOREIGN
    if kill_members(paths, step["token"]):
        return FAILED
    for path in paths:
        if not _remove_cgroup(Path(path)):
            return FAILED
    return UNDONE


def _remove_cgroup(path: Path) -> bool:
    """Removes a cgroup and then its empty parents up to `offspec`. A zombie in it delays the kernel: try for a moment."""
    deadline = time.monotonic() + _KILL_WAIT_S
    while path.exists():
        try:
            path.rmdir()
        except FileNotFoundError:
            break
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
    for parent in (path.parent, path.parent.parent):
        if "offspec" in (parent.name, parent.parent.name):
            try:
                parent.rmdir()
            except OSError:
                break  # others of ours are still in it
    return True


def _remove_tree(path: Path, mark: str) -> str:
    if not path.exists():
        return UNDONE
    if not (path / mark).is_file() or path.is_symlink():
        return FOREIGN
    shutil.rmtree(path)
    return UNDONE


class UndoJournal:
    """One owner's steps, each synced before the change that it takes back is made."""

    def __init__(self, state_dir: Path, lease: str) -> None:
        folder = state_dir / "undo"
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        self.path = folder / f"{boot_id()}-{lease}.jsonl"
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.open: dict[int, Step] = {}

    def _append(self, entry: dict[str, Any]) -> None:
        os.write(self._fd, (json.dumps(entry) + "\n").encode())
        os.fdatasync(self._fd)

    def record(self, number: int, step: Step) -> None:
        self._append({"id": number, "step": step})
        self.open[number] = step

    def done(self, number: int, result: str = UNDONE) -> None:
        if number in self.open:
            self._append({"id": number, "result": result})
            if result != FAILED:
                del self.open[number]

    def undo_all(self) -> dict[str, int]:
        """Last change first. What fails stays open, for the next one who looks."""
        counts = {UNDONE: 0, FOREIGN: 0, FAILED: 0}
        for number in sorted(self.open, reverse=True):
            result = run_step(self.open[number])
            counts[result] += 1
            self.done(number, result)
        return counts

    def close(self) -> None:
        if not self.open:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)


def read_open_steps(path: Path) -> dict[int, Step]:
    """Steps of a journal that are not undone. A torn last line is one whose change was never made."""
    steps: dict[int, Step] = {}
    for line in path.read_bytes().split(b"\n"):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if "step" in entry:
            steps[entry["id"]] = entry["step"]
        elif entry.get("result") != FAILED:
            steps.pop(entry.get("id"), None)
    return steps


def replay_leftovers(state_dir: Path) -> dict[str, int]:
    """Undoes what dead owners left. Journals of live owners are locked and left alone."""
    counts = {UNDONE: 0, FOREIGN: 0, FAILED: 0}
    for path in sorted((state_dir / "undo").glob("*.jsonl")):
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # removed by its owner meanwhile, or not ours to open
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            continue
        steps = read_open_steps(path)
        failed = 0
        for number in sorted(steps, reverse=True):
            if not path.name.startswith(boot_id()) and steps[number].get("kind") == "scope":
                counts[UNDONE] += 1  # cgroups and processes did not survive the reboot
                continue
            result = run_step(steps[number])
            counts[result] += 1
            failed += result == FAILED
        if not failed:
            path.unlink(missing_ok=True)
        os.close(fd)
    return counts
