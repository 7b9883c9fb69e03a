"""List the transforms: what each changes, its value and options with their units, and what it needs beside one pass in constant memory."""

import argparse
import json

HELP = "list the transforms that are known"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(args: argparse.Namespace) -> int:
    from traces.transforms import Dosed, transforms

    rows = [
        {
            "name": each.name, "summary": each.summary, "changes": each.changes, "value": each.value, "options": dict(each.options),
            "needs": each.needs, "stage": each.stage, "dose_is_read_back": isinstance(each, Dosed),
        }
        for each in transforms().values()
    ]  # fmt: skip
    if args.json:
        print(json.dumps(rows, indent=1))
        return 0
    for row in rows:
        print(f"{row['name']:<18} {row['summary']}")
        print(f"  {'changes':<16} {row['changes']}")
        for name, text in (("value", row["value"]), *transforms()[str(row["name"])].options.items(), ("needs", row["needs"])):
            if text:
                print(f"  {name:<16} {text}")
    return 0
