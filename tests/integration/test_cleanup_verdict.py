"""After each trial the machine is compared with before: what is left makes the node dirty, and a dirty node takes no trial."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from agent import quarantine
from agent.ledger import Ledger, work_folder
from agent.link import Link
from agent.metrics import Figures
from agent.scope import Cgroups, Scope
from agent.trial import StepFailed
from agent.undo_command import run as undo
from protos.offspec.v1 import agent_link_pb2 as pb


@pytest.fixture
def link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("OFFSPEC_STATE_DIR", str(tmp_path))
    ledger = Ledger(tmp_path)
    made = Link(
        address="127.0.0.1:1", agent="a", token="t", state_dir=tmp_path, ledger=ledger, figures=Figures(), metrics_url="",
        leftovers={}, exit_with_controller=True,
    )  # fmt: skip
    yield made
    ledger.close()


def deployed(link: Link) -> Any:
    trial = link._new_trial("t000.1")
    trial.put_log = lambda data: None
    trial.deploy(pb.Deploy(system="s", variant="v", command=["sleep", "60"], cores=[min(os.sched_getaffinity(0))], pin=True))
    return trial


def test_a_trial_that_leaves_nothing_is_clean(link: Link, tmp_path: Path) -> None:
    answer = deployed(link).teardown()
    assert answer["leftovers"] == [] and answer["cleanup"]["left"] == []
    assert answer["cleanup"]["verdict"] == "clean"
    assert quarantine.of(tmp_path) is None


def test_what_a_trial_leaves_is_named_and_the_node_takes_no_trial_until_undo(
    link: Link, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = deployed(link)
    forgotten = Scope("forgotten", link._ledger, Cgroups())
    child = forgotten.spawn(["sleep", "300"])
    work_folder(link._ledger, link._dir / "forgotten")
    answer = trial.teardown()
    assert answer["cleanup"]["verdict"] == "dirty"
    left = "; ".join(answer["cleanup"]["left"])
    assert f"process {child.pid}@" in left and "folder " in left and ("cgroup" in left or not forgotten.paths)
    with pytest.raises(StepFailed, match=r"node a is quarantined: after t000.1 this was left behind") as refused:
        link._new_trial("t001.1")
    assert refused.value.failure_class == "spec"
    probed = asyncio.run(asyncio.to_thread(link._verb, pb.Command(probe=pb.Probe()), "probe"))
    assert probed["quarantine"] == str(quarantine.of(tmp_path))
    link._ledger.close()

    class Words:
        all, live, json = True, False, True

    assert undo(Words) == 0  # type: ignore[arg-type]
    assert json.loads(capsys.readouterr().out)["quarantine"] == "lifted"
    assert quarantine.of(tmp_path) is None
