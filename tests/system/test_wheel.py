"""The built wheel runs by itself: in an empty virtual environment, away from the checkout."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_the_wheel_installs_and_runs_the_demo_in_an_empty_environment(tmp_path: Path) -> None:
    def run(*words: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(words, capture_output=True, text=True, cwd=cwd, timeout=900)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done

    run(sys.executable, "-m", "maturin", "build", "--release", "--locked", "--out", str(tmp_path / "dist"))
    (wheel,) = tmp_path.glob("dist/*.whl")
    run(sys.executable, "-m", "venv", str(tmp_path / "venv"))
    run(str(tmp_path / "venv/bin/pip"), "install", "-q", str(wheel))
    done = run(str(tmp_path / "venv/bin/offspec"), "demo", "--runs", str(tmp_path / "runs"), cwd=tmp_path)
    assert "report: " in done.stdout
    assert list(tmp_path.glob("runs/demo/*/report.html"))
