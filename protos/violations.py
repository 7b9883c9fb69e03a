"""The catalogue of violations: what each breaks, its dose and unit. A contract: the controller checks campaigns against
it, agents implement it (agent/violations/, one file each), and a test holds the two together."""

from dataclasses import dataclass, field
from typing import Literal

Axis = Literal["sharing", "hardware", "workload"]
Stage = Literal["deploy", "violate", "compile"]
"""When it takes hold: before the system starts, on the running system, or in the trace before the plan is made."""


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
    ),
    ViolationSpec(
        "membw", "sharing", "violate", "the memory bus is idle", "GB/s", 0, 1000,
        aliases={"MB/s": 1e-3}, options={"place": PLACES, "threads": ()}, whole=("threads",), tolerance=0.10,
    ),
    ViolationSpec(
        "cpu-quota", "hardware", "violate", "the machine has this much CPU", "percent", 1, 10000,
        options={"period_ms": ()}, tolerance=0.02,
    ),
    ViolationSpec(
        "cores", "hardware", "deploy", "the machine has this many cores", "cores", 1, 4096, whole=("dose",), tolerance=0.0,
    ),
    ViolationSpec(
        "mask-isa", "hardware", "deploy", "the processor has these instructions", "on", 1, 1,
        options={"features": Words(ISA_WORDS, required=True)}, tolerance=0.0,
    ),
    ViolationSpec(
        "no-io-uring", "hardware", "deploy", "the kernel has io_uring", "on", 1, 1, options={"errno": ("ENOSYS", "EPERM")}, tolerance=0.0,
    ),
    ViolationSpec("no-hugepages", "hardware", "deploy", "memory comes in huge pages", "on", 1, 1, tolerance=0.0),
    ViolationSpec(
        "clock-skew", "hardware", "deploy", "clocks agree between the system and its neighbours", "s", -1e9, 1e9,
        aliases={"ms": 1e-3, "h": 3600.0}, whole=("dose",), tolerance=0.0,
    ),
    ViolationSpec(
        "memory", "hardware", "deploy", "the machine has this much memory", "MiB", 1, 1 << 24, aliases={"GiB": 1024.0, "KiB": 1 / 1024},
        tolerance=0.01,
    ),
    ViolationSpec(
        "rate_scale", "workload", "compile", "the request rate", "factor", 0.001, 1000, aliases={"x": 1.0}, tolerance=0.02,
    ),
    ViolationSpec("burst", "workload", "compile", "arrivals are this smooth", "cv", 0, 1000, tolerance=0.05),
)  # fmt: skip

CATALOGUE: dict[str, ViolationSpec] = {spec.name: spec for spec in _ALL}
