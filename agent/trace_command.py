"""`offspec trace import | info | formats`."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from traces.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    imported = verbs.add_parser("import", help="write any trace as canonical Parquet")
    imported.add_argument("trace", help="a trace file, or a synthesis such as poisson:1000,for=10s")
    imported.add_argument("out", type=Path, help="the Parquet file to write")
    info = verbs.add_parser("info", help="describe a trace")
    info.add_argument("trace", help="a trace file, or a synthesis such as poisson:1000,for=10s")
    for verb in (imported, info):
        verb.add_argument("--format", help="its format, where the content does not tell")
        verb.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="an option of the format; repeatable")
        verb.add_argument("--seed", type=int, default=0)
    for verb in (imported, info, verbs.add_parser("formats", help="list the formats that are known")):
        verb.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def options_of(given: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for name, sign, _ in pairs:
        if not sign or not name:
            raise UsageError(f"--option {name}: expected NAME=VALUE")
    return {name: value for name, _, value in pairs}


def run(args: argparse.Namespace) -> int:
    if args.verb == "formats":
        return _formats(args.json)
    from traces.source import open_trace

    trace = open_trace(args.trace, format=args.format, options=options_of(args.option), seed=args.seed)
    if args.verb == "import":
        from traces.compile import save_trace

        made = save_trace(trace, args.out)
        facts = {"path": str(args.out), "rows": made.rows, "bytes": args.out.stat().st_size, "span_s": made.span_ns / 1e9}
        if args.json:
            print(json.dumps(facts))
        else:
            print(f"{args.out}: {made.rows:,} rows over {made.span_ns / 1e9:,.3f} s")
        return 0
    from traces.characterise import describe

    facts = describe(trace)
    print(json.dumps(facts, indent=1) if args.json else as_text(facts))
    return 0


def _formats(as_json: bool) -> int:
    from traces.formats import formats

    known = {name: each.summary for name, each in formats().items()}
    print(json.dumps(known, indent=1) if as_json else "\n".join(f"{name:<16} {text}" for name, text in known.items()))
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
