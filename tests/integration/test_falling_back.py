"""Real systems under real violations: what they say of themselves is what the shipped campaigns look for."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import isa
from agent.ledger import Ledger
from agent.probes import answers
from agent.scope import Cgroups, Scope
from agent.violations import Context, Preparing, registry
from controller.campaign import Campaign, load_campaign
from controller.verdict import signs_of_fall_back
from tests.integration.engine_peers import free_port
from tests.rig import await_true

CAMPAIGNS = Path(__file__).parents[2] / "campaigns"


@pytest.fixture
def scope(tmp_path: Path) -> Iterator[Scope]:
    ledger = Ledger(tmp_path / "state")
    made = Scope("target", ledger, Cgroups())
    yield made
    assert made.end() == "undone"
    ledger.close()


def started(campaign: Campaign, variant: str, condition: str, scope: Scope, tmp_path: Path) -> tuple[int | None, str]:
    """Exit code (None: it serves) and log of a shipped campaign's system under a condition of it."""
    cores = tuple(sorted(os.sched_getaffinity(0)))
    env: dict[str, str] = {}
    prelude: list[object] = []
    for asked in campaign.expanded()[condition]:
        able = registry()[asked.name].probe(Cgroups(), len(cores))
        if not able.supported:
            pytest.skip(f"{asked.name}: {able.reason}")
        made = registry()[asked.name].apply(
            asked.dose, dict(asked.options), Context(scope._ledger, Cgroups(), cores, cores, tmp_path, scope)
        )
        assert isinstance(made, Preparing)
        env |= made.env
        prelude += made.prelude
    port = free_port()
    system = campaign.variant(variant)
    for name, content in system.files.items():
        (tmp_path / name).write_text(content)
    argv = [word.replace("{python}", sys.executable).replace("{port}", str(port)) for word in system.command]
    with (tmp_path / "log").open("wb") as log:
        child = scope.spawn(argv, env=env, prelude=prelude, cwd=str(tmp_path), output=log)  # type: ignore[arg-type]
    probe = campaign.system.ready.probe
    assert await_true(lambda: child.exit_code() is not None or answers(probe, "127.0.0.1", port), 20)
    return child.exit_code(), (tmp_path / "log").read_text()


@pytest.mark.parametrize("condition", ["old-kernel", "sandbox"])
def test_a_server_with_a_way_back_from_io_uring_falls_back_and_says_so(condition: str, scope: Scope, tmp_path: Path) -> None:
    campaign = load_campaign(CAMPAIGNS / "no-io-uring.yaml")
    code, log = started(campaign, "or-epoll", condition, scope, tmp_path)
    assert code is None
    assert signs_of_fall_back(campaign.system.falls_back, log, ())


def test_a_server_without_a_way_back_ends_and_says_why(scope: Scope, tmp_path: Path) -> None:
    code, log = started(load_campaign(CAMPAIGNS / "no-io-uring.yaml"), "io-uring-only", "old-kernel", scope, tmp_path)
    assert code == 1 and "nothing else is known here" in log


def test_unviolated_it_waits_by_io_uring_in_fact(scope: Scope, tmp_path: Path) -> None:
    campaign = load_campaign(CAMPAIGNS / "no-io-uring.yaml")
    code, log = started(campaign, "or-epoll", "nominal", scope, tmp_path)
    assert code is None
    if "waits by io_uring" not in log:
        pytest.skip(f"this kernel refuses io_uring anyway: {log}")
    assert not signs_of_fall_back(campaign.system.falls_back, log, ())
    (pid,) = scope.members()
    assert any("[io_uring]" in str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir())


def test_numpy_says_what_it_does_without(scope: Scope, tmp_path: Path) -> None:
    if "avx2" not in isa.present():
        pytest.skip("this processor has no AVX2")
    campaign = load_campaign(CAMPAIGNS / "no-avx2.yaml")
    code, log = started(campaign, "numpy", "no-avx2", scope, tmp_path)
    assert code is None
    assert signs_of_fall_back(campaign.system.falls_back, log, ()), log


def test_a_process_that_wrote_its_title_over_its_environment_counts_as_started_under_it(scope: Scope, tmp_path: Path) -> None:
    if not isa.seen({}):
        pytest.skip("nobody here says what it sees")
    features = next((f for f in ("aes", "avx2") if f in isa.present()), None)
    if features is None:
        pytest.skip("neither aes nor avx2 on this processor")
    cores = tuple(sorted(os.sched_getaffinity(0)))
    applied = registry()["mask-isa"].apply(1, {"features": features}, Context(scope._ledger, Cgroups(), cores, cores, tmp_path, scope))
    overwrite = (
        "import ctypes, os, time; s = open('/proc/self/stat').read().rpartition(')')[2].split();"
        "a, b = int(s[50 - 3]), int(s[51 - 3]); ctypes.memset(a, 0, b - a); print('done', flush=True); time.sleep(60)"
    )
    child = scope.spawn([sys.executable, "-c", overwrite], env=dict(applied.env))
    environ = Path(f"/proc/{child.pid}/environ")
    assert await_true(lambda: b"=" not in environ.read_bytes())
    assert applied.measure().given == 1
