"""The style sheet of all pages."""

from functools import cache
from importlib.resources import files


@cache
def style() -> str:
    return files("traces.page").joinpath("style.css").read_text(encoding="utf-8")
