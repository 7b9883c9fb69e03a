"""`offspec doctor`: what this node is, can do and allows, what lies about on it, whether it takes trials.

Changes nothing, unless asked to try what violations give (`--calibrate`).
"""

import argparse
import json
import os
from typing import Any

from agent import calibration, inventory, leftovers, policy, quarantine
from agent.scope import Cgroups
from agent.undo import default_state_dir
from protos.violation_options import by_default
from protos.violations import CATALOGUE
from traces.errors import InvalidInput, PreflightFailed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--calibrate", action="store_true", help="first try what each violation gives here, a second or two each; kept")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    state_dir = default_state_dir()
    if args.calibrate:
        if (stopped := quarantine.of(state_dir)) is not None:
            raise PreflightFailed(f"--calibrate: this node is quarantined: {stopped}")
        rules = policy.read()
        calibration.calibrate([name for name in calibration.able() if rules.why_not(name, 0.0) is None])
    found = inventory.probe(Cgroups())
    lying = leftovers.find(state_dir)
    held = quarantine.of(state_dir)
    found["leftovers"] = [each.to_json() for each in lying]
    found["quarantine"] = None if held is None else str(held)
    found["policy"] = _policy()
    found["root"] = os.geteuid() == 0
    found["state_dir"] = str(state_dir)
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        print("\n".join(_text(found)))
    return 0


def _policy() -> dict[str, Any]:
    try:
        return policy.read().to_json()
    except InvalidInput as error:
        return {"error": str(error)}


def _text(found: dict[str, Any]) -> list[str]:
    lying = found["leftovers"]
    lines = [f"{name:<22} {value}" for name, value in found["fingerprint"].items()]
    lines += ["", "violations"]
    for name, able in found["capabilities"].items():
        how = f"{able['mechanism']} ({able['fidelity']})" if able["supported"] else f"no: {able['reason']}"
        if able["supported"] and able["calibrated"] is not None:
            spec = CATALOGUE[name]
            how += f"; gave {able['calibrated']:g} {spec.unit} at most when it was tried {by_default(spec)}"
        lines.append(f"  {name:<20} {how}")
    lines += ["", f"{'policy':<22} {_policy_text(found['policy'])}"]
    lines += ["", f"{'left behind':<22} {f'things without an owner: {len(lying)}' if lying else 'nothing'}"]
    lines += [f"  {each['origin']}: {each['what']} ({each['remedy']})" for each in lying]
    lines.append(f"takes trials           {'yes' if found['quarantine'] is None else 'no, quarantined: ' + found['quarantine']}")
    return lines


def _policy_text(rules: dict[str, Any]) -> str:
    if "error" in rules:
        return f"allows nothing until it is mended: {rules['error']}"
    said = [f"allows {len(rules['allow'])} of {sum(spec.on_node for spec in CATALOGUE.values())} violations"]
    said += [f"{name} up to {most:g} {CATALOGUE[name].unit}" for name, most in rules["doses"].items()]
    if rules["cores"] is not None:
        said.append(f"on cores {', '.join(map(str, rules['cores']))}")
    if rules["memory_left_bytes"]:
        said.append(f"leaving {rules['memory_left_bytes'] >> 20} MiB of memory")
    if rules["longest_s"] is not None:
        said.append(f"for {rules['longest_s']:g} s at most")
    return f"{'; '.join(said)} ({rules['file'] or 'no file'})"
