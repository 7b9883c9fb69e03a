"""Memory of a GPU held by a neighbour, from the order to NVML's reading: the driver is a library of ours, and so is what NVML says."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest

from agent.ledger import Ledger, work_folder
from agent.scope import Cgroups
from agent.violations import Context, Varying
from agent.violations.gpu_memory import VIOLATION
from tests.integration.test_gpu_neighbours import driver  # noqa: F401
from tests.rig import await_true
from traces.errors import PreflightFailed

MIB = 1 << 20


class Failed(Exception):
    pass


def holders() -> list[int]:
    """Live processes that hold memory of the GPU."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # ended while we looked
            if b"agent.gpu_hold" in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


@pytest.fixture
def here(tmp_path: Path, driver: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:  # noqa: F811
    monkeypatch.setenv("LD_LIBRARY_PATH", str(driver))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    ledger = Ledger(tmp_path / "state")
    cores = tuple(sorted(os.sched_getaffinity(0)))
    folder, _ = work_folder(ledger, tmp_path / "work")
    yield Context(ledger, Cgroups(), cores[:1], cores, folder)
    ledger.close()


def nvml(monkeypatch: pytest.MonkeyPatch, folder: Path, *, by_process: bool = True, free_mib: int = 156) -> None:
    def used() -> int:
        text = (folder / "cuda-used").read_text() if (folder / "cuda-used").exists() else ""
        return int(text or 0)

    fake = SimpleNamespace(
        NVMLError=Failed, nvmlInit=lambda: None, nvmlShutdown=lambda: None, nvmlDeviceGetHandleByIndex=lambda n: n,
        nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(total=256 * MIB, free=free_mib * MIB, used=used() + 7 * MIB),
        nvmlDeviceGetComputeRunningProcesses=lambda _: [SimpleNamespace(pid=p, usedGpuMemory=used()) for p in holders() if by_process],
    )  # fmt: skip
    for each in vars(fake):
        monkeypatch.setattr(pynvml, each, getattr(fake, each))


@pytest.mark.parametrize(("by_process", "source", "words"), [
    (True, "nvml, of the process", "the neighbour's context holds 100 MiB more"), (False, "nvml, of the device", "what others take"),
])  # fmt: skip
def test_what_is_held_is_what_nvml_says_beyond_the_context(
    by_process: bool, source: str, words: str, here: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml(monkeypatch, tmp_path, by_process=by_process)
    applied = VIOLATION.apply(64, {}, here)
    reading = applied.measure()
    assert (reading.given, reading.source) == (64, source) and words in (reading.remark or "")
    assert isinstance(applied, Varying)
    applied.set(24)
    assert await_true(lambda: applied.measure().given == 24), "it gives back what is no longer asked"
    applied.set(1000)
    assert await_true(lambda: applied.measure().given is None), "more than there is ends it, and no dose is told any more"
    assert applied.undo() == "undone" and applied.undo() == "undone"


def test_more_than_is_free_is_refused_and_leaves_nothing(here: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch, tmp_path)
    with pytest.raises(PreflightFailed, match="violation gpu-memory: 200 MiB asked, 156 MiB of GPU 0 are free"):
        VIOLATION.apply(200, {}, here)
    nvml(monkeypatch, tmp_path, free_mib=250)
    with pytest.raises(PreflightFailed, match=r"the driver did not give 200 MiB, only \d+ MiB"):
        VIOLATION.apply(200, {}, here)
    assert not holders()


def test_a_node_without_a_gpu_is_refused_by_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise Failed("NVML Shared Library Not Found")

    monkeypatch.setattr(pynvml, "NVMLError", Failed)
    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    said = VIOLATION.probe(Cgroups(), 2)
    assert not said.supported and said.reason == "no NVIDIA GPU here: NVML Shared Library Not Found"
