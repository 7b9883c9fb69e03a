"""How far two traces lie apart, dimension by dimension: how far off its spec a workload is, and along what."""

import argparse
import json

from agent.trace_verbs._comparing import comparison_lines
from agent.trace_verbs._opening import TRACE_HELP, add_opening_arguments, opened

HELP = "how far two traces lie apart, and along what"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", help=TRACE_HELP)
    parser.add_argument("b", help="the other; --format and --option hold for both")
    parser.add_argument(
        "--same-keys",
        action="store_true",
        default=None,
        help="both ask for the same keys (one was made of the other), so which keys there are is no chance; known by itself "
        "where both come from one file",
    )
    add_opening_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from traces.distance import compare_traces

    found = compare_traces(opened(args, args.a), opened(args, args.b), same_keys=args.same_keys)
    if args.json:
        document = {"a": args.a, "b": args.b, "words": found.words, "only_a": found.only_a, "only_b": found.only_b}
        print(json.dumps({**document, "dimensions": [each.to_json() for each in found.distances]}, indent=1))
        return 0
    for line in comparison_lines(found):
        print(line)
    return 0
