"""Write any trace as canonical Parquet, at a path or in an object store."""

import argparse

from agent.trace_verbs._opening import TRACE_HELP, add_opening_arguments, opened
from agent.trace_verbs._writing import written_trace

HELP = "write any trace as canonical Parquet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", help=TRACE_HELP)
    parser.add_argument("out", help="the Parquet file to write, or an object's address")
    add_opening_arguments(parser)


def run(args: argparse.Namespace) -> int:
    return written_trace(opened(args, args.trace), args.out, args.json)
