"""Settings of the processors in sysfs: which files hold the highest frequency and the turbo, and a change that is taken back.

Sources: Documentation/admin-guide/pm/cpufreq.rst and intel_pstate.rst, ABI/testing/sysfs-devices-system-cpu. Every function takes the root
of that tree, so that all of it is tried on a made one.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.ledger import Ledger
from agent.topology import cpu_list
from traces.errors import PreflightFailed

SYSTEM = Path("/sys/devices/system")
_TURBOS: Mapping[str, tuple[str, str]] = {"cpu/intel_pstate/no_turbo": ("1", "0"), "cpu/cpufreq/boost": ("0", "1")}
"""file -> (what says that turbo is off, what says that it is on)."""


def read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def writable(path: Path) -> bool:
    return os.access(path, os.W_OK)


def policies(root: Path, cores: Sequence[int]) -> list[Path]:
    """The folders of cpufreq that rule these cores."""
    found = sorted((root / "cpu/cpufreq").glob("policy[0-9]*"))
    return [p for p in found if set(cpu_list((read(p / "affected_cpus") or "").replace(" ", ","))) & set(cores)]


def range_khz(policy: Path) -> tuple[int, int]:
    """What the hardware can do there. Raises ValueError where it does not tell."""
    least, most = (read(policy / f"cpuinfo_{which}_freq") for which in ("min", "max"))
    if least is None or most is None:
        raise ValueError(f"{policy} does not tell its frequencies")
    return int(least), int(most)


def turbo(root: Path) -> tuple[Path, str, str] | None:
    """(file, its word for off, its word for on); None where there is no such switch."""
    return next(((root / name, *words) for name, words in _TURBOS.items() if (root / name).exists()), None)


class Settings:
    """Values of files, put in with their undo steps recorded first. Raises PreflightFailed, with nothing left behind."""

    def __init__(self, name: str, values: Mapping[Path, str], ledger: Ledger) -> None:
        self.values = values
        self._ledger = ledger
        self._steps: list[int] = []
        try:
            for path, wanted in values.items():
                old = path.read_text().strip()
                if old != wanted:
                    self._steps.append(ledger.record({"kind": "setting", "path": str(path), "ours": wanted, "old": old}))
                    path.write_text(wanted)
                if read(path) != wanted:
                    raise PreflightFailed(f"violation {name}: {path} takes {read(path)} instead of {wanted}; its driver does not obey")
        except OSError as error:
            self.undo()
            raise PreflightFailed(f"violation {name}: {error.filename}: {error.strerror}; it needs root on the machine itself") from None
        except PreflightFailed:
            self.undo()
            raise

    def held(self) -> bool:
        """Whether all of them are as we put them."""
        return all(read(path) == wanted for path, wanted in self.values.items())

    def undo(self) -> str:
        """undone | foreign | failed; twice is harmless."""
        results = [self._ledger.undo(step) for step in reversed(self._steps)]
        return next((r for r in ("failed", "foreign") if r in results), "undone")
