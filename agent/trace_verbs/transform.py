"""Bend a trace and write it as canonical Parquet: transforms are applied in the order in which they are asked for, and stand with their
values and seeds in the file's metadata.
"""

import argparse
from collections.abc import Mapping
from typing import Any

from agent.trace_verbs._opening import TRACE_HELP, add_opening_arguments, keep_source, opened
from agent.transform_arguments import add_transform_arguments, add_transform_file, transforms_of
from traces.errors import UsageError

HELP = "bend a trace: popularity, bursts, sizes, rate and more (offspec trace transforms)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", help=TRACE_HELP)
    parser.add_argument("out", help="the Parquet file to write, or an object's address")
    add_transform_arguments(parser, "applied in this order")
    add_transform_file(parser)
    add_opening_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from agent.trace_verbs._writing import written_trace
    from traces.transforms import Reading, apply, transform_of

    specs = transforms_of(args)
    if not specs:
        raise UsageError("trace transform: nothing to do; expected --do NAME=VALUE, such as --do zipf=1.2, or --from FILE.yaml")
    keep_source(args.out, args.trace, *(spec.value for spec in specs if isinstance(transform_of(spec), Reading)))
    trace = opened(args, args.trace)
    bent = apply(trace, specs, args.seed)
    done = bent.meta.transforms[len(trace.meta.transforms) :]
    return written_trace(bent, args.out, args.json, lines=[_said(record) for record in done], transforms=list(done))


def _said(record: Mapping[str, Any]) -> str:
    """One transform in a line: what was asked, what it changes, and what it has to say of itself."""
    from traces.transforms import transforms

    asked = " ".join((record["name"], *([] if record["value"] is None else [_shown(record["value"])])))
    options = "".join(f", {name} {value}" for name, value in record["options"].items())
    own = [f"{name} {_shown(value)}" for name, value in record.items() if name not in ("name", "value", "options", "seed")]
    return f"{asked}{options} (seed {record['seed']}): changes {transforms()[record['name']].changes}{''.join('; ' + text for text in own)}"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
