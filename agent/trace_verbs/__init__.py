"""`offspec trace VERB`: one module a verb, each with HELP, `add_arguments(parser)` and `run(args) -> exit code`. The verb is the module's
name; a trailing underscore is not part of it. Nothing heavy is imported before a verb runs.
"""

import argparse
import pkgutil
from importlib import import_module


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for found in pkgutil.iter_modules(__path__):
        if found.name.startswith("_"):
            continue
        module = import_module(f"{__name__}.{found.name}")
        verb = verbs.add_parser(found.name.rstrip("_"), help=module.HELP, description=module.__doc__)
        module.add_arguments(verb)
        verb.add_argument("--json", action="store_true", help="print one JSON document on stdout")
        verb.set_defaults(run_verb=module.run)


def run(args: argparse.Namespace) -> int:
    code: int = args.run_verb(args)
    return code
