"""Describe a trace: arrivals, ops, popularity, sizes; or a signal: its series, and the values of its metrics."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from agent.trace_verbs._opening import TRACE_HELP, add_opening_arguments, recording

HELP = "describe a trace"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", help=TRACE_HELP)
    add_opening_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from traces.characterise import describe
    from traces.signal import Signal, describe_signal

    found = recording(args, args.trace)
    facts = describe_signal(found) if isinstance(found, Signal) else describe(found)
    print(json.dumps(facts, indent=1) if args.json else as_text(facts))
    return 0


def as_text(facts: Mapping[str, Any], indent: str = "") -> str:
    """Sections, one figure a line."""
    lines = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{name}", as_text(value, indent + "  ")]
        else:
            lines.append(f"{indent}{name:<{22 - len(indent)}} {_shown(value)}")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
