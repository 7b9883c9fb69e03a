"""The catalogue of violations: what each breaks, its dose and unit. A contract: the controller checks campaigns against
it, agents implement it (agent/violations/, one file each), and a test holds the two together."""

from dataclasses import dataclass, field
from typing import Literal

Axis = Literal["sharing", "hardware", "workload"]
Stage = Literal["deploy", "violate", "compile"]
"""When it takes hold: before the system starts, on the running system, or in the trace before the plan is made."""
UndoClass = Literal["A", "B", "C", "D"]
"""What has to be taken back. A: nothing, it lies in a process and ends with it. B: a kernel object of our own (cgroup, namespace, link).
C: a value of the machine that others see, so the node's policy must allow it. D: a reboot or a driver's reload: refused."""
UNDO_CLASSES: dict[UndoClass, str] = {
    "A": "ends with the process",
    "B": "a kernel object of ours is removed",
    "C": "a value of the machine is put back",
    "D": "needs a reboot: never done",
}


@dataclass(frozen=True)
class Words:
    """An option that takes one word of these or a list of them."""

    of: tuple[str, ...]
    required: bool = False


@dataclass(frozen=True)
class ViolationSpec:
    """One way to break an assumption. Doses are numbers in `unit`, from `low` to `high`, both included. Where both are 1 there is nothing
    to dose: it is on, and the dose may be left out.
    """

    name: str
    axis: Axis
    stage: Stage
    breaks: str
    unit: str
    low: float
    high: float
    aliases: dict[str, float] = field(default_factory=dict)  # other unit spellings -> factor to `unit`
    options: dict[str, tuple[str, ...] | Words] = field(default_factory=dict)  # name -> allowed values; () = a number
    whole: tuple[str, ...] = ()  # what must be a whole number: "dose", or options by name
    tolerance: float = 0.05  # relative; a second within it counts for coverage
    tolerance_abs: float = 0.0  # in `unit`; the wider of the two holds
    mechanisms: tuple[str, ...] = ()  # ways to do it, best first; the agent's probe says which one a node has
    needs: str = ""  # rights, kernel, tools, without which there is none of them
    measured_by: str = ""  # where the dose really given is read
    undo: UndoClass = "A"
    hazards: str = ""  # what may go wrong beside the system under test
    varies: bool = False  # its dose can follow a profile: what the agent applies has `set(dose)`
    longest_s: float = 86_400.0  # the guard takes it back after this time at the latest, whatever was asked

    @property
    def is_switch(self) -> bool:
        return self.low == self.high == 1


ISA_WORDS = (
    "sse3", "pclmul", "ssse3", "fma", "sse4.1", "sse4.2", "popcnt", "aes", "avx", "bmi1", "avx2", "bmi2", "erms", "avx512f", "avx512dq",
    "avx512ifma", "avx512cd", "sha", "avx512bw", "avx512vl", "vaes", "vpclmulqdq", "avx512", "crypto",
)  # fmt: skip
PLACES = ("same-core", "other-core", "anywhere")

_ALL = (
    ViolationSpec(
        "cpu", "sharing", "violate", "the system owns its core", "percent", 0, 100,
        options={"place": PLACES, "weight": (), "period_ms": ()}, tolerance=0.10, tolerance_abs=2.0,
        mechanisms=("spinner under a cgroup quota", "stress-ng --cpu-load (proxy: the dose sinks when contended)"),
        needs="a writable cpu cgroup, else stress-ng", measured_by="the cgroup's CPU time", undo="B",
        hazards="whatever else runs on that core waits as the system does",
    ),
    ViolationSpec(
        "membw", "sharing", "violate", "the memory bus is idle", "GB/s", 0, 1000,
        aliases={"MB/s": 1e-3}, options={"place": PLACES, "threads": ()}, whole=("threads",), tolerance=0.10,
        mechanisms=("paced native streams",), needs="1 GiB of free memory", measured_by="bytes that the streams count", undo="B",
        hazards="from about 2 GB/s on the streams take their whole core",
    ),
    ViolationSpec(
        "cpu-quota", "hardware", "violate", "the machine has this much CPU", "percent", 1, 10000,
        options={"period_ms": ()}, tolerance=0.02,
        mechanisms=("cgroup bandwidth limit",), needs="a writable cpu cgroup", measured_by="the limit in force, read back", undo="B",
        hazards="the period shapes the tail: at 100 ms the system stands still for tens of ms",
    ),
    ViolationSpec(
        "cores", "hardware", "deploy", "the machine has this many cores", "cores", 1, 4096, whole=("dose",), tolerance=0.0,
        mechanisms=("affinity from the start",), measured_by="Cpus_allowed of every task", undo="A",
        hazards="a program that counts the machine's cores itself starts more threads than it has cores",
    ),
    ViolationSpec(
        "mask-isa", "hardware", "deploy", "the processor has these instructions", "on", 1, 1,
        options={"features": Words(ISA_WORDS, required=True)}, tolerance=0.0,
        mechanisms=("variables of glibc, OpenSSL, NumPy, PyTorch, oneDNN, OpenBLAS, MKL and Go (proxy)",), needs="x86-64",
        measured_by="glibc's loader and OpenSSL asked under the same variables; every process carries them", undo="A",
        hazards="static code and JITs that ask CPUID themselves still see the instructions",
    ),
    ViolationSpec(
        "no-io-uring", "hardware", "deploy", "the kernel has io_uring", "on", 1, 1, options={"errno": ("ENOSYS", "EPERM")}, tolerance=0.0,
        mechanisms=("seccomp filter",), needs="a kernel with seccomp filters",
        measured_by="every process lies under a filter; a child's call fails with that error", undo="A",
        hazards="programs differ in which error they fall back on: that is why it is an option",
    ),
    ViolationSpec(
        "no-hugepages", "hardware", "deploy", "memory comes in huge pages", "on", 1, 1, tolerance=0.0,
        mechanisms=("PR_SET_THP_DISABLE",), needs="transparent huge pages not off on the host",
        measured_by="THP_enabled of every process", undo="A", hazards="hugetlbfs, asked for by name, is not concerned",
    ),
    ViolationSpec(
        "clock-skew", "hardware", "deploy", "clocks agree between the system and its neighbours", "s", -1e9, 1e9,
        aliases={"ms": 1e-3, "h": 3600.0}, whole=("dose",), tolerance=0.0,
        mechanisms=("time namespace",), needs="Linux 5.6 with CONFIG_TIME_NS, CAP_SYS_ADMIN",
        measured_by="timens_offsets of every process", undo="A", hazards="the wall clock cannot be shifted this way and is not",
    ),
    ViolationSpec(
        "memory", "hardware", "deploy", "the machine has this much memory", "MiB", 1, 1 << 24, aliases={"GiB": 1024.0, "KiB": 1 / 1024},
        tolerance=0.01,
        mechanisms=("cgroup memory limit, no swap",), needs="a writable memory cgroup",
        measured_by="the limit in force, read back", undo="B",
        hazards="the kernel kills a system that needs more: an outcome, not an error",
    ),
    ViolationSpec(
        "rate_scale", "workload", "compile", "the request rate", "factor", 0.001, 1000, aliases={"x": 1.0}, tolerance=0.02,
        mechanisms=("thinned or superposed trace",), measured_by="requests counted in the compiled trace", undo="A",
    ),
    ViolationSpec(
        "burst", "workload", "compile", "arrivals are this smooth", "cv", 0, 1000, tolerance=0.05,
        mechanisms=("gaps of Weibull's law",), measured_by="gaps measured in the compiled trace", undo="A",
    ),
)  # fmt: skip

CATALOGUE: dict[str, ViolationSpec] = {spec.name: spec for spec in _ALL}
