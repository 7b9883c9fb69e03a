"""Workloads that have a name: one module each, with a `WORKLOAD`; its name is the head of a spec (`twitter:cluster26`)."""

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, Protocol

from traces.stream import StreamTrace
from traces.synthesis.spec import Given, Parameter

__all__ = ["Workload", "workloads"]


class Workload(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def argument(self) -> str:
        """What stands after the colon."""

    @property
    def example(self) -> str: ...
    @property
    def parameters(self) -> tuple[Parameter[Any], ...]: ...
    def trace(self, given: Given, seed: int) -> StreamTrace:
        """Raises InvalidInput naming the part that is wrong."""


@cache
def workloads() -> Mapping[str, Workload]:
    """All by name."""
    found = [getattr(import_module(f"{__name__}.{module.name}"), "WORKLOAD", None) for module in pkgutil.iter_modules(__path__)]
    return {each.name: each for each in sorted((each for each in found if each), key=lambda each: str(each.name))}
