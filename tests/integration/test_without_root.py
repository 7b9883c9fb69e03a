"""Without root what can be done is done, and the rest says what it needs; without a place for the journal nothing is done."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65534


PLAIN = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--bounding-set", "-all"]
READING = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
READING += ["--inh-caps", "-all,+dac_read_search", "--ambient-caps", "+dac_read_search"]
"""The second may also read what nobody may not: a Python that lies in root's home."""


def dropped() -> list[str] | None:
    for way in (PLAIN, READING):
        try:
            looks = "import psutil, pyarrow, subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)"
            if subprocess.run([*way, sys.executable, "-c", looks], cwd="/", capture_output=True).returncode == 0:
                return way
        except OSError:
            return None
    return None


def as_nobody(*words: str, state: Path) -> "subprocess.CompletedProcess[str]":
    way = dropped()
    assert way is not None
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG")}
    return subprocess.run(
        [*way, sys.executable, "-m", "agent.cli", *words], capture_output=True, text=True, timeout=60, cwd="/",
        env=kept | {"PYTHONPATH": str(ROOT), "OFFSPEC_STATE_DIR": str(state), "HOME": "/nonexistent"},
    )  # fmt: skip


@pytest.fixture
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if os.geteuid() != 0:
        pytest.skip("drops root, so it wants to be root")
    if dropped() is None:
        pytest.skip("nobody may not run this Python, or there is no setpriv")
    made = tmp_path_factory.mktemp("nobody")
    for path in (made, *made.parents):
        if path == Path("/tmp"):
            break
        path.chmod(0o755)
    os.chown(made, NOBODY, NOBODY)
    return made


def test_doctor_says_what_works_and_what_the_rest_needs(state: Path) -> None:
    done = as_nobody("doctor", "--json", state=state)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    able = found["capabilities"]
    assert found["root"] is False
    assert able["cores"]["supported"] and able["mask-isa"]["supported"]
    for name, each in able.items():
        assert each["supported"] or each["reason"], f"{name} neither works nor says why"
    assert "root" in able["cpu-quota"]["reason"] and "memory cgroup" in able["memory"]["reason"]


def test_a_violation_that_works_without_root_is_given_and_undone(state: Path) -> None:
    done = as_nobody("inject", "membw", "--dose", "0.1", "--for", "2s", "--json", state=state)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["undone"] and document["measured"] == pytest.approx(0.1, rel=0.4)
    assert not list(state.glob("undo/*"))


@pytest.mark.parametrize(("mode", "words"), [(0o555, "Permission denied")])
def test_a_state_folder_that_may_not_be_written_is_one_line_and_nothing_is_applied(state: Path, mode: int, words: str) -> None:
    state.chmod(mode)
    done = as_nobody("inject", "membw", "--dose", "0.1", "--for", "1s", state=state)
    assert done.returncode == 4
    assert words in done.stderr and "OFFSPEC_STATE_DIR" in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_a_full_disk_is_one_line_and_nothing_is_applied(tmp_path: Path) -> None:
    """A file system of 16 KiB in a mount namespace of our own, filled to its last byte."""
    if os.geteuid() != 0:
        pytest.skip("mounts, so it wants to be root")
    disk = tmp_path / "disk"
    disk.mkdir()
    inject = f"{sys.executable} -m agent.cli inject membw --dose 0.1 --for 1s"
    script = (
        f"mount -t tmpfs -o size=16k none {disk} && mkdir {disk}/undo && (cat /dev/zero > {disk}/filler 2>/dev/null; "
        f"OFFSPEC_STATE_DIR={disk} {inject}; echo code $?; ls {disk})"
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=60, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    if "code" not in done.stdout:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    assert "code 4" in done.stdout or "code 20" in done.stdout, done.stdout + done.stderr
    assert "No space left on device" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert "work" not in done.stdout.split("code")[1], "nothing was made before its undo step was on the disk"
