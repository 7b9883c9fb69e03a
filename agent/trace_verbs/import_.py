"""Write any trace as canonical Parquet, at a path or in an object store."""

import argparse
import json
import sys

from agent.trace_verbs._opening import TRACE_HELP, add_opening_arguments, opened

HELP = "write any trace as canonical Parquet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", help=TRACE_HELP)
    parser.add_argument("out", help="the Parquet file to write, or an object's address")
    add_opening_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from traces.compile import save_trace
    from traces.storage import written

    trace = opened(args, args.trace)
    with written(args.out) as path:
        made = save_trace(trace, path)
    if args.json:
        print(
            json.dumps(
                {"path": args.out, "rows": made.rows, "bytes": made.bytes, "span_s": made.span_ns / 1e9, "format": trace.meta.importer}
            )
        )
        return 0
    print(f"{args.out}: {made.rows:,} rows over {made.span_ns / 1e9:,.3f} s")
    for note in filter(None, trace.meta.loss_notes.split("; ")):
        print(f"offspec: note: {note}", file=sys.stderr)
    return 0
