"""A parser of arguments whose complaint is one line on stderr, as every other of ours is. Exit code 2."""

import argparse
from typing import NoReturn


class OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"offspec: error: {self.prog}: {message}\n")
