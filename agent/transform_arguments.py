"""The arguments with which a command asks for transforms of its trace."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from traces.transforms import TransformSpec


def add_transform_arguments(parser: argparse.ArgumentParser, order: str) -> None:
    """`order` says in which order they are applied."""
    parser.add_argument(
        "--do", dest="steps", action="append", default=[], type=_done, metavar="TRANSFORM",
        help=f"bend the trace, such as zipf=1.2 or churn=0.1,period=5s (offspec trace transforms); repeatable, {order}",
    )  # fmt: skip


def add_transform_file(parser: argparse.ArgumentParser) -> None:
    """Into the same destination, so that the order of the command line is kept between both."""
    parser.add_argument("--from", dest="steps", action="append", type=_read, metavar="FILE.yaml", help="transforms that stand in a file")


def _done(text: str) -> tuple[str, str]:
    return ("do", text)


def _read(text: str) -> tuple[str, str]:
    return ("from", text)


def transforms_of(args: argparse.Namespace) -> "list[TransformSpec]":
    """What was asked for, in order. Raises InvalidInput."""
    from traces.transforms.written import spec_of_text, specs_in_file

    return [spec for how, text in args.steps for spec in (specs_in_file(Path(text)) if how == "from" else [spec_of_text(text)])]
