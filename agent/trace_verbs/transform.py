"""Bend a trace and write it as canonical Parquet: transforms are applied in the order in which they are asked for, and stand with their
values and seeds in the file's metadata. What can be read back is: the figure that the bent trace really has stands beside what was asked.
"""

import argparse
import dataclasses
from collections.abc import Mapping
from typing import Any

from agent.trace_verbs._opening import TRACE_HELP, add_opening_arguments, keep_source, opened
from agent.transform_arguments import add_transform_arguments, add_transform_file, transforms_of
from traces.errors import UsageError

_TOLD = ("name", "value", "options", "seed", "read_back")
HELP = "bend a trace: popularity, bursts, sizes, rate and more (offspec trace transforms)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", help=TRACE_HELP)
    parser.add_argument("out", help="the Parquet file to write, or an object's address")
    add_transform_arguments(parser, "applied in this order")
    add_transform_file(parser)
    add_opening_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from agent.trace_verbs._writing import written_trace
    from traces.transforms import Dosed, Reading, apply, transform_of

    specs = transforms_of(args)
    if not specs:
        raise UsageError("trace transform: nothing to do; expected --do NAME=VALUE, such as --do zipf=1.2, or --from FILE.yaml")
    keep_source(args.out, args.trace, *(spec.value for spec in specs if isinstance(transform_of(spec), Reading)))
    trace = opened(args, args.trace)
    bent = apply(trace, specs, args.seed)
    done = [dict(record) for record in bent.meta.transforms[len(trace.meta.transforms) :]]
    for count, (spec, record) in enumerate(zip(specs, done, strict=True)):
        transform = transform_of(spec)
        if isinstance(transform, Dosed):
            # Beside the trace that it was given: what comes after it may well change its figure.
            given, made = (apply(trace, specs[:steps], args.seed) for steps in (count, count + 1))
            record["read_back"] = transform.dose(made, given, dataclasses.replace(spec, value=None))
    return written_trace(bent, args.out, args.json, lines=[_said(record) for record in done], transforms=done)


def _said(record: Mapping[str, Any]) -> str:
    """One transform in a line: what was asked, what was read back of it, what it changes, and what it has to say of itself."""
    from traces.transforms import transforms

    asked = " ".join((record["name"], *([] if record["value"] is None else [_shown(record["value"])])))
    options = "".join(f", {name} {value}" for name, value in record["options"].items())
    own = [f"{name} {_shown(value)}" for name, value in record.items() if name not in _TOLD]
    changes = f"{_read_back(record)}changes {transforms()[record['name']].changes}"
    return f"{asked}{options} (seed {record['seed']}): {changes}{''.join('; ' + text for text in own)}"


def _read_back(record: Mapping[str, Any]) -> str:
    if "read_back" not in record:
        return ""
    if record["read_back"] is None:
        return "not read back, there is too little in the trace to tell; "
    return f"{record['read_back']:,.4g} read back; "


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
