"""Describe a trace: arrivals, ops, popularity, sizes."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from agent.trace_verbs._opening import TRACE_HELP, add_opening_arguments, opened

HELP = "describe a trace"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", help=TRACE_HELP)
    add_opening_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from traces.characterise import describe

    facts = describe(opened(args, args.trace))
    print(json.dumps(facts, indent=1) if args.json else as_text(facts))
    return 0


def as_text(facts: Mapping[str, Any]) -> str:
    """Sections, one figure a line."""
    lines = []
    for section, value in facts.items():
        if isinstance(value, Mapping):
            lines.append(section)
            lines += [f"  {name:<20} {_shown(v)}" for name, v in value.items()]
        else:
            lines.append(f"{section:<22} {_shown(value)}")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
