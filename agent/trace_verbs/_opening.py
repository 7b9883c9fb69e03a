"""The arguments with which every verb opens a trace."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from agent.arguments import seed
from traces.errors import UsageError

if TYPE_CHECKING:
    from traces.signal import Signal
    from traces.stream import Trace

TRACE_HELP = "a trace file, an object such as s3://bucket/trace.csv, or a synthesis such as poisson:1000,for=10s"


def add_opening_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", help="its format, where the content does not tell (offspec trace formats)")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="an option of the format; repeatable")
    parser.add_argument("--seed", type=seed, default=0)


def keep_source(out: str, *sources: object) -> None:
    """Raises UsageError for an `out` that is one of the traces that are read: what was recorded once is never recorded again."""
    for source in sources:
        if Path(out).exists() and Path(str(source)).exists() and Path(out).samefile(str(source)):
            raise UsageError(f"{out}: is the trace that is read, and would be lost; expected another file to write")


def options_of(given: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for name, sign, _ in pairs:
        if not sign or not name:
            raise UsageError(f"--option {name}: expected NAME=VALUE")
    return {name: value for name, _, value in pairs}


def opened(args: argparse.Namespace, spec: str) -> "Trace":
    from traces.source import open_trace

    return open_trace(spec, format=args.format, options=options_of(args.option), seed=args.seed)


def recording(args: argparse.Namespace, spec: str) -> "Trace | Signal":
    """For verbs that have something to say of samples of usage too."""
    from traces.source import open_recording

    return open_recording(spec, format=args.format, options=options_of(args.option), seed=args.seed)
