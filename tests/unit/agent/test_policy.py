"""What the owner of a machine allows: strict when read, and in force whoever asks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agent import policy
from agent.policy import Policy
from agent.violations import Capability
from controller.attempts import AskedViolation
from controller.capabilities import why_not
from protos.topology import Topology
from protos.violations import CATALOGUE
from traces.errors import InvalidInput, PreflightFailed

WHOLE = """\
allow: [cpu, membw, memory]
doses:
  cpu: 50
  membw: 500 MB/s
cores: [0]
memory_left: 1 MiB
longest: 10m
"""


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(WHOLE)
    monkeypatch.setenv("OFFSPEC_POLICY", str(path))
    return path


def test_a_policy_is_read_in_the_catalogues_units(rules: Path) -> None:
    assert policy.read() == Policy(rules, ("cpu", "membw", "memory"), {"cpu": 50.0, "membw": 0.5}, (0,), 1 << 20, 600.0)


def test_a_node_without_a_file_allows_what_ends_with_its_process_or_is_an_object_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Policy()
    for name, spec in ((n, s) for n, s in CATALOGUE.items() if s.on_node):
        assert (plain.why_not(name, 1) is None) == (spec.undo in ("A", "B")), name


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("longest", "longst", r"policy.yaml:7: longst: unknown key \(known here: allow, doses"),
        ("memory]", "memry]", r"policy.yaml:1: allow.2: 'memry' is no violation of a machine"),
        ("  cpu: 50", "  cpu: lots", r"policy.yaml:3: doses.cpu: 'lots' is not a number; give one in percent"),
        ("500 MB/s", "500 MHz", r"policy.yaml:4: doses.membw: unit 'MHz' is unknown"),
        ("[0]", "0", r"policy.yaml:5: cores: expected a list of core numbers"),
        ("1 MiB", "much", r"policy.yaml:6: memory_left: 'much': expected an amount"),
        ("10m", "long", r"policy.yaml:7: longest: 'long': expected a time"),
    ],
)
def test_what_is_not_understood_is_one_line_and_allows_nothing(old: str, new: str, words: str, rules: Path) -> None:
    rules.write_text(WHOLE.replace(old, new))
    with pytest.raises(InvalidInput, match=words):
        policy.read()
    (cpu,) = policy.ruled({"cpu": Capability(True, "m", "exact")}).values()
    assert not cpu.supported and cpu.reason.startswith("this node's policy allows nothing until it is mended: ")


def test_the_planner_refuses_with_the_reason_what_the_policy_of_a_node_forbids(rules: Path) -> None:
    able = {n: each.to_json() for n, each in policy.ruled({n: Capability(True, "m", "exact") for n in ("cpu", "membw", "cores")}).items()}

    def refused(name: str, dose: float, seconds: float = 1.0) -> str | None:
        spec = CATALOGUE[name]
        return why_not(AskedViolation(name, spec.axis, spec.unit, dose), able, (0, 1), (0,), Topology(), seconds)

    assert refused("cpu", 50) is None
    assert refused("cpu", 51) == "51 percent asked, the node's policy allows at most 50"
    assert refused("cores", 1) == f"this node's policy ({rules}) does not allow it"
    assert "allows 600 s at most" in str(refused("cpu", 50, 700))
    assert policy.cores_of([0, 1]) == [0]


def test_an_agent_refuses_by_itself_whatever_a_controller_says(rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PreflightFailed, match=r"60 percent asked, .* allows at most 50"):
        policy.enforce("cpu", 60)
    with pytest.raises(PreflightFailed, match="does not allow it"):
        policy.enforce("cores", 1)
    assert policy.enforce("cpu", 50).time_for("cpu") == 600
    monkeypatch.setattr(policy, "available_bytes", lambda: 1000)
    with pytest.raises(PreflightFailed, match="1 MiB are to stay available"):
        policy.enforce("cpu", 50)


def test_inject_obeys_and_doctor_shows_it(rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFSPEC_STATE_DIR", str(tmp_path / "state"))

    def offspec(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([sys.executable, "-m", "agent.cli", *words], capture_output=True, text=True, timeout=60)

    for words, said in (
        (("inject", "cpu", "--dose", "60", "--for", "1s"), "60 percent asked, this node's policy"),
        (("inject", "cpu", "--dose", "10", "--for", "11m"), "660 s asked, this node's policy"),
        (("inject", "llc", "--dose", "1", "--for", "1s"), "does not allow it"),
    ):
        done = offspec(*words)
        assert done.returncode == 4 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
    found = json.loads(offspec("doctor", "--json").stdout)
    assert found["policy"]["doses"] == {"cpu": 50.0, "membw": 0.5} and found["cores"] == [0]
    assert found["capabilities"]["cores"]["reason"].endswith("does not allow it")
    assert "cpu up to 50 percent" in offspec("doctor").stdout
