"""Write a trace in the form that another tool replays."""

import argparse
import json
import sys

from agent.trace_verbs._opening import TRACE_HELP, add_opening_arguments, keep_source, opened, options_of

HELP = "write a trace in the form that another tool replays"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", help=TRACE_HELP)
    parser.add_argument("out", help="the file to write, or an object's address")
    parser.add_argument(
        "--to",
        required=True,
        metavar="FORM",
        help="fio_iolog: fio's version 3, for its read_iolog; mooncake: Mooncake's jsonl, for aiperf and guidellm",
    )
    parser.add_argument("--with", dest="export_options", action="append", default=[], metavar="NAME=VALUE", help="an option of the form")
    add_opening_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from traces.exports import export_trace
    from traces.storage import written

    keep_source(args.out, args.trace)
    trace = opened(args, args.trace)
    with written(args.out) as path:
        rows = export_trace(trace, path, args.to, options_of(args.export_options))
    if args.json:
        print(json.dumps({"path": args.out, "rows": rows, "form": args.to}))
        return 0
    print(f"{args.out}: {rows:,} requests as {args.to}")
    for note in filter(None, trace.meta.loss_notes.split("; ")):
        print(f"offspec: note: {note}", file=sys.stderr)
    return 0
