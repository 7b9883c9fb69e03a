"""Neighbours on the real kernel: each gives its dose, by the kernel's own count where it has one, and leaves nothing behind."""

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import calibrated, calibration, inventory, kernel_counts, paced, storage
from agent.ledger import Ledger, work_folder
from agent.scope import Cgroups
from agent.violations import Applied, Calibrating, Context, Summing, registry
from agent.violations.stress import accounted
from protos.violations import CATALOGUE
from traces.errors import OffspecError, PreflightFailed, UsageError

CGROUPS = Cgroups()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Context]:
    """A node of which the system has the first core. Files lie beside the checkout: a disk, where the machine has one at all."""
    ledger = Ledger(tmp_path)
    cores = tuple(sorted(os.sched_getaffinity(0)))
    folder, _ = work_folder(ledger, tmp_path / "work")
    yield Context(ledger, CGROUPS, cores[:1], cores, folder)
    ledger.close()
    assert not folder.exists()


def able(name: str, here: Context) -> None:
    """Skips with the node's own reason where it, or the folder of this test, cannot."""
    said = registry()[name].probe(CGROUPS, len(os.sched_getaffinity(0)))
    reason = said.reason if not said.supported else None
    if name in ("disk", "disk-bw", "fsync", "pagecache"):
        reason = reason or storage.why_not(here.work_dir, 16 << 20, direct=name.startswith("disk"))
    if reason:
        pytest.skip(f"{name}: {reason}")


def given(applied: Applied, seconds: float = 0.4) -> float:
    applied.measure()
    time.sleep(seconds)
    reading = applied.measure()
    assert reading.given is not None, reading.source
    return reading.given


DOSES = [
    ("cpu", 30.0, {"period_ms": "10"}, "cpuacct"),
    ("llc", 100.0, {"cache_mib": "1"}, "counter"),
    ("membw", 0.5, {}, "counter"),
    ("memhog", 64.0, {}, "RssAnon"),
    ("tlb", 500_000.0, {}, "counter"),
    ("pagefault", 10_000.0, {}, "minflt"),
    ("pagecache", 10.0, {"file_mib": "16"}, "read_bytes+write_bytes"),
    ("pagecache", 10.0, {"file_mib": "16", "write": "100"}, "read_bytes+write_bytes"),
    ("disk", 100.0, {"file_mib": "16", "write": "50"}, "read_bytes+write_bytes"),
    ("disk-bw", 10.0, {"file_mib": "16"}, "read_bytes+write_bytes"),
    ("fsync", 20.0, {}, "write_bytes"),
    ("net", 50.0, {}, "lo rx_bytes"),
    ("net", 50.0, {"address": "127.0.0.1", "packet_bytes": "500"}, "counter"),
    ("softirq", 10_000.0, {}, "lo rx_packets"),
    ("syscall", 50_000.0, {}, "syscr"),
    ("ctxswitch", 4000.0, {}, "voluntary_ctxt_switches"),
    ("lock", 4000.0, {}, "counter"),
]


@pytest.mark.parametrize(("name", "dose", "options", "source"), DOSES, ids=[f"{n}-{'-'.join(o) or 'plain'}" for n, _, o, _ in DOSES])
def test_a_dose_is_given_by_the_kernels_count_and_taken_back(
    name: str, dose: float, options: dict[str, str], source: str, here: Context
) -> None:
    able(name, here)
    applied = registry()[name].apply(dose, options, here)
    try:
        assert given(applied) == pytest.approx(dose, rel=0.35)
        reading = applied.measure()
        if os.geteuid() == 0:
            assert reading.source == source
            assert reading.cpu_percent is not None
        assert "core" in applied.mechanism
    finally:
        assert applied.undo() == "undone"
    assert applied.undo() == "undone"
    assert [p.name for p in here.work_dir.iterdir()] == [".offspec"]


@pytest.mark.parametrize(("name", "before", "after"), [("membw", 0.2, 0.6), ("syscall", 20_000.0, 60_000.0), ("cpu", 10.0, 40.0)])
def test_a_dose_that_varies_is_the_new_one_at_once(name: str, before: float, after: float, here: Context) -> None:
    able(name, here)
    assert CATALOGUE[name].varies
    applied = registry()[name].apply(before, {}, here)
    assert given(applied) == pytest.approx(before, rel=0.4)
    applied.set(after)
    assert given(applied) == pytest.approx(after, rel=0.4)
    applied.set(0)
    time.sleep(0.1)
    assert given(applied) == pytest.approx(0, abs=after * 0.02)
    applied.undo()


def test_what_varies_can_be_set_and_nothing_else_can(here: Context) -> None:
    for name in ("cpu", "membw", "memhog", "llc", "fsync"):
        able(name, here)
        applied = registry()[name].apply(CATALOGUE[name].low, {"cache_mib": "1"} if name == "llc" else {}, here)
        assert hasattr(applied, "set") == CATALOGUE[name].varies, name
        applied.undo()


def test_no_dose_is_no_load(here: Context) -> None:
    applied = registry()["membw"].apply(0, {}, here)
    assert given(applied, 0.2) == 0
    applied.undo()


def test_memory_grows_as_asked_and_is_not_there_before(here: Context) -> None:
    applied = registry()["memhog"].apply(200, {"growth_mib_s": "100"}, here)
    first = applied.measure().given
    time.sleep(0.5)
    then = applied.measure().given
    assert first is not None and then is not None
    assert first < then < 150
    applied.undo()


def test_a_stressor_gets_its_share_and_no_more(here: Context) -> None:
    able("stress", here)
    options = {"stressor": "vm", "args": "--vm-bytes 16m", "workers": "2"}
    applied = registry()["stress"].apply(30, options, here)
    time.sleep(0.3)
    assert given(applied) == pytest.approx(30, rel=0.35)
    assert applied.fidelity == "proxy"
    assert (applied.undo(), applied.undo()) == ("undone", "undone")
    assert isinstance(applied, Summing) and re.fullmatch(
        r"\d+ bogo operations, [0-9.e+]+ a second, by the account of stress-ng [0-9.]+", applied.summary or ""
    )
    assert [p.name for p in here.work_dir.iterdir()] == [".offspec"]


def test_the_account_of_a_stressor_that_did_nothing_countable_is_none() -> None:
    assert accounted("system-info:\n      stress-ng-version: 0.15.06\n") is None
    text = "metrics:\n    - stressor: vm\n      bogo-ops: 120\n      bogo-ops-per-second-real-time: 40.5\n"
    assert accounted(text) == "120 bogo operations, 40.5 a second, by the account of stress-ng of unknown version"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stressor": "no-such"}, "has no stressor 'no-such'"),
        ({"stressor": "clock"}, "changes the machine"),
        ({"stressor": "shm-sysv"}, "leaves kernel objects"),
        ({"stressor": "vm", "args": "--hdd 4"}, "only options of --vm-"),
        ({"stressor": "vm", "args": "--vm-bytes 1m --temp-path /"}, "'--temp-path'"),
        ({"stressor": "vm", "args": "-t 1"}, "'-t'"),
        ({"stressor": "vm", "args": "stray"}, "'stray'"),
    ],
)
def test_a_stressor_that_may_not_be_is_refused_by_name(options: dict[str, str], words: str, here: Context) -> None:
    able("stress", here)
    with pytest.raises(UsageError, match=words):
        registry()["stress"].apply(10, options, here)


def test_a_neighbour_that_is_killed_has_no_dose(here: Context) -> None:
    applied = registry()["syscall"].apply(1000, {}, here)
    assert isinstance(applied, paced.Paced)
    os.kill(applied._launched.child.pid, signal.SIGKILL)
    applied._launched.child.process.wait(5)
    assert applied.measure().given is None
    assert applied.undo() == "undone"


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace wants root")
def test_packets_of_a_neighbour_are_not_on_the_nodes_loopback(here: Context) -> None:
    applied = registry()["softirq"].apply(20_000, {}, here)
    before = kernel_counts.received(os.getpid())[1]
    assert given(applied) > 10_000
    assert kernel_counts.received(os.getpid())[1] - before < 5000
    applied.undo()


@pytest.mark.parametrize(
    ("name", "dose", "options", "error", "words"),
    [
        ("membw", 1, {"place": "other-numa"}, UsageError, "no memory node but"),
        ("syscall", 1, {"place": "sibling"}, UsageError, "SMT is off or absent"),
        ("memhog", 1 << 40, {}, PreflightFailed, "can be lent without starving"),
        ("disk", 1, {"block_kib": "6"}, UsageError, "multiple of 4"),
        ("disk", 1, {"file_mib": str(1 << 30)}, PreflightFailed, "can lend"),
        ("pagecache", 1, {"file_mib": str(1 << 30)}, PreflightFailed, "can lend"),
        ("net", 1, {"address": "192.0.2.1"}, PreflightFailed, "assign requested address"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    name: str, dose: float, options: dict[str, str], error: type[OffspecError], words: str, here: Context
) -> None:
    able(name, here)
    if "place" in options and _has(options["place"], here):
        pytest.skip(f"this machine has the place {options['place']}")
    with pytest.raises(error, match=words) as raised:
        registry()[name].apply(dose, options, here)
    assert "\n" not in str(raised.value)
    assert [p.name for p in here.work_dir.iterdir()] == [".offspec"]
    assert not list(Path("/sys/fs/cgroup").glob(f"*/offspec/{here.ledger.lease}/*"))


def _has(place: str, here: Context) -> bool:
    from protos.topology import NoPlace, cores_at

    try:
        return bool(cores_at(place, here.topology, here.target_cores, here.all_cores))
    except NoPlace:
        return False


def test_a_machine_without_smt_refuses_the_sibling_before_anything_starts(here: Context) -> None:
    said = registry()["smt"].probe(CGROUPS, len(here.all_cores))
    if said.supported:
        applied = registry()["smt"].apply(30, {}, here)
        assert given(applied) == pytest.approx(30, rel=0.3)
        applied.undo()
    else:
        assert "second hardware thread" in said.reason


def test_files_are_gone_when_the_guard_undoes_them(here: Context) -> None:
    able("fsync", here)
    registry()["fsync"].apply(10, {}, here)
    assert len(list(here.work_dir.iterdir())) == 2
    here.ledger.undo_all()
    assert not here.work_dir.exists()


def test_an_address_of_the_node_takes_packets_from_outside_our_namespace(here: Context) -> None:
    name = socket.gethostname()
    try:
        address = socket.gethostbyname(name)
    except OSError:
        pytest.skip(f"{name} has no address here")
    if address.startswith("127."):
        pytest.skip("this node has no address but loopback's")
    applied = registry()["net"].apply(20, {"address": address}, here)
    assert given(applied) == pytest.approx(20, rel=0.35)
    applied.undo()


def test_the_most_that_a_node_gives_is_tried_kept_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFSPEC_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(paced, "_CALIBRATE_S", 0.3)
    found = calibration.calibrate(["syscall", "no-such-violation", "cores"])
    assert set(found) == {"syscall"}
    assert found["syscall"] > 10_000
    assert calibrated.known() == found
    assert inventory.probe(CGROUPS)["capabilities"]["syscall"]["calibrated"] == found["syscall"]
    assert not list((tmp_path / "work").iterdir())


def test_every_rated_neighbour_can_be_calibrated() -> None:
    known_untried = {"cpu", "smt", "stress", "gpu-memory"}  # shares of cores, and how much there is
    rated = {n for n, s in CATALOGUE.items() if s.axis == "sharing" and s.varies} - known_untried
    assert rated <= {n for n, v in registry().items() if isinstance(v, Calibrating)}
