"""Write any trace as canonical Parquet, at a path or in an object store; a signal as samples."""

import argparse

from agent.trace_verbs._opening import TRACE_HELP, add_opening_arguments, keep_source, recording
from agent.trace_verbs._writing import written_trace

HELP = "write any trace as canonical Parquet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", help=TRACE_HELP)
    parser.add_argument("out", help="the Parquet file to write, or an object's address")
    add_opening_arguments(parser)


def run(args: argparse.Namespace) -> int:
    keep_source(args.out, args.trace)
    found = recording(args, args.trace)
    return written_trace(found, args.out, args.json, kind=", ".join(found.meta.kinds))
