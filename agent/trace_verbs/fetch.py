"""Fetch a public trace from its owner, or list those that are known. The licence is shown first and has to be agreed to; what was cut is
gone on with; a file appears only when its sums are right.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traces.errors import UsageError

if TYPE_CHECKING:
    from traces.catalogue import Known

HELP = "fetch a public trace from its owner, licence first"
_EVERY_S = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="its name in the catalogue (--list)")
    parser.add_argument("--list", action="store_true", help="list the traces that are known, and how to get each")
    parser.add_argument("--to", metavar="PATH", help="the file or folder to write; default: a folder of $OFFSPEC_CACHE")
    parser.add_argument("--yes", action="store_true", help="agree to the licence without being asked")
    parser.add_argument("--patience", default="5m", metavar="TIME", help="give up when nothing has come for as long (default 5m)")


def run(args: argparse.Namespace) -> int:
    if args.list:
        return _list(args.json)
    if not args.name:
        raise UsageError("trace fetch: no trace named; expected one of trace fetch --list")
    from traces.catalogue import known_trace
    from traces.fetching import Pace, Wanted, fetch
    from traces.quantities import parse_duration

    known = known_trace(args.name)
    pace = Pace(patience_s=parse_duration(args.patience, "--patience") / 1e9, told=_say)
    _agree(known, args.yes)
    path = _place(known, args.to)
    got = fetch(Wanted(known.addresses, known.bytes, known.sha256, known.git_blob), path, _progress(path.name), pace)
    if args.json:
        document = {"name": known.name, "path": str(got.path), "bytes": got.bytes, "sha256": got.sha256, "address": got.address}
        document |= {"checked": got.checked, "was_there": got.was_there, "license": known.license, "citation": known.citation}
        print(json.dumps({**document, "format": _readable(known)}))
        return 0
    print(got.path)
    how = "agrees with what is known" if got.checked else "no sum is published to check it by"
    print(f"offspec: {got.bytes:,} bytes, sha256 {got.sha256}: {how}{' (was there already)' if got.was_there else ''}", file=sys.stderr)
    _say(known.mind or (f"read it with --format {known.format}" if _readable(known) else ""))
    return 0


def _place(known: "Known", to: str | None) -> Path:
    from traces.storage import cache_folder

    if to is None:
        return cache_folder() / "fetched" / known.name / known.file_name
    return Path(to) / known.file_name if Path(to).is_dir() else Path(to)


def _agree(known: "Known", yes: bool) -> None:
    """Raises UsageError where nobody agreed."""
    _say(f"{known.name}: {known.what}")
    _say(f"licence: {known.license}")
    _say(f"cite: {known.citation}" if known.citation else "")
    _say(f"from {known.addresses[0]} (confirmed by {known.confirmed})")
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"trace fetch {known.name}: licence {known.license} is not agreed to; expected --yes, or a terminal to ask on")
    print("offspec: fetch under this licence? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError(f"trace fetch {known.name}: not agreed to; nothing was fetched")


def _progress(name: str) -> Callable[[int, int | None], None]:
    """A line on a terminal twice a second, nothing elsewhere."""
    shown = [0.0]

    def progress(got: int, total: int | None) -> None:
        whole = got == total
        if sys.stderr.isatty() and (whole or time.monotonic() - shown[0] > _EVERY_S):
            shown[0] = time.monotonic()
            of = f" of {total / 1e6:,.1f} MB, {100 * got / total:.0f} %" if total else " MB"
            print(f"\roffspec: {name}: {got / 1e6:,.1f}{of}  ", end="\n" if whole else "", file=sys.stderr, flush=True)

    return progress


def _readable(known: "Known") -> str:
    """The format, if this installation has it."""
    from traces.formats import formats

    return known.format if known.format in formats() else ""


def _say(text: str) -> None:
    if text:
        print(f"offspec: {text}", file=sys.stderr)


def _list(as_json: bool) -> int:
    from traces.catalogue import CATALOGUE

    rows: list[dict[str, Any]] = [
        {
            "name": known.name, "what": known.what, "license": known.license, "citation": known.citation, "confirmed": known.confirmed,
            "format": _readable(known), "fetch": not known.ask, "addresses": list(known.addresses), "ask": known.ask or None,
            "bytes": known.bytes, "sha256": known.sha256 or None, "git_blob": known.git_blob or None, "mind": known.mind or None,
        }
        for known in CATALOGUE.values()
    ]  # fmt: skip
    if as_json:
        print(json.dumps(rows, indent=1))
        return 0
    for row in rows:
        size = f"{row['bytes'] / 1e6:,.1f} MB" if row["bytes"] else "to be asked for" if row["ask"] else "size unknown"
        print(f"{row['name']:<24} {size:>15}  {row['what']} ({row['license']})")
    return 0
