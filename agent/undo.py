"""Undo steps: how a change to a machine is taken back, as plain data that survives a crash. Standard library only, because the
guard runs this file without the rest of the project.

A step is a JSON object:
    {"kind": "scope", "name", "paths": [cgroup directories], "token": "OFFSPEC_SCOPE=...", "session": [id, start]}   kill everything in
        it, remove it; `session`, which may be left out, adds what runs in the session of a process of that number and start (clock ticks)
    {"kind": "tree", "path", "mark"}   remove a directory of ours (it holds a file named like `mark`)
    {"kind": "setting", "path", "ours", "old"}   put the old value back into a file of the kernel, if it still holds ours
    {"kind": "swap", "path", "lift": [[file, text]]}   write the texts (limits of our cgroups), swap off our file, remove it
    {"kind": "namespace", "path"}   remove a named network namespace of ours, and with its last process all links in it
    {"kind": "offload", "interface", "index", "names"}   switch these features of a network interface on again
    {"kind": "journals", "state_dir"}   undo what the journals of other dead owners in this folder hold open
Running a step twice is harmless. The journal is `<state_dir>/undo/<boot id>-<lease>.jsonl`; while its owner lives it is locked.
"""

import ctypes
import errno
import fcntl
import importlib
import json
import os
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

Step = dict[str, Any]
Session = tuple[int, int]
"""Process number of its leader, and when that started, in clock ticks since boot."""

UNDONE, FOREIGN, FAILED = "undone", "foreign", "failed"
_KILL_WAIT_S = 3.0
_MNT_DETACH = 2


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
        if step["kind"] == "setting":
            return _put_back(Path(step["path"]), str(step["ours"]), str(step["old"]))
        if step["kind"] == "swap":
            return _swap_off(Path(step["path"]), step["lift"])
        if step["kind"] == "namespace":
            return _remove_namespace(Path(step["path"]))
        if step["kind"] == "offload":
            return _offload_on(str(step["interface"]), int(step["index"]), [str(name) for name in step["names"]])
        if step["kind"] == "journals":
            return FAILED if replay_leftovers(Path(step["state_dir"]))[FAILED] else UNDONE
    except (OSError, KeyError, TypeError, ValueError) as error:
        print(f"offspec: undo of {step.get('kind')} failed: {error}", file=sys.stderr)
        return FAILED
    return FOREIGN


def members(paths: list[str], token: str, session: Session | None = None) -> list[int]:
    """Live processes of a scope: those in its cgroups, those that carry its token, and those of its session but for its leader. Zombies
    count as dead.
    """
    found: set[int] = set()
    for path in paths:
        for group, _, _ in os.walk(path):  # unlike a glob it does not mind that groups go while it looks
            try:
                found.update(int(line) for line in Path(group, "cgroup.procs").read_text().split())
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
                pass  # gone, or not ours to read
            if session is not None and _in_session(int(entry), session):
                found.add(int(entry))
    return [pid for pid in found if _runs(pid)]


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from its state on (proc_pid_stat(5)); none where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _runs(pid: int) -> bool:
    fields = _stat(pid)
    return bool(fields) and fields[0] not in "ZX"


def session_here() -> Session:
    """The session that this process leads, as a step says it."""
    return os.getpid(), int(_stat(os.getpid())[19])


def _in_session(pid: int, session: Session) -> bool:
    """A number stays taken while anybody is in the session that it names; a leader with another start is one that came after."""
    leader, started = session
    fields = _stat(pid)
    if pid == leader or not fields or int(fields[3]) != leader or int(fields[19]) < started:
        return False
    led = _stat(leader)
    return not led or int(led[19]) == started


def _ours(pid: int, paths: list[str], token: str, session: Session | None) -> bool:
    """Whether a process belongs to a scope now, by its cgroups, its token or its session."""
    if session is not None and _in_session(pid, session):
        return True
    try:
        with open(f"/proc/{pid}/environ", "rb") as environ:  # noqa: PTH123
            if token.encode() in environ.read().split(b"\0"):
                return True
        groups = Path(f"/proc/{pid}/cgroup").read_text().split("\n")
    except OSError:
        return False
    ends = {"/offspec/" + path.partition("/offspec/")[2] for path in paths}
    return any(line.endswith(end) or f"{end}/" in line for line in groups for end in ends)


def _kill(pid: int, paths: list[str], token: str, session: Session | None = None) -> None:
    """Ends this very process: the descriptor holds it while we look again, so that a number given anew cannot be hit."""
    try:
        held = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if _ours(pid, paths, token, session):
            signal.pidfd_send_signal(held, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(held)


def kill_members(paths: list[str], token: str, session: Session | None = None, wait_s: float = _KILL_WAIT_S) -> list[int]:
    """Kills until nobody is left or the wait is over; returns who is left."""
    deadline = time.monotonic() + wait_s
    while True:
        for path in paths:
            try:
                killer = os.open(Path(path) / "cgroup.kill", os.O_WRONLY)
            except FileNotFoundError:
                continue  # cgroup v1 has none, and another undoer may have been faster
            try:
                os.write(killer, b"1")
            except OSError as error:
                if error.errno != errno.ENODEV:  # removed under our hands
                    raise
            finally:
                os.close(killer)
        left = members(paths, token, session)
        for pid in left:
            _kill(pid, paths, token, session)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.005)


def _end_scope(step: Step) -> str:
    paths = [str(p) for p in step["paths"]]
    if any("/offspec/" not in p for p in paths) or not step["token"].startswith("OFFSPEC_SCOPE="):
        return FOREIGN
    leader = step.get("session")
    if kill_members(paths, step["token"], None if leader is None else (int(leader[0]), int(leader[1]))):
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
    if path.is_symlink():
        return FOREIGN
    found = list(path.iterdir())
    if found and not (path / mark).is_file():
        return FOREIGN  # an empty folder is one that was made and not marked yet
    # The mark goes last: who is ended in the midst of this must find it again.
    for each in sorted(found, key=lambda entry: entry.name == mark):
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink(missing_ok=True)
    path.rmdir()
    return UNDONE


def _put_back(path: Path, ours: str, old: str) -> str:
    """Whoever changed it after us meant it: theirs stays."""
    try:
        now = path.read_text().strip()
    except FileNotFoundError:
        return UNDONE  # its device is gone
    if now == old:
        return UNDONE
    if now != ours:
        return FOREIGN
    path.write_text(old)
    return UNDONE if path.read_text().strip() == old else FAILED


def swaps(table: Path = Path("/proc/swaps")) -> dict[str, tuple[int, int]]:
    """Swap areas in use: path -> (size, used) in bytes. Empty where the kernel has none (proc_swaps(5))."""
    try:
        lines = table.read_text().splitlines()[1:]
    except FileNotFoundError:
        return {}
    words = [line.split() for line in lines]
    return {each[0].replace("\\040", " "): (int(each[2]) * 1024, int(each[3]) * 1024) for each in words}


def _swap_off(path: Path, lift: list[list[str]]) -> str:
    """What lies in it comes back into memory, so the limits that sent it there go first."""
    if not path.name.startswith("offspec-") or any("/offspec/" not in file for file, _ in lift):
        return FOREIGN
    for file, text in lift:
        try:
            Path(file).write_text(text)
        except FileNotFoundError:
            continue  # its scope has ended
    libc = ctypes.CDLL(None, use_errno=True)
    deadline = time.monotonic() + _KILL_WAIT_S
    while str(path.resolve()) in swaps() and libc.swapoff(os.fsencode(path)) != 0:
        number = ctypes.get_errno()
        # Linux 6.18 says so with memory to spare while the system itself fetches pages of it; what has come back stays, so try again.
        if number != errno.ENOMEM or time.monotonic() > deadline:
            raise OSError(number, os.strerror(number))
        time.sleep(0.01)
    path.unlink(missing_ok=True)
    return UNDONE


def _offload_on(interface: str, index: int, names: list[str]) -> str:
    if (index, interface) not in socket.if_nameindex():
        return UNDONE  # another interface has the name now, or none
    offload = importlib.import_module(f"{__package__}.offload" if __package__ else "offload")
    return UNDONE if offload.restore(interface, names) else FAILED


def _remove_namespace(path: Path) -> str:
    """As ip-netns(8) does: a name is a file that the namespace is mounted on."""
    if path.parent.name != "netns" or not path.name.startswith("offspec-"):
        return FOREIGN
    if not path.exists():
        return UNDONE
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(path), _MNT_DETACH) != 0 and ctypes.get_errno() != errno.EINVAL:  # EINVAL: nothing was mounted yet
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    path.unlink(missing_ok=True)
    return UNDONE


class UndoJournal:
    """One owner's steps, each synced before the change that it takes back is made. Raises OSError where that cannot be."""

    def __init__(self, state_dir: Path, lease: str, boot: str | None = None) -> None:
        """A new one; with `boot` one that is there already."""
        folder = state_dir / "undo"
        self.path = folder / f"{boot or boot_id()}-{lease}.jsonl"
        if boot is None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        new = os.O_CREAT if boot is None else 0
        self._fd = os.open(self.path, os.O_RDWR | new | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if new:
                _sync_folder(folder)
        except OSError:
            os.close(self._fd)
            raise
        self.open: dict[int, Step] = {}
        self.end_at = float("inf")

    def _append(self, entry: dict[str, Any]) -> None:
        line = (json.dumps(entry) + "\n").encode()
        before = os.fstat(self._fd).st_size
        try:
            if os.write(self._fd, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fdatasync(self._fd)
        except OSError:
            os.ftruncate(self._fd, before)  # half a line would take the next one along
            raise

    def record(self, number: int, step: Step) -> None:
        self._append({"id": number, "step": step})
        self.open[number] = step

    def done(self, number: int, result: str = UNDONE) -> None:
        if number in self.open:
            if result != FAILED:
                del self.open[number]
            try:
                self._append({"id": number, "result": result})
            except OSError as error:
                # Undoing twice is harmless: what is not noted is undone again by whoever reads this.
                print(f"offspec: {self.path}: {error.strerror}", file=sys.stderr)

    def end(self, at_boottime_s: float) -> None:
        """Everything is to be undone then; who inherits the journal must know it."""
        self._append({"end": at_boottime_s})
        self.end_at = at_boottime_s

    def undo(self, number: int) -> str:
        result = run_step(self.open[number])
        self.done(number, result)
        return result

    def undo_all(self) -> dict[str, int]:
        """Last change first. What fails stays open, for the next one who looks."""
        counts = {UNDONE: 0, FOREIGN: 0, FAILED: 0}
        for number in sorted(self.open, reverse=True):
            counts[self.undo(number)] += 1
        return counts

    def reload(self) -> None:
        """What the file says, in a process that inherited it from one that died, perhaps in the midst of a line."""
        size = os.fstat(self._fd).st_size
        written = os.pread(self._fd, size, 0)
        if written and not written.endswith(b"\n"):
            os.write(self._fd, b"\n")
        self.open, self.end_at = _parse(written)

    def close(self) -> None:
        if not self.open:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _parse(written: bytes) -> tuple[dict[int, Step], float]:
    steps: dict[int, Step] = {}
    end_at = float("inf")
    for line in written.split(b"\n"):
        try:
            entry = json.loads(line)
            if "step" in entry:
                steps[entry["id"]] = entry["step"]
            elif "end" in entry:
                end_at = float(entry["end"])
            elif entry["result"] != FAILED:
                steps.pop(entry["id"], None)
        except (ValueError, KeyError, TypeError):
            continue  # torn: its change was never made
    return steps, end_at


def read_open_steps(path: Path) -> dict[int, Step]:
    """Steps of a journal that are not undone. A torn last line is one whose change was never made."""
    return _parse(path.read_bytes())[0]


def replay_leftovers(state_dir: Path, lease: str = "*") -> dict[str, int]:
    """Undoes what dead owners left, or one of them. Journals of live owners are locked and left alone."""
    counts = {UNDONE: 0, FOREIGN: 0, FAILED: 0}
    for path in sorted((state_dir / "undo").glob(f"*-{lease}.jsonl")):
        boot, _, lease = path.stem.rpartition("-")
        try:
            journal = UndoJournal(state_dir, lease, boot)
        except OSError:
            continue  # its owner lives, or removed it meanwhile, or it is not ours to open
        journal.reload()
        if boot != boot_id():
            for number in [n for n, step in journal.open.items() if step.get("kind") in ("scope", "offload")]:
                journal.done(number)  # cgroups, processes and features did not survive the reboot
                counts[UNDONE] += 1
        for result, times in journal.undo_all().items():
            counts[result] += times
        journal.close()
    return counts
