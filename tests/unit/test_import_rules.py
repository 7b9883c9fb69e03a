"""The one-way flow, held: who may import whom."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("protos", "traces", "agent", "controller")
ALLOWED = {
    "protos": {"protos"},
    "traces": {"traces"},
    "agent": {"agent", "protos", "traces"},
    "controller": {"controller", "protos", "traces"},
}
CONTROLLER_MAY_SEE_OF_AGENT = "agent.host"
KEEPER = ROOT / "controller" / "fleet" / "keeper.py"
"""A process on the node, under a guard as an agent is; the controller starts it and imports nothing of it."""


def imported_modules(path: Path) -> list[tuple[int, str]]:
    """Absolute module names that a file imports anywhere in it, with their lines."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def allowed(package: str, module: str) -> bool:
    top = module.split(".")[0]
    if top not in PACKAGES or top in ALLOWED[package]:
        return True
    return package == "controller" and (module + ".").startswith(CONTROLLER_MAY_SEE_OF_AGENT + ".")


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_what_the_flow_allows(package: str) -> None:
    files = [p for p in (ROOT / package).rglob("*.py") if "target" not in p.parts and p != KEEPER]
    assert files, f"no sources found under {package}/"
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {module}"
        for path in files
        for line, module in imported_modules(path)
        if not allowed(package, module)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_rule_itself_refuses_what_it_should() -> None:
    assert not allowed("traces", "agent.replay")
    assert not allowed("agent", "controller.plan")
    assert not allowed("controller", "agent._engine")
    assert allowed("controller", "agent.host.agent_host_actor")
    assert allowed("agent", "protos.records.INTERVALS")


def test_the_keeper_sees_the_guard_and_nothing_else_of_the_agent_and_nobody_sees_the_keeper() -> None:
    ours = {module for _, module in imported_modules(KEEPER) if module.split(".")[0] in PACKAGES}
    assert {module.rpartition(".")[0] for module in ours} == {"agent.ledger", "agent.undo", "traces.errors"}
    for path in (ROOT / "controller").rglob("*.py"):
        assert not any("fleet.keeper" in module for _, module in imported_modules(path)), path
