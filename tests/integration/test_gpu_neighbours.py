"""Neighbours on a GPU, from the order to the reading, against a driver that is a library of ours: only the GPU is not there.

The driver is compiled here (cc) and found by LD_LIBRARY_PATH, as the real one would be by the loader.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent import gpu_load
from agent.ledger import Ledger, work_folder
from agent.scope import Cgroups
from agent.violations import Context, registry
from traces.errors import PreflightFailed

SOURCE = Path(__file__).with_name("fake_cuda.c")
NAMES = ("gpu", "gpu-membw", "pcie")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler (cc) to make the fake driver with")
    folder = tmp_path_factory.mktemp("driver")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(folder / "libcuda.so.1"), str(SOURCE)], check=True)
    return folder


@pytest.fixture
def here(tmp_path: Path, driver: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(driver))
    ledger = Ledger(tmp_path)
    cores = tuple(sorted(os.sched_getaffinity(0)))
    folder, _ = work_folder(ledger, tmp_path / "work")
    yield Context(ledger, Cgroups(), cores[:1], cores, folder)
    ledger.close()


@pytest.mark.parametrize(
    ("name", "dose", "options", "source"),
    [
        ("gpu", 30.0, {}, "cuda events"),
        ("gpu-membw", 4.0, {}, "copies done"),
        ("pcie", 2.0, {}, "copies done"),
        ("pcie", 2.0, {"direction": "from-device"}, "copies done"),
    ],
)
def test_a_gpu_is_loaded_at_the_pace_asked_for(name: str, dose: float, options: dict[str, str], source: str, here: Context) -> None:
    applied = registry()[name].apply(dose, options, here)
    applied.measure()
    time.sleep(0.6)
    reading = applied.measure()
    assert reading.given == pytest.approx(dose, rel=0.35)
    assert reading.source == source
    assert applied.undo() == "undone"


def test_more_than_the_gpu_has_is_not_given_and_seen(here: Context) -> None:
    applied = registry()["pcie"].apply(40.0, {}, here)
    applied.measure()
    time.sleep(0.6)
    given = applied.measure().given
    assert given is not None and given < 11
    applied.undo()


def test_a_gpu_that_is_not_there_is_one_line(here: Context) -> None:
    with pytest.raises(PreflightFailed, match="there is no GPU 3: the driver has 1"):
        registry()["gpu"].apply(10, {"device": "3"}, here)


def test_a_driver_that_refuses_is_named_with_its_own_words(here: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agent.cuda import CudaFailed, Gpu

    class Refusing:
        def cuInit(self, _: object) -> int:
            return 100

        def cuGetErrorString(self, code: object, text: object) -> int:
            return 1

    with pytest.raises(CudaFailed, match="cuInit: error 100"):
        Gpu(0, Refusing())


def nvml(monkeypatch: pytest.MonkeyPatch, count: int, error: str = "") -> None:
    import pynvml

    class Failed(Exception):
        pass

    def init() -> None:
        if error:
            raise Failed(error)

    fake = SimpleNamespace(
        NVMLError=Failed, nvmlInit=init, nvmlShutdown=lambda: None, nvmlDeviceGetCount=lambda: count,
        nvmlDeviceGetHandleByIndex=lambda n: n, nvmlDeviceGetName=lambda handle: f"NVIDIA Test {handle}",
    )  # fmt: skip
    for each in vars(fake):
        monkeypatch.setattr(pynvml, each, getattr(fake, each))


@pytest.mark.parametrize("name", NAMES)
def test_a_node_without_a_gpu_or_its_driver_says_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch, 0, "NVML Shared Library Not Found")
    assert "no NVIDIA GPU here: NVML Shared Library Not Found" in registry()[name].probe(Cgroups(), 2).reason
    nvml(monkeypatch, 0)
    assert registry()[name].probe(Cgroups(), 2).reason == "the NVIDIA driver has no GPU"
    nvml(monkeypatch, 1)
    monkeypatch.setattr(gpu_load, "LIBRARY", "libcuda-that-is-not-there.so.1")
    assert "the CUDA driver's library is missing" in registry()[name].probe(Cgroups(), 2).reason
    monkeypatch.setattr(gpu_load, "LIBRARY", "libc.so.6")
    said = registry()[name].probe(Cgroups(), 2)
    assert said.supported and "on NVIDIA Test 0" in said.mechanism
