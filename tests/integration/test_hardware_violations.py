"""What is taken from a system before it starts: the system itself is asked whether it is gone."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import isa, launcher, storage
from agent.launcher import LaunchFailed
from agent.ledger import Ledger
from agent.scope import Cgroups, Scope
from agent.violations import Context, Preparing, registry
from agent.violations.no_gpu import NoGpu
from protos.violations import ISA_WORDS
from tests.rig import await_true
from traces.errors import PreflightFailed

CGROUPS = Cgroups()


@pytest.fixture
def scope(tmp_path: Path) -> Iterator[Scope]:
    ledger = Ledger(tmp_path)
    made = Scope("target", ledger, CGROUPS)
    yield made
    assert made.end() == "undone"
    ledger.close()


def context(scope: Scope, tmp_path: Path) -> Context:
    cores = tuple(sorted(os.sched_getaffinity(0)))
    return Context(scope._ledger, CGROUPS, cores[:1], cores, tmp_path, scope)


def able(name: str) -> None:
    """Skips with the node's own reason where it cannot."""
    said = registry()[name].probe(CGROUPS, len(os.sched_getaffinity(0)))
    if not said.supported:
        pytest.skip(f"{name}: {said.reason}")


def started(name: str, dose: float, options: dict[str, str], scope: Scope, tmp_path: Path, code: str):
    """A system under a violation: (the violation, what the system printed). It stays alive until the scope ends."""
    able(name)
    applied = registry()[name].apply(dose, options, context(scope, tmp_path))
    said = tmp_path / "said"
    prepared = applied if isinstance(applied, Preparing) else None
    with said.open("wb") as output:
        scope.spawn(
            [sys.executable, "-u", "-c", f"{code}\nprint('END')\nimport time; time.sleep(60)"],
            env=prepared.env if prepared else {},
            prelude=prepared.prelude if prepared else (),
            output=output,
        )
    deadline = time.monotonic() + 20
    while "END" not in said.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    return applied, said.read_text().replace("END", "").strip()


IO_URING = (
    "import ctypes; l = ctypes.CDLL(None, use_errno=True); l.syscall(425, 1, ctypes.create_string_buffer(120)); print(ctypes.get_errno())"
)


@pytest.mark.parametrize(("word", "number"), [("ENOSYS", 38), ("EPERM", 1)])
def test_io_uring_is_refused_with_the_error_that_was_asked_for(word: str, number: int, scope: Scope, tmp_path: Path) -> None:
    applied, said = started("no-io-uring", 1, {"errno": word}, scope, tmp_path, IO_URING)
    assert said == str(number)
    assert applied.measure().given == 1


def test_an_unfiltered_process_of_the_system_means_that_the_dose_is_not_given(scope: Scope, tmp_path: Path) -> None:
    applied, _ = started("no-io-uring", 1, {}, scope, tmp_path, IO_URING)
    scope.spawn(["sleep", "60"])
    assert applied.measure().given == 0


def test_the_system_gets_no_huge_pages_and_its_children_neither(scope: Scope, tmp_path: Path) -> None:
    code = "import subprocess; print(subprocess.run(['grep', 'THP_enabled', '/proc/self/status'], capture_output=True, text=True).stdout)"
    applied, said = started("no-hugepages", 1, {}, scope, tmp_path, code)
    assert said.split() == ["THP_enabled:", "0"]
    assert applied.measure().given == 1


@pytest.mark.parametrize("offset_s", [3600.0, 100_000.0])
def test_the_systems_clock_runs_ahead_and_ours_does_not(offset_s: float, scope: Scope, tmp_path: Path) -> None:
    before = time.monotonic()
    applied, said = started("clock-skew", offset_s, {}, scope, tmp_path, "import time; print(time.monotonic())")
    assert before + offset_s <= float(said) <= time.monotonic() + offset_s
    assert applied.measure().given == offset_s


def test_a_clock_before_the_boot_is_refused_in_words(scope: Scope) -> None:
    able("clock-skew")
    with pytest.raises(LaunchFailed, match="timens_offsets"):
        scope.spawn(["true"], prelude=({"step": "shift-clocks", "offset_s": -(10**9)},))


def test_masked_instructions_are_not_seen_by_the_libraries_and_the_dose_says_so(scope: Scope, tmp_path: Path) -> None:
    if not isa.seen({}):
        pytest.skip("neither glibc's loader nor openssl says here what it sees")
    features = next((name for name in ("aes", "avx2", "sse4.2") if name in isa.present()), None)
    if features is None:
        pytest.skip("this processor has none of aes, avx2, sse4.2")
    applied, said = started("mask-isa", 1, {"features": features}, scope, tmp_path, "import os, json; print(json.dumps(dict(os.environ)))")
    under = isa.seen({name: json.loads(said)[name] for name in applied.env})
    for library, answer in isa.seen({}).items():
        for name in isa.names([features]):
            if answer.get(name):
                assert not under[library][name], (library, name)
    told = applied.measure()
    assert told.given == 1 and told.remark is not None and f"CPUID still shows {features}" in told.remark
    scope.spawn(["sleep", "60"])
    assert applied.measure().given == 0, "a process without the variables sees the processor as it is"


def test_openssl_without_aes_instructions_is_slower_in_fact() -> None:
    if "aes" not in isa.present() or "openssl" not in isa.seen({}):
        pytest.skip("no AES instructions, or no openssl, on this machine")

    def bytes_per_s(env: dict[str, str]) -> float:
        said = subprocess.run(
            ["openssl", "speed", "-elapsed", "-seconds", "1", "-bytes", "16384", "-evp", "aes-128-gcm", "-mr"],
            capture_output=True, text=True, env={"PATH": os.environ["PATH"], **env}, timeout=30, check=True,
        ).stdout  # fmt: skip
        return float(next(line for line in said.splitlines() if line.startswith("+F:")).split(":")[-1])

    masked = bytes_per_s(isa.masking(isa.names(["crypto"])))
    assert bytes_per_s({}) > 3 * masked, "the instructions make AES-GCM many times faster, so without them it cannot be near"


def test_every_word_for_instructions_is_known_to_both_sides() -> None:
    assert set(ISA_WORDS) == isa.FEATURES.keys() | isa.GROUPS.keys()
    assert set(isa.names(["avx"])) >= {"avx", "avx2", "fma", "avx512f", "vaes"}


def test_a_system_over_its_memory_is_killed_and_one_under_it_lives(scope: Scope, tmp_path: Path) -> None:
    applied, said = started("memory", 64, {}, scope, tmp_path, "held = bytearray(16 << 20); print(len(held))")
    assert said == str(16 << 20)
    assert applied.measure().given == pytest.approx(64, rel=0.01)
    greedy = scope.spawn([sys.executable, "-c", "held = b'x' * (200 << 20); import time; time.sleep(60)"])
    assert greedy.process.wait(20) == -9
    assert applied.undo() == "undone" and applied.measure().given is None


def test_what_prepares_a_system_is_refused_where_there_is_none(tmp_path: Path, scope: Scope) -> None:
    here = context(scope, tmp_path)
    alone = Context(here.ledger, here.cgroups, here.target_cores, here.all_cores, tmp_path, None)
    for name in ("mask-isa", "no-io-uring", "no-hugepages", "clock-skew", "memory"):
        with pytest.raises(PreflightFailed, match=name):
            registry()[name].apply(1, {"features": "aes"}, alone)


def test_a_step_that_the_kernel_cannot_take_is_one_line() -> None:
    with pytest.raises(LaunchFailed) as raised:
        launcher.spawn(["true"], env={}, prelude=({"step": "shift-clocks", "offset_s": -(10**12)},))
    assert "\n" not in str(raised.value)


READ_AND_WRITE = """
import os, mmap, time
fd = os.open('data', os.O_RDWR | os.O_CREAT | os.O_DIRECT)
page = mmap.mmap(-1, 1 << 18)
begun = time.monotonic()
for _ in range(16):
    os.write(fd, page)
print(time.monotonic() - begun)
"""


def test_a_throttled_disk_takes_as_long_as_its_limit_says(scope: Scope, tmp_path: Path) -> None:
    able("disk-throttle")
    if storage.disk_of(tmp_path) is None or storage.why_not(tmp_path, 4 << 20, direct=True):
        pytest.skip(f"{tmp_path} is on no disk with O_DIRECT")
    applied = registry()["disk-throttle"].apply(4, {}, context(scope, tmp_path))
    assert applied.measure().given == pytest.approx(4) and applied.measure().source == "limit in force"
    said = tmp_path / "said"
    with said.open("wb") as output:
        child = scope.spawn([sys.executable, "-c", READ_AND_WRITE], cwd=str(tmp_path), output=output)
        assert child.process.wait(30) == 0
    assert float(said.read_text()) > 0.8 * (4 << 20) / 4e6
    given = applied.measure().given
    assert given is not None and given < 4 * 1.1
    assert applied.undo() == "undone" and applied.measure().given is None


def test_hidden_gpus_are_hidden_by_variables_and_an_open_device_is_found(scope: Scope, tmp_path: Path) -> None:
    assert "nothing to take away" in NoGpu(tmp_path).probe(CGROUPS, 2).reason
    (tmp_path / "nvidia0").touch()
    made = NoGpu(tmp_path)
    assert made.probe(CGROUPS, 2).supported
    applied = made.apply(1, {}, context(scope, tmp_path))
    assert applied.measure().given is None
    scope.spawn(["sleep", "60"], env=applied.env)
    assert applied.measure().given == 1
    holder = scope.spawn(
        [sys.executable, "-c", f"held = open({str(tmp_path / 'nvidia0')!r}); import time; time.sleep(60)"], env=applied.env
    )
    assert await_true(lambda: applied.measure().given == 0), "this one found the device all the same"
    holder.process.kill()
    holder.process.wait()
    assert applied.measure().given == 1
    scope.spawn(["sleep", "60"])
    assert applied.measure().given == 0, "a process without the variables sees every device"


def test_how_long_a_quota_held_the_system_is_read_beside_the_limit(scope: Scope, tmp_path: Path) -> None:
    able("cpu-quota")
    applied = registry()["cpu-quota"].apply(20, {"period_ms": "10"}, context(scope, tmp_path))
    applied.measure()
    idle = applied.measure()
    assert (idle.throttled_ms, idle.throttled_periods) == (0.0, 0.0)
    scope.spawn([sys.executable, "-c", "while True: pass"])
    assert await_true(lambda: (applied.measure().throttled_ms or 0) > 0), "one that wants the whole core is held at a fifth of it"
    given = applied.measure()
    assert given.given == pytest.approx(20)
