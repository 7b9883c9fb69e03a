"""What neighbours are made of, without the machine: pages, weights, caches by their loads, folders."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import cache_probe, calibrated, storage
from agent.antagonist_page import Page
from agent.spinner import weight
from traces.errors import UsageError


def test_a_page_carries_the_rate_and_starts_at_nothing() -> None:
    page = Page()
    page.ask(12.5)
    assert Path(page.path).read_bytes()[:8] == b"\0\0\0\0\0\0)@"
    assert (page.done, page.forgiven, page.failure, page.ready) == (0, 0, None, False)
    page.close()
    page.close()


def test_failed_steps_are_said_with_their_error() -> None:
    page = Page()
    with Path(page.path).open("r+b") as other:
        other.seek(24)
        other.write((3).to_bytes(8, "little") + (28).to_bytes(8, "little"))
    assert page.failure == f"3 steps failed, the last with {os.strerror(28)}"
    page.close()


@given(st.integers(-19, 19))
def test_each_step_of_nice_is_worth_a_quarter(nice: int) -> None:
    assert weight({"nice": str(nice - 1)}) / weight({"nice": str(nice)}) == pytest.approx(1.25, rel=0.06)


def test_nice_zero_is_an_ordinary_neighbour_and_weight_beside_it_is_refused() -> None:
    assert weight({"nice": "0"}) == weight({"weight": "1024"}) == 1024
    assert weight({}) > 50_000
    with pytest.raises(UsageError, match="weight and nice"):
        weight({"nice": "1", "weight": "5"})


@pytest.mark.parametrize(
    ("loads", "declared", "found"),
    [
        ({1: 5.0, 2: 5.1, 4: 26.0, 8: 98.0, 16: 110.0}, 64, 2),
        ({1: 5.0, 2: 14.0, 4: 15.0, 8: 90.0, 64: 120.0}, 64, 4),
        ({1: 5.0, 2: 5.0, 4: 6.0}, 480, 480),
        ({1: 5.0, 2: 5.0, 4: 6.0}, 0, 4),
        ({1: 90.0, 2: 100.0, 4: 5.0}, 0, 4),
    ],
)
def test_a_cache_ends_where_loads_become_nearer_to_memory(loads: dict[int, float], declared: int, found: int) -> None:
    assert cache_probe.knee(loads, declared) == found


def test_what_was_calibrated_is_kept_until_the_next_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFSPEC_STATE_DIR", str(tmp_path))
    assert calibrated.known() == {}
    calibrated.keep({"membw": 9.5})
    calibrated.keep({"disk": 100.0, "membw": 9.0})
    assert calibrated.known() == {"membw": 9.0, "disk": 100.0}
    monkeypatch.setattr(calibrated, "boot_id", lambda: "another")
    assert calibrated.known() == {}
    calibrated.keep({"disk": 50.0})
    assert [p.name for p in tmp_path.iterdir()] == ["calibration-another.json"]
    (tmp_path / "calibration-another.json").write_text("[1, 2")
    assert calibrated.known() == {}


MOUNTS = """\
21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
22 21 0:20 / /tmp rw - tmpfs tmpfs rw
23 22 254:1 / /tmp/on\\040disk rw - xfs /dev/vdb rw
24 21 254:2 / /data rw shared:1 - ext4 /dev/vdc rw
25 24 0:31 / /data rw - overlay overlay rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/var/lib", "ext4"), ("/tmp/x", "tmpfs"), ("/tmp/on disk/x", "xfs"), ("/tmpfile", "ext4"), ("/data/a", "overlay")],
)
def test_the_file_system_of_a_folder_is_that_of_the_nearest_mount(tmp_path: Path, path: str, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert storage.file_system(Path(path), mounts) == kind


def test_a_folder_in_memory_a_full_disk_and_a_closed_folder_are_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "can lend" in str(storage.why_not(tmp_path, 1 << 60))
    monkeypatch.setattr(storage, "file_system", lambda path: "tmpfs")
    assert "lies in memory (tmpfs)" in str(storage.why_not(tmp_path / "not" / "yet", 1))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "is not writable" in str(storage.why_not(tmp_path, 1))


def test_a_file_system_without_direct_io_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(storage, "file_system", lambda path: "somefs")
    monkeypatch.setattr(os, "open", refuses)
    assert "(somefs) has no O_DIRECT" in str(storage.why_not(tmp_path, 1, direct=True))
    assert storage.why_not(tmp_path, 1) is None
