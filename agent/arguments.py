"""A parser of arguments whose complaint is one line on stderr, as every other of ours is. Exit code 2."""

import argparse
from typing import NoReturn


class OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"offspec: error: {self.prog}: {message}\n")


def seed(text: str) -> int:
    """The `type` of a --seed: draws take 64 bits, and what lay beyond them would not be the seed that was asked for."""
    try:
        given = int(text)
    except ValueError:
        given = -1
    if not 0 <= given < 1 << 64:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number from 0 to 2^64 - 1")
    return given
