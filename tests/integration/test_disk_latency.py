"""A slower disk, for real where this machine has FUSE: what programs do with files goes on, late by the dose, and no mount is left."""

import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agent import storage
from agent.held_folder import stands_before, why_none
from agent.launcher import Child
from agent.ledger import Ledger
from agent.scope import Cgroups, Scope
from agent.slow_disk import PROBE_BYTES
from agent.violations import Context, Preparing, Varying, registry
from agent.violations.disk_latency import Slower
from tests.rig import await_true
from traces.errors import PreflightFailed

CGROUPS = Cgroups()


def mounted(folder: Path) -> bool:
    return str(folder) in Path("/proc/self/mountinfo").read_text()


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    if (why := why_none() or storage.why_not(tmp_path, PROBE_BYTES, direct=True)) is not None:
        pytest.skip(why)
    ledger = Ledger(tmp_path / "state")
    cores = tuple(sorted(os.sched_getaffinity(0)))
    work = tmp_path / "work"
    work.mkdir()
    yield Context(ledger, CGROUPS, cores[:1], cores, work, Scope("target", ledger, CGROUPS))
    assert ledger.close().get("failed", 0) == 0
    assert not mounted(work)


Slow = Callable[[float], Slower]


@pytest.fixture
def slow(context: Context) -> Slow:
    def apply(dose_ms: float) -> Slower:
        applied = registry()["disk-latency"].apply(dose_ms, {}, context)
        assert isinstance(applied, Slower) and isinstance(applied, Preparing) and isinstance(applied, Varying)
        return applied

    return apply


def start(context: Context, applied: Slower | None, code: str) -> tuple[Child, Path]:
    """A program of the system, in the folder; what it prints is in the file."""
    told = context.work_dir.parent / f"told-{time.monotonic_ns()}"
    assert context.target is not None
    with told.open("wb") as output:
        child = context.target.spawn(
            [sys.executable, "-c", textwrap.dedent(code)],
            prelude=applied.prelude if applied else (),
            cwd=str(context.work_dir),
            output=output,
        )
    return child, told


def run(context: Context, applied: Slower | None, code: str) -> Any:
    child, told = start(context, applied, code)
    assert child.process.wait(30) == 0, told.read_text()
    return json.loads(told.read_text())


TIMES = """
    import json, mmap, os, statistics, threading, time
    def times(work, n=5):
        took = []
        for at in range(n):
            began = time.perf_counter()
            work(at)
            took.append((time.perf_counter() - began) * 1e3)
        return statistics.median(took)
    page = mmap.mmap(-1, 4096)
    file = os.open("data", os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(file, bytes(1 << 20), 0)
    os.fsync(file)
    direct = os.open("data", os.O_RDWR | os.O_DIRECT)
    def synced(at):
        os.pwrite(file, b"x", at)
        os.fsync(file)
    def together(at):
        all = [threading.Thread(target=lambda i=i: os.preadv(direct, [mmap.mmap(-1, 4096)], i * 4096)) for i in range(64)]
        for each in all: each.start()
        for each in all: each.join()
    def missed(at):
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.pread(file, 10, 0)
    print(json.dumps({
        "read": times(lambda at: os.preadv(direct, [page], at * 4096)),
        "write": times(lambda at: os.pwritev(direct, [page], at * 4096)),
        "sync": times(synced),
        "together": times(together, 3),
        "missed": times(missed),
        "cached": times(lambda at: os.pread(file, 10, 8)),
        "buffered": times(lambda at: os.pwrite(file, b"y", at)),
    }))
"""


def test_what_reaches_the_disk_is_later_by_the_dose_and_what_does_not_is_not(context: Context, slow: Slow) -> None:
    without = run(context, None, TIMES)
    applied = slow(40)
    found: Mapping[str, float] = run(context, applied, TIMES)
    for way in ("read", "write", "sync", "missed"):
        assert found[way] - without[way] == pytest.approx(40, rel=0.25), (way, found, without)
    assert found["together"] < 10 * 40, "64 delays at once overlap"
    assert max(found["cached"], found["buffered"]) < 40, "neither has to reach the disk"
    reading = applied.measure()
    assert reading.given == pytest.approx(40, rel=0.10) and reading.remark is not None
    assert int(reading.remark.split()[0]) >= 64
    applied.set(5)
    time.sleep(0.6)
    applied.measure()
    time.sleep(0.6)
    assert applied.measure().given == pytest.approx(5, abs=1)
    assert applied.undo() == "undone" and applied.undo() == "undone"


FILES = """
    import fcntl, json, mmap, os, socket, stat
    here = os.getcwd()
    os.mkdir("d", 0o750)
    with open("d/a", "wb") as file:
        file.write(b"0123456789" * 1000)
        file.flush()
        os.fsync(file.fileno())
    assert stat.S_IMODE(os.stat("d").st_mode) == 0o750
    os.link("d/a", "b")
    assert os.stat("b").st_ino == os.stat("d/a").st_ino and os.stat("b").st_nlink == 2
    os.symlink("d/a", "s")
    assert os.readlink("s") == "d/a" and open("s", "rb").read(10) == b"0123456789"
    os.rename("b", "d/c")
    assert sorted(os.listdir("d")) == ["a", "c"]
    os.truncate("d/c", 15)
    assert open("d/a", "rb").read() == b"012345678901234"
    with open("d/a", "ab") as file: file.write(b"END")
    assert open("d/a", "rb").read() == b"012345678901234END"
    os.chmod("d/a", 0o640); os.chown("d/a", 12, 34); os.utime("d/a", ns=(10**18 + 1, 10**18 + 2))
    seen = os.stat("d/a")
    assert (stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid, seen.st_mtime_ns) == (0o640, 12, 34, 10**18 + 2), seen
    fd = os.open("m", os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(fd, 0, 1 << 16)
    assert os.fstat(fd).st_size == 1 << 16
    with mmap.mmap(fd, 1 << 16) as shared:
        shared[:5] = b"hello"
        shared.flush()
        assert os.pread(fd, 5, 0) == b"hello"
        os.pwrite(fd, b"there", 100)
        assert shared[100:105] == b"there"
    fcntl.flock(fd, fcntl.LOCK_EX); fcntl.lockf(fd, fcntl.LOCK_EX, 10)
    if os.fork() == 0:
        mine = os.open("m", os.O_RDWR)
        for lock in (lambda: fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB), lambda: fcntl.lockf(mine, fcntl.LOCK_EX | fcntl.LOCK_NB, 5)):
            try:
                lock()
                os._exit(1)
            except BlockingIOError:
                pass
        os._exit(0)
    assert os.wait()[1] == 0, "two held one lock"
    os.unlink("m")
    assert os.pread(fd, 5, 0) == b"hello", "a file without a name is there as long as it is open"
    assert os.statvfs(".").f_blocks > 0
    with socket.socket(socket.AF_UNIX) as server: server.bind("sock")
    os.unlink("sock"); os.mkfifo("pipe"); os.unlink("pipe")
    for at in range(1200): open(f"d/n{at}", "x").close()
    assert len(os.listdir("d")) == 1202
    for at in range(1200): os.unlink(f"d/n{at}")
    attribute = lambda: os.getxattr("d/a", "user.x")
    for wrong, kind in ((lambda: os.rmdir("d"), 39), (lambda: open("none"), 2), (lambda: open("d/a", "x"), 17), (attribute, 95)):
        try: wrong()
        except OSError as error: assert error.errno == kind, error
        else: raise AssertionError(kind)
    source, target = os.open("d/a", os.O_RDONLY), os.open("copy", os.O_RDWR | os.O_CREAT)
    assert os.copy_file_range(source, target, 18) == 18 and os.pread(target, 99, 0) == b"012345678901234END"
    direct = os.open("direct", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    page = mmap.mmap(-1, 4096)
    page[:] = b"D" * 4096
    assert os.pwritev(direct, [page], 4096) == 4096
    assert open("direct", "rb").read() == bytes(4096) + b"D" * 4096
    os.pwrite(os.open("direct", os.O_RDWR), b"tail", 8192)
    assert os.preadv(direct, [page], 8192) == 4 and page[:4] == b"tail"
    print(json.dumps(sorted(os.listdir("."))))
"""


def test_programs_find_files_as_they_are_used_to_and_the_folder_keeps_them(context: Context, slow: Slow) -> None:
    applied = slow(0)
    assert run(context, applied, FILES) == ["copy", "d", "direct", "s"]
    assert not list(context.work_dir.glob("d/none")) and (context.work_dir / "d/a").read_bytes() == b"012345678901234END"
    assert (context.work_dir / "d/a").stat().st_mtime_ns == 10**18 + 2 and (context.work_dir / "s").readlink() == Path("d/a")
    assert (context.work_dir / "direct").read_bytes() == bytes(4096) + b"D" * 4096 + b"tail"
    assert applied.undo() == "undone"


BLOCKS = """
    import json
    import pyarrow as pa
    from agent import _engine as engine
    n, ops = 200, ["read", "write"]
    table = pa.table({
        "arrival_ns": [at * 2_000_000 for at in range(n)], "op": [ops[at % 2] for at in range(n)],
        "offset_bytes": [at * 4096 for at in range(n)], "req_bytes": [4096] * n, "resp_bytes": [4096] * n,
    })
    options = {"size": str(n * 4096), "direct": "yes"}
    run = engine.Replay(driver="block", host="blocks", port=0, connections=64, timeout_ms=5000, options=options)
    run.connect()
    intervals = []
    totals = run.run(table, engine.monotonic_ns() + 10_000_000, intervals.extend)
    took = engine.hdr_quantiles(engine.hdr_merge([each.service for each in intervals]), [0.5])[0]
    print(json.dumps([totals.completed, totals.errors, took / 1e6]))
"""


def test_blocks_of_a_replay_are_later_by_the_dose_and_none_fails(context: Context, slow: Slow) -> None:
    _, _, without = run(context, None, BLOCKS)
    completed, errors, took = run(context, slow(30), BLOCKS)
    assert (completed, errors) == (200, {})
    assert took - without == pytest.approx(30, rel=0.25)


def test_a_store_that_syncs_each_write_answers_later_by_about_the_dose(context: Context, slow: Slow) -> None:
    if (binary := shutil.which("redis-server")) is None:
        pytest.skip("redis-server is not installed")

    def set_ms(applied: Slower | None) -> float:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shutil.rmtree(context.work_dir / "appendonlydir", ignore_errors=True)  # else it loads what was before
        assert context.target is not None
        words = [
            binary,
            "--port",
            str(port),
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--save",
            "",
            "--dir",
            str(context.work_dir),
        ]
        child = context.target.spawn(words, prelude=applied.prelude if applied else (), cwd=str(context.work_dir))

        def there() -> bool:
            with socket.socket() as trying:
                return trying.connect_ex(("127.0.0.1", port)) == 0

        assert await_true(there)
        took = []
        with socket.create_connection(("127.0.0.1", port)) as link:
            for _ in range(30):
                began = time.perf_counter()
                link.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n")
                assert link.recv(100) == b"+OK\r\n"
                took.append((time.perf_counter() - began) * 1e3)
        child.process.kill()
        child.process.wait()
        return statistics.median(took)

    without = set_ms(None)
    assert set_ms(slow(30)) - without == pytest.approx(30, rel=0.25)


BUSY = """
    import os
    file = os.open("data", os.O_RDWR | os.O_CREAT)
    print("on", flush=True)
    while True:
        os.pwrite(file, b"x", 0)
        os.fsync(file)
"""


def parts(context: Context) -> list[int]:
    """The processes that show the folder and that have the mount, the first one first."""
    ours = [
        p for p in Path("/proc").glob("[0-9]*") if b"agent.slow_disk" in _command(p) and os.fsencode(str(context.work_dir)) in _command(p)
    ]
    return sorted(int(path.name) for path in ours)


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("whom", [0, 1])
def test_when_a_part_of_it_is_killed_the_dose_is_not_given_and_nothing_hangs(context: Context, slow: Slow, whom: int) -> None:
    applied = slow(10)
    child, told = start(context, applied, BUSY)
    assert await_true(lambda: told.read_text() == "on\n")
    assert stands_before(context.work_dir, child.pid) and not stands_before(context.work_dir, os.getpid())
    assert context.target is not None
    if context.target.limits_io:
        with pytest.raises(PreflightFailed, match="does the system's I/O here"):
            registry()["disk-throttle"].apply(20, {}, context)
    os.kill(parts(context)[whom], signal.SIGKILL)
    time.sleep(0.3)
    applied.measure()  # takes in what had ended before
    time.sleep(0.2)
    assert applied.measure().given is None
    assert applied.undo() == "undone"
    child.process.wait(5)
    assert not parts(context) and not mounted(context.work_dir)


def test_when_the_agent_is_killed_no_process_and_no_mount_is_left(tmp_path: Path) -> None:
    if (why := why_none() or storage.why_not(tmp_path, PROBE_BYTES, direct=True)) is not None:
        pytest.skip(why)
    code = f"""
        import os, sys, time
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from agent.ledger import Ledger
        from agent.scope import Cgroups, Scope
        from agent.violations import Context
        from agent.violations.disk_latency import VIOLATION
        ledger, work = Ledger(Path({str(tmp_path / "state")!r})), Path({str(tmp_path)!r}) / "work"
        work.mkdir()
        target = Scope("target", ledger, Cgroups())
        applied = VIOLATION.apply(10, {{}}, Context(ledger, Cgroups(), (0,), (0,), work, target))
        busy = "import os\\nf = os.open('data', os.O_RDWR | os.O_CREAT)\\nwhile True: os.pwrite(f, b'x', 0); os.fsync(f)"
        child = target.spawn([sys.executable, "-c", busy, "victim"], prelude=applied.prelude, cwd=str(work))
        print(child.pid, flush=True)
        time.sleep(60)
    """
    agent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert agent.stdout is not None
    victim = Path("/proc", agent.stdout.readline().strip())
    needle = os.fsencode(str(tmp_path / "work"))

    def ours() -> list[Path]:
        return [p for p in Path("/proc").glob("[0-9]*") if needle in _mounts(p) or (b"slow_disk" in _command(p) and needle in _command(p))]

    assert needle in _mounts(victim) and ours()
    agent.kill()
    agent.wait()
    agent.stdout.close()
    assert await_true(lambda: not ours() and not victim.exists(), 10), ours()


def _mounts(process: Path) -> bytes:
    try:
        return (process / "mountinfo").read_bytes()
    except OSError:
        return b""


def test_where_it_cannot_be_the_reason_is_said(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("CapEff:\t0000000000000000\n")
    assert "CAP_SYS_ADMIN" in (why_none(status=status) or "")
    status.write_text("CapEff:\t000001ffffffffff\n")
    assert "has no FUSE" in (why_none(tmp_path / "fuse", status) or "")
    assert "Is a directory" in (why_none(tmp_path, status) or "")


def test_without_a_system_there_is_no_folder_to_hold(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "state")
    with pytest.raises(PreflightFailed, match="there is none here"):
        registry()["disk-latency"].apply(5, {}, Context(ledger, CGROUPS, (0,), (0,), tmp_path))
    ledger.close()
