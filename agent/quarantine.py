"""A node on which something was left behind takes no trial until a person has cleaned it (`offspec undo --all`).

One file in the state folder says so. It ends with the boot: what we change does not outlive one, and what would is never done.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.undo import boot_id


@dataclass(frozen=True)
class Quarantine:
    attempt: str
    left: tuple[str, ...]
    since_unix_s: float

    def __str__(self) -> str:
        more = f" and {len(self.left) - 3} more" if len(self.left) > 3 else ""
        return f"after {self.attempt} this was left behind: {'; '.join(self.left[:3])}{more}; run `offspec undo --all` there"


def _file(state_dir: Path) -> Path:
    return state_dir / "quarantine.json"


def declare(state_dir: Path, attempt: str, left: Sequence[str]) -> None:
    partial = _file(state_dir).with_suffix(".tmp")
    partial.write_text(json.dumps({"boot_id": boot_id(), "attempt": attempt, "left": list(left), "since_unix_s": time.time()}))
    partial.replace(_file(state_dir))


def of(state_dir: Path) -> Quarantine | None:
    """None for a clean node. A file that cannot be read as one of ours counts: nobody knows what is left there."""
    try:
        raw = json.loads(_file(state_dir).read_text())
        if raw["boot_id"] != boot_id():
            return None
        return Quarantine(str(raw["attempt"]), tuple(map(str, raw["left"])), float(raw["since_unix_s"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Quarantine("an unknown trial", (f"{_file(state_dir)} cannot be read ({error})",), 0.0)


def lift(state_dir: Path) -> None:
    _file(state_dir).unlink(missing_ok=True)
