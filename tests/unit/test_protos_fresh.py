"""The committed gRPC code is what the contract says."""

from pathlib import Path

from protos.generate import ROOT, generate


def test_generated_code_is_fresh(tmp_path: Path) -> None:
    assert generate(tmp_path) == 0
    made = sorted(tmp_path.rglob("agent_link_pb2*"))
    assert len(made) == 3
    for file in made:
        kept = ROOT / file.relative_to(tmp_path)
        assert file.read_text() == kept.read_text(), f"{kept} is stale: run python -m protos.generate"
