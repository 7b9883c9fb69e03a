"""What a machine must be after a trial as it was before: the comparison is pure, and a look finds what is there."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent import quarantine, snapshot
from agent.leftovers import of_others
from agent.snapshot import Snapshot, cleanup, diff

NAMES = st.text("abc", min_size=1, max_size=2)
PARTS = st.dictionaries(st.sampled_from(["setting", "agent", "process", "our queue", "mount"]), st.dictionaries(NAMES, NAMES, max_size=4))


@given(PARTS)
def test_a_machine_that_did_not_change_is_clean(parts: dict[str, dict[str, str]]) -> None:
    assert diff(Snapshot(parts), Snapshot(parts)) == ()
    assert cleanup(Snapshot(parts), Snapshot(parts)).verdict == "clean"


@given(PARTS, PARTS)
def test_changes_and_their_way_back_name_the_same_things(one: dict[str, dict[str, str]], other: dict[str, dict[str, str]]) -> None:
    there, back = diff(Snapshot(one), Snapshot(other)), diff(Snapshot(other), Snapshot(one))
    assert [(c.part, c.name, c.before, c.after) for c in there] == [(c.part, c.name, c.after, c.before) for c in back]


def test_what_bears_our_mark_or_is_a_setting_makes_a_node_dirty_and_what_others_do_does_not() -> None:
    before = Snapshot({"setting": {"vm/swappiness": "60", "net/eth0/mtu": "1500"}, "mount": {"/a": "ext4"}, "process": {"9@1": "old"}})
    after = Snapshot(
        {"setting": {"vm/swappiness": "10"}, "mount": {}, "process": {}, "our queue": {"eth0 f5:": "tbf"}, "link": {"veth1": ""}}
    )
    found = cleanup(before, after)
    assert found.verdict == "dirty"
    assert found.left == ("our queue eth0 f5: (tbf)", "setting vm/swappiness was 60, is 10")
    assert found.changed == ("link veth1", "mount /a is gone", "process 9@1 is gone")


def test_settings_and_groups_are_found_under_any_root(tmp_path: Path) -> None:
    for path, text in (
        ("proc/sys/vm/swappiness", "60\n"),
        ("sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq", "3000000\n"),
        ("sys/block/sda/queue/scheduler", "[none]\n"),
        ("sys/fs/cgroup/cpu/offspec/aaa/target/x", ""),
        ("sys/fs/cgroup/offspec/bbb/target/x", ""),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert snapshot.settings(tmp_path) == {
        "proc/sys/vm/swappiness": "60",
        "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "3000000",
        "sys/block/sda/queue/scheduler": "[none]",
    }
    assert list(snapshot.cgroups(tmp_path, lambda lease: lease == "aaa")) == [str(tmp_path / "sys/fs/cgroup/cpu/offspec/aaa/target")]
    assert len(snapshot.cgroups(tmp_path, lambda lease: True)) == 2


def test_what_other_tools_left_is_recognised_and_not_ours(tmp_path: Path) -> None:
    (tmp_path / "opt/chaosblade").mkdir(parents=True)
    (tmp_path / "opt/chaosblade/chaosblade.dat").touch()
    found = of_others(
        {11: "stress-ng-cpu", 12: "chaos_burncpu", 13: "bash", 14: "chaosd"},
        {"eth0 1:": "prio", "eth0 1e:": "netem", "veth9 504d:": "netem"},
        ["-A INPUT -j CHAOS-INPUT", "-A INPUT -p tcp -j ACCEPT"],
        tmp_path,
    )
    assert [(each.origin, each.what.split(" (")[0]) for each in found] == [
        ("stress-ng", "process 11"),
        ("ChaosBlade", "process 12"),
        ("chaosd", "process 14"),
        ("unknown", "queue netem on eth0 1e:"),
        ("Pumba", "queue netem on veth9 504d:"),
        ("Chaos Mesh", "firewall chain CHAOS-INPUT"),
        ("ChaosBlade", f"state file {tmp_path}/opt/chaosblade/chaosblade.dat"),
    ]
    assert not any(each.ours or each.step for each in found)


def test_a_quarantine_says_why_and_ends_with_the_boot(tmp_path: Path, monkeypatch) -> None:
    assert quarantine.of(tmp_path) is None
    quarantine.declare(tmp_path, "t001.1", ["our queue eth0 f5:", "a", "b", "c"])
    assert str(quarantine.of(tmp_path)) == (
        "after t001.1 this was left behind: our queue eth0 f5:; a; b and 1 more; run `offspec undo --all` there"
    )
    monkeypatch.setattr(quarantine, "boot_id", lambda: "another boot")
    assert quarantine.of(tmp_path) is None
    (tmp_path / "quarantine.json").write_text("{")
    assert "cannot be read" in str(quarantine.of(tmp_path))
    quarantine.lift(tmp_path)
    assert quarantine.of(tmp_path) is None
