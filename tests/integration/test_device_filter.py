"""Device files refused to a scope, for real: a node of our own with the numbers of /dev/zero stands for a GPU's."""

import errno
import os
import stat
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import device_filter
from agent.ledger import Ledger
from agent.scope import Cgroups, Scope
from agent.violations import Context, no_gpu
from agent.violations.no_gpu import NoGpu

CGROUPS = Cgroups()
ZERO = (1, 5)
pytestmark = pytest.mark.skipif(os.geteuid() != 0 or CGROUPS.version == 0, reason="wants root and cgroups of its own")


@pytest.fixture
def scope(tmp_path: Path) -> Iterator[Scope]:
    ledger = Ledger(tmp_path / "state")
    made = Scope("target", ledger, CGROUPS)
    yield made
    assert made.end() == "undone"
    ledger.close()


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    """A /dev with one GPU, whose driver happens to answer as /dev/zero does."""
    folder = tmp_path / "dev"
    folder.mkdir()
    os.mknod(folder / "nvidia0", 0o666 | stat.S_IFCHR, os.makedev(*ZERO))
    return folder


def opening(scope: Scope, path: Path) -> int:
    code = "import os, sys\ntry: os.open(sys.argv[1], os.O_RDWR)\nexcept OSError as error: sys.exit(error.errno)"
    return scope.spawn([sys.executable, "-I", "-S", "-c", code, str(path)]).process.wait(10)


@pytest.mark.parametrize("way", ["v2", "v1"])
def test_a_denied_device_cannot_be_opened_and_others_can(way: str, scope: Scope, dev: Path) -> None:
    group = scope.v2_path if way == "v2" else scope.devices_path
    if group is None or (way == "v2" and device_filter.why_no_program()):
        pytest.skip(f"no {way} way to refuse devices here")
    assert opening(scope, dev / "nvidia0") == 0
    deny = device_filter.deny_by_program if way == "v2" else device_filter.deny_by_list
    deny(group, [(195, 0), ZERO, (226, 128)])
    assert opening(scope, dev / "nvidia0") == errno.EPERM
    assert opening(scope, Path("/dev/zero")) == errno.EPERM, "the numbers are what counts, not the name"
    assert opening(scope, Path("/dev/null")) == 0
    os.close(os.open(dev / "nvidia0", os.O_RDWR))  # we are not in that scope


@pytest.mark.parametrize("way", ["v2", "v1", "variables"])
def test_a_system_without_gpus_is_refused_them_by_what_the_node_has(
    way: str, scope: Scope, dev: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way != "v2":
        monkeypatch.setattr(Scope, "v2_path", property(lambda self: None))
    if way == "variables":
        monkeypatch.setattr(Scope, "devices_path", property(lambda self: None))
    cores = tuple(sorted(os.sched_getaffinity(0)))
    applied = NoGpu(dev).apply(1, {}, Context(scope._ledger, CGROUPS, cores[:1], cores, tmp_path, scope))
    expected = {"v2": "device filter of cgroup v2, and ", "v1": "devices.deny of cgroup v1, and ", "variables": ""}[way]
    if way != "variables" and not applied.mechanism.startswith(expected):
        pytest.skip(f"no {way} way to refuse devices here")
    assert applied.mechanism == expected + "variables of CUDA, HIP, ROCr and SYCL"
    assert applied.fidelity == ("proxy" if way == "variables" else "equivalent")
    assert (opening(scope, dev / "nvidia0") == errno.EPERM) == (way != "variables")
    scope.spawn(["sleep", "60"], env=applied.env)
    assert applied.measure().given == 1


def test_a_node_is_only_promised_what_it_can(dev: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nothing to take away" in NoGpu(tmp_path).probe(CGROUPS, 2).reason
    assert NoGpu(dev).probe(CGROUPS, 2).fidelity == "equivalent" or device_filter.why_no_program()
    monkeypatch.setattr(no_gpu.device_filter, "why_no_program", lambda: "bpf: Operation not permitted")
    alone = Cgroups(tmp_path / "none")
    assert NoGpu(dev).probe(alone, 2).fidelity == "proxy"


def test_the_program_denies_the_pairs_and_nothing_else() -> None:
    denied = [(195, 0), (195, 255), (226, 128)]
    code = device_filter.program(denied)

    def run(kind: int, major: int, minor: int) -> int:
        """What the kernel's interpreter would do with the few instructions that are used."""
        lines = list(struct.iter_unpack("=BBhi", code))
        held, at = {1: 0}, 0
        context = {0: 3 << 16 | kind, 4: major, 8: minor}
        while True:
            name, registers, offset, imm = lines[at]
            to = registers & 0xF
            at += 1
            match name:
                case 0x61:
                    held[to] = context[offset]
                case 0x54:
                    held[to] &= imm
                case 0x15 | 0x55:
                    at += offset if (held[to] == imm) is (name == 0x15) else 0
                case 0xB7:
                    held[to] = imm
                case 0x95:
                    return held[0]

    for major in (1, 195, 226):
        for minor in (0, 128, 255):
            assert run(2, major, minor) == int((major, minor) not in denied)
            assert run(1, major, minor) == 1, "a block device of the same numbers is another device"
