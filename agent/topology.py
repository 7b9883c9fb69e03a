"""Which processors share what, read from the kernel: Documentation/admin-guide/cputopology.rst, ABI/testing/sysfs-devices-system-cpu."""

from functools import cache
from pathlib import Path

from protos.topology import Cpu, Topology

SYSTEM = Path("/sys/devices/system")


def cpu_list(text: str) -> tuple[int, ...]:
    """ "0-3,8" -> (0, 1, 2, 3, 8)."""
    found: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def read(root: Path = SYSTEM) -> Topology:
    """Online processors below `root`; what the kernel does not tell is taken as not shared."""
    nodes = {c: int(n.name[4:]) for n in sorted(root.glob("node/node[0-9]*")) for c in cpu_list(_read(n / "cpulist") or "")}
    numbers = cpu_list(_read(root / "cpu" / "online") or "")
    return Topology(tuple(_cpu(root / "cpu" / f"cpu{n}", n, nodes.get(n, 0)) for n in numbers))


@cache
def here() -> Topology:
    """This node's, read once."""
    return read()


def _cpu(folder: Path, number: int, node: int) -> Cpu:
    siblings = cpu_list(_read(folder / "topology" / "thread_siblings_list") or str(number))
    return Cpu(number, siblings, _last_cache(folder)[1] or siblings, node)


def _last_cache(folder: Path) -> tuple[int, tuple[int, ...]]:
    """(size in bytes, who shares it) of the highest level that is not for instructions alone; (0, ()) where the kernel tells of none."""
    found = []
    for index in folder.glob("cache/index[0-9]*"):
        level, kind, size = (_read(index / name) for name in ("level", "type", "size"))
        if level and kind != "Instruction":
            found.append((int(level), _bytes(size or "0"), cpu_list(_read(index / "shared_cpu_list") or "")))
    return max(found)[1:] if found else (0, ())


def _bytes(size: str) -> int:
    return int(size.rstrip("KMG")) << {"K": 10, "M": 20, "G": 30}.get(size[-1:], 0)


def declared_cache_bytes(number: int, root: Path = SYSTEM) -> int:
    """Size of the last-level cache of a processor as the kernel tells it; 0 where it does not. A virtual machine may be told anything."""
    return _last_cache(root / "cpu" / f"cpu{number}")[0]


def smt_control(root: Path = SYSTEM) -> str:
    """on, off, forceoff, notsupported, notimplemented; unknown where the kernel does not tell."""
    return _read(root / "cpu" / "smt" / "control") or "unknown"
