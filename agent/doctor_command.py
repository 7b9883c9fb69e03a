"""`offspec doctor`: what this node is and can do, what lies about on it, whether it takes trials. Changes nothing."""

import argparse
import json
import os
from typing import Any

from agent import inventory, leftovers, quarantine
from agent.scope import Cgroups
from agent.undo import default_state_dir


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    state_dir = default_state_dir()
    found = inventory.probe(Cgroups())
    lying = leftovers.find(state_dir)
    held = quarantine.of(state_dir)
    found["leftovers"] = [each.to_json() for each in lying]
    found["quarantine"] = None if held is None else str(held)
    found["root"] = os.geteuid() == 0
    found["state_dir"] = str(state_dir)
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        print("\n".join(_text(found)))
    return 0


def _text(found: dict[str, Any]) -> list[str]:
    lying = found["leftovers"]
    lines = [f"{name:<22} {value}" for name, value in found["fingerprint"].items()]
    lines += ["", "violations"]
    for name, able in found["capabilities"].items():
        how = f"{able['mechanism']} ({able['fidelity']})" if able["supported"] else f"no: {able['reason']}"
        lines.append(f"  {name:<20} {how}")
    lines += ["", f"{'left behind':<22} {f'things without an owner: {len(lying)}' if lying else 'nothing'}"]
    lines += [f"  {each['origin']}: {each['what']} ({each['remedy']})" for each in lying]
    lines.append(f"takes trials           {'yes' if found['quarantine'] is None else 'no, quarantined: ' + found['quarantine']}")
    return lines
