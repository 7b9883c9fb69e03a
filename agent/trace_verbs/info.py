"""Describe a trace: arrivals, ops, popularity, reuse, sizes, tokens, prefixes, sessions; or a signal: its series, and the values of its
metrics. In memory that does not grow with it.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.trace_verbs._opening import TRACE_HELP, add_opening_arguments, keep_source, recording
from traces.errors import UsageError

HELP = "describe a trace"
_TICKS = "▁▂▃▄▅▆▇█"
_ACROSS = 60
_DRAWN = {"rate": "requests per second over time", "working_set": "different keys over time", "hit_ratio": "hit ratio, from 1 key to all"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", help=TRACE_HELP)
    parser.add_argument("--html", metavar="FILE", help="also write a page with plots, which opens without a network")
    add_opening_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from traces.characterise import figures
    from traces.curves import curves, flattened
    from traces.portrait import portrait_of
    from traces.publishing import checked_place, part_beside, put_in_place
    from traces.signal import Signal, describe_signal

    found = recording(args, args.trace)
    if isinstance(found, Signal):
        if args.html:
            raise UsageError(f"trace info {args.trace} --html: a signal has no page; expected a trace of requests; leave --html out")
        facts = describe_signal(found)
        print(json.dumps(facts, indent=1) if args.json else as_text(facts))
        return 0
    if args.html:
        keep_source(args.html, args.trace)
        checked_place(Path(args.html))
    portrait = portrait_of(found)
    facts, drawn = figures(portrait), curves(portrait)
    if args.html:
        from traces.page import trace_page

        with part_beside(Path(args.html).parent) as part:
            part.write_text(trace_page(found.meta, facts, drawn), encoding="utf-8")
            put_in_place(part, Path(args.html))
        print(f"offspec: {args.html}", file=sys.stderr)
    if args.json:
        print(json.dumps({**facts, "curves": flattened(drawn)}, indent=1))
        return 0
    for name, what in _DRAWN.items():
        if len(drawn.get(name, [])) > 1:
            values = [y for _, y in drawn[name]]
            print(f"{sparkline(values)}  {what}, {_shown(min(values))} to {_shown(max(values))}")
    print(as_text(facts))
    return 0


def sparkline(values: Sequence[float], across: int = _ACROSS) -> str:
    """The largest value of each part, from 0 to the largest of all."""
    parts = min(across, len(values))
    tops = [max(values[i * len(values) // parts : (i + 1) * len(values) // parts]) for i in range(parts)]
    most = max(tops)
    return "".join(_TICKS[min(7, int(8 * top / most))] if most > 0 else _TICKS[0] for top in tops)


def as_text(facts: Mapping[str, Any], indent: str = "") -> str:
    """Sections, one figure a line; a list of records as a table."""
    lines = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{name}", as_text(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            lines += [f"{indent}{name}", *(f"{indent}  {line}" for line in _table(value))]
        elif isinstance(value, list):
            lines.append(f"{indent}{name:<{22 - len(indent)}} {sparkline([max(0.0, v) for v in value]) if value else ''}")
        else:
            lines.append(f"{indent}{name:<{22 - len(indent)}} {_shown(value)}")
    return "\n".join(lines)


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = [list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in cells]


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
