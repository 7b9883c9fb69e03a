"""The agent's side of a link of its own between load and system (agent/hop.py): what this node's kernel does with one, and its control."""

import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from agent.launcher import LaunchFailed, spawn

PROGRAM = (sys.executable, "-m", "agent.hop")
_TRY_S = 20.0
_ANSWER_S = 5.0
RELAY_ALONE = "relay"


@dataclass(frozen=True)
class Able:
    """What the kernel does on such a link; `why` says of the rest what it wants."""

    link: bool = False
    netem: bool = False
    tbf: bool = False
    cls_bpf: bool = False
    why: Mapping[str, str] | None = None

    def reason(self, *names: str) -> str:
        """Why none of these works, in words."""
        why = self.why or {}
        return why["link"] if "link" in why else "; ".join(why[name] for name in names if name in why)


@cache
def able() -> Able:
    """Tried once, with links that are gone at once; a module of the kernel that the trial asks for stays loaded."""
    read, write = os.pipe()
    try:
        with os.fdopen(write, "wb") as output:
            child = spawn([*PROGRAM, "try"], env={}, output=output)
        with os.fdopen(read, "rb") as said:
            lines = said.read().decode(errors="replace").strip().splitlines()
        if child.process.wait(_TRY_S) != 0 or not lines:
            return Able(why={"link": lines[-1] if lines else "its trial ended without a word"})
        return Able(**json.loads(lines[-1]))
    except (LaunchFailed, ValueError, TypeError) as error:
        return Able(why={"link": str(error)})


def chosen(options: Mapping[str, str], *names: str) -> str | None:
    """The first of these mechanisms that the kernel has; None: none, or the relay alone was asked for."""
    if options.get("by") == RELAY_ALONE:
        return None
    return next((name for name in names if getattr(able(), name)), None)


class KernelPath:
    """Asks the process of the link. Raises OSError where it is gone or the kernel refuses."""

    def __init__(self, control: socket.socket) -> None:
        control.settimeout(_ANSWER_S)
        self._control = control
        self._answers = control.makefile("rb")

    def _ask(self, what: str, **more: Any) -> dict[str, Any]:
        self._control.sendall(json.dumps({"do": what, **more}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(self._answers.readline() or b'{"error": "its process is gone"}')
        if "error" in answer:
            raise OSError(0, answer["error"])
        return answer

    def shape(self, **settings: Any) -> None:
        """agent.hop.Link.shape."""
        self._ask("shape", **settings)

    def offload(self, on: bool) -> None:
        self._ask("offload", on=on)

    def count(self) -> Sequence[Mapping[str, Any]]:
        """agent.hop.Link.count."""
        ends: list[dict[str, Any]] = self._ask("count")["ends"]
        return ends

    def close(self) -> None:
        self._answers.close()
        self._control.close()
