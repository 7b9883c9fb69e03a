"""List the formats that are known."""

import argparse
import json

HELP = "list the formats that are known"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(args: argparse.Namespace) -> int:
    from traces.formats import formats

    known = {name: each.summary for name, each in formats().items()}
    width = max(map(len, known))
    print(json.dumps(known, indent=1) if args.json else "\n".join(f"{name:<{width}}  {text}" for name, text in known.items()))
    return 0
