"""The largest doses that this node was found to give, kept for as long as it runs: `<state dir>/calibration-<boot id>.json`."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from agent.undo import boot_id, default_state_dir


def _path() -> Path:
    return default_state_dir() / f"calibration-{boot_id()}.json"


def known() -> dict[str, float]:
    """name -> dose in the catalogue's unit, for default options; what was found since this machine booted."""
    try:
        return {str(name): float(dose) for name, dose in json.loads(_path().read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # never calibrated, or a file that is not ours: then nothing is known


def keep(found: Mapping[str, float]) -> None:
    """Adds to what is known. Raises OSError."""
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob("calibration-*.json"):
        if old != path:
            old.unlink(missing_ok=True)  # of an earlier boot
    scratch = path.with_suffix(f".{os.getpid()}")
    scratch.write_text(json.dumps({**known(), **found}, indent=1))
    scratch.replace(path)
