"""Learn a made trace from any trace: the spec goes to stdout, how far what it makes is from the source to stderr; with --json all to
stdout.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agent.trace_verbs._comparing import comparison_lines
from agent.trace_verbs._opening import TRACE_HELP, add_opening_arguments, opened

if TYPE_CHECKING:
    from traces.fit.candidate import Candidate

HELP = "learn a made trace from any trace, and how far it is from it"
_SHOWN = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", help=TRACE_HELP)
    add_opening_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from traces.distance import compare_traces
    from traces.fit import fit
    from traces.source import open_trace

    source = opened(args, args.trace)
    found = fit(source)
    # Another seed than that of a source which is itself made: the same draws would look like the same law.
    far = compare_traces(source, open_trace(found.spec, seed=args.seed + 1))
    if args.json:
        document = {"trace": args.trace, "spec": found.spec, "rows": found.rows, "notes": found.notes, "words": far.words}
        document["laws"] = {name: _laws(considered) for name, considered in found.considered.items()}
        document |= {"only_source": far.only_a, "only_made": far.only_b, "dimensions": [each.to_json() for each in far.distances]}
        print(json.dumps(document, indent=1))
        return 0
    print(found.spec)
    for name, considered in found.considered.items():
        first, *others = _laws(considered)
        told = ", ".join(f"{each['law']} {each['bic_above_best']:+,.0f}" for each in others[:_SHOWN])
        print(f"offspec: {name}: {first['law']}{f', best by BIC; next {told}' if told else ''}", file=sys.stderr)
    for note in found.notes:
        print(f"offspec: note: {note}", file=sys.stderr)
    for line in comparison_lines(far, "source against made"):
        print(line, file=sys.stderr)
    return 0


def _laws(considered: "Sequence[Candidate]") -> list[dict[str, Any]]:
    """The best first."""
    return [{"law": each.law, "spec": each.spec, "bic_above_best": round(each.bic - considered[0].bic, 1)} for each in considered]
