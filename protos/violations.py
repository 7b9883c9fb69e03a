"""The catalogue of violations: what each breaks, its dose and unit. A contract: the controller checks campaigns against
it, agents implement it (agent/violations/, one file each), and a test holds the two together."""

from dataclasses import dataclass, field
from typing import Literal

from protos.topology import PLACES

Axis = Literal["sharing", "hardware", "workload"]
Stage = Literal["deploy", "violate", "compile", "place"]
"""When it takes hold: before the system starts, on the running system, in the trace before the plan is made, or by where the trial runs."""
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
class Number:
    """An option that takes a number from `low` to `high`, both included."""

    low: float
    high: float


@dataclass(frozen=True)
class Told:
    """An option that takes a text of this form (a regular expression for the whole of it), which `words` describe."""

    pattern: str
    words: str
    required: bool = False


Allowed = tuple[str, ...] | Words | Number | Told


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
    options: dict[str, Allowed] = field(default_factory=dict)  # name -> allowed values; () = a number above 0
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
    def on_node(self) -> bool:
        """Whether it is an agent that does it to its node."""
        return self.stage in ("deploy", "violate")

    @property
    def is_switch(self) -> bool:
        return self.low == self.high == 1


ISA_WORDS = (
    "sse3", "pclmul", "ssse3", "fma", "sse4.1", "sse4.2", "popcnt", "aes", "avx", "bmi1", "avx2", "bmi2", "erms", "avx512f", "avx512dq",
    "avx512ifma", "avx512cd", "sha", "avx512bw", "avx512vl", "vaes", "vpclmulqdq", "avx512", "crypto",
)  # fmt: skip
_PLACE: dict[str, Allowed] = {"place": PLACES}
_PERCENT = Number(0, 100)
_BY: dict[str, Allowed] = {"by": ("relay",)}
"""The relay alone, also where the kernel could."""
_THREADS = Number(1, 1024)
_MIB = Number(1, 1 << 24)
_OWN_PROCESS = "its own CPU stands beside every reading: on the system's core it takes that from the system, too"
_TIME = Told(r"[0-9.]+ *(ns|us|µs|ms|s|m|min|h|d)", "a time such as 10s")

_ALL = (
    ViolationSpec(
        "cpu", "sharing", "violate", "the system owns its core", "percent", 0, 100,
        options={**_PLACE, "weight": (), "nice": Number(-20, 19), "period_ms": Number(1, 1000)}, whole=("nice",),
        tolerance=0.10, tolerance_abs=2.0,
        mechanisms=("spinner under a cgroup quota", "stress-ng --cpu-load (proxy: the dose sinks when contended)"),
        needs="a writable cpu cgroup, else stress-ng", measured_by="the cgroup's CPU time", undo="B", varies=True,
        hazards="whatever else runs on that core waits as the system does",
    ),
    ViolationSpec(
        "smt", "sharing", "violate", "the core's other hardware thread is idle", "percent", 0, 100,
        options={"period_ms": Number(1, 1000)}, tolerance=0.10, tolerance_abs=2.0,
        mechanisms=("spinner under a cgroup quota on the sibling thread", "stress-ng --cpu-load (proxy: the dose sinks when contended)"),
        needs="SMT, on; a writable cpu cgroup, else stress-ng", measured_by="the cgroup's CPU time", undo="B", varies=True,
        hazards="a load generator on that thread is disturbed as well: give nodes.load cores of its own",
    ),
    ViolationSpec(
        "llc", "sharing", "violate", "the last-level cache is the system's", "percent", 0, 10_000,
        options={**_PLACE, "touches_per_s": (), "cache_mib": ()}, tolerance=0.10,
        mechanisms=("paced native touches of cache lines",), needs="nothing; the cache is probed once, in about a second",
        measured_by="the working set, as far as its touches were made (its own count)", undo="B",
        hazards=f"what it misses in the cache it reads from memory, so the bus has a share of it; {_OWN_PROCESS}",
    ),
    ViolationSpec(
        "membw", "sharing", "violate", "the memory bus is idle", "GB/s", 0, 1000,
        aliases={"MB/s": 1e-3}, options={**_PLACE, "threads": _THREADS}, whole=("threads",), tolerance=0.10,
        mechanisms=("paced native streams",), needs="1 GiB of free memory", measured_by="bytes that the streams count", undo="B",
        varies=True, hazards="from some GB/s on a stream takes its whole core; the CPU that it took stands beside every reading",
    ),
    ViolationSpec(
        "memhog", "sharing", "violate", "the machine's memory is the system's", "MiB", 0, 1 << 24, aliases={"GiB": 1024.0},
        options={**_PLACE, "growth_mib_s": ()}, tolerance=0.02, tolerance_abs=1.0,
        mechanisms=("native process that holds anonymous memory",),
        needs="that much available memory, and a twentieth of all of it (512 MiB at least) to be left",
        measured_by="the process's RssAnon", undo="B", hazards="page cache that others rely on goes first",
    ),
    ViolationSpec(
        "tlb", "sharing", "violate", "translations stay in the TLB", "touches/s", 0, 1e9, options={**_PLACE, "set_mib": _MIB},
        tolerance=0.10, mechanisms=("paced native touches of small pages",), needs="nothing", measured_by="touches that it counts",
        undo="B", varies=True, hazards=_OWN_PROCESS,
    ),
    ViolationSpec(
        "pagefault", "sharing", "violate", "the page allocator is idle", "faults/s", 0, 1e8, options=_PLACE, tolerance=0.10,
        mechanisms=("paced native first touches",), needs="nothing", measured_by="minor faults of the process, by the kernel", undo="B",
        varies=True, hazards=_OWN_PROCESS,
    ),
    ViolationSpec(
        "pagecache", "sharing", "violate", "the page cache is the system's", "MB/s", 0, 1e5, aliases={"GB/s": 1e3},
        options={**_PLACE, "write": _PERCENT, "file_mib": _MIB}, tolerance=0.10,
        mechanisms=("paced native reads and writes through the page cache",), needs="a disk with room for its file",
        measured_by="read_bytes and write_bytes of the process, by the kernel", undo="B", varies=True,
        hazards="the disk is loaded by as much",
    ),
    ViolationSpec(
        "disk", "sharing", "violate", "the disk is idle", "IOPS", 0, 1e7,
        options={**_PLACE, "write": _PERCENT, "block_kib": Number(4, 65536), "depth": _THREADS, "file_mib": _MIB},
        whole=("depth", "block_kib"), tolerance=0.10,
        mechanisms=("paced native direct I/O",), needs="a disk with O_DIRECT and room for its file",
        measured_by="read_bytes and write_bytes of the process, by the kernel", undo="B", varies=True,
        hazards="a virtual disk may have a budget that is shared with others, and be slower once it is spent",
    ),
    ViolationSpec(
        "disk-bw", "sharing", "violate", "the disk's bandwidth is free", "MB/s", 0, 1e5, aliases={"GB/s": 1e3},
        options={**_PLACE, "write": _PERCENT, "block_kib": Number(4, 65536), "depth": _THREADS, "file_mib": _MIB},
        whole=("depth", "block_kib"), tolerance=0.10,
        mechanisms=("paced native direct I/O",), needs="a disk with O_DIRECT and room for its file",
        measured_by="read_bytes and write_bytes of the process, by the kernel", undo="B", varies=True,
        hazards="a virtual disk may have a budget that is shared with others, and be slower once it is spent",
    ),
    ViolationSpec(
        "fsync", "sharing", "violate", "nobody else waits for the disk to be safe", "fsyncs/s", 0, 1e6,
        options={**_PLACE, "threads": _THREADS}, whole=("threads",), tolerance=0.10,
        mechanisms=("paced native writes and fdatasync",), needs="a disk", undo="B", varies=True,
        measured_by="write_bytes of the process, by the kernel: a page is dirtied anew only once it was synced",
        hazards="a file system's journal is one for all: others' syncs wait for it",
    ),
    ViolationSpec(
        "net", "sharing", "violate", "the network stack is idle", "Mbit/s", 0, 1e6, aliases={"Gbit/s": 1e3},
        options={**_PLACE, "packet_bytes": Number(64, 65_000), "address": Told(r"[0-9a-fA-F.:]{2,45}", "an IP address of the node's own")},
        tolerance=0.10,
        mechanisms=("paced native datagrams over loopback of its own", "paced native datagrams over loopback, or to an address"),
        needs="nothing; root for a loopback of its own, which the kernel counts apart",
        measured_by="rx_bytes of that loopback, by the kernel; else its own count", undo="B", varies=True, hazards=_OWN_PROCESS,
    ),
    ViolationSpec(
        "softirq", "sharing", "violate", "the kernel does no one else's packets on this core", "packets/s", 0, 1e8,
        options={**_PLACE, "packet_bytes": Number(64, 65_000)}, tolerance=0.10,
        mechanisms=("paced native datagrams over loopback of its own", "paced native datagrams over loopback"),
        needs="nothing; root for a loopback of its own, which the kernel counts apart",
        measured_by="rx_packets of that loopback, by the kernel; else its own count", undo="B", varies=True, hazards=_OWN_PROCESS,
    ),
    ViolationSpec(
        "syscall", "sharing", "violate", "nobody else enters the kernel on this core", "calls/s", 0, 1e8, options=_PLACE, tolerance=0.10,
        mechanisms=("paced native reads of /dev/zero",), needs="nothing", measured_by="syscr of the process, by the kernel", undo="B",
        varies=True, hazards=_OWN_PROCESS,
    ),
    ViolationSpec(
        "ctxswitch", "sharing", "violate", "the core keeps to one thread", "switches/s", 500, 1e7, options=_PLACE, tolerance=0.10,
        mechanisms=("paced native threads in turn",), needs="nothing",
        measured_by="voluntary_ctxt_switches of its threads, by the kernel", undo="B", varies=True, hazards=_OWN_PROCESS,
    ),
    ViolationSpec(
        "lock", "sharing", "violate", "nobody else wakes and waits", "handovers/s", 0, 1e7, options={**_PLACE, "threads": _THREADS},
        whole=("threads",), tolerance=0.10,
        mechanisms=("paced native futex hand-overs",), needs="nothing", measured_by="hand-overs that it counts", undo="B", varies=True,
        hazards=_OWN_PROCESS,
    ),
    ViolationSpec(
        "gpu", "sharing", "violate", "the GPU is the system's", "percent", 0, 100, options={"device": Number(0, 63)}, whole=("device",),
        tolerance=0.10, tolerance_abs=2.0, mechanisms=("paced CUDA kernels",), needs="an NVIDIA GPU and its driver",
        measured_by="how long its kernels ran, by the GPU's events", undo="B", varies=True,
        hazards="without MPS a GPU serves one process at a time: what it gives to the neighbour it takes from the system whole",
    ),
    ViolationSpec(
        "gpu-membw", "sharing", "violate", "the GPU's memory is idle", "GB/s", 0, 100_000, options={"device": Number(0, 63)},
        whole=("device",), tolerance=0.10, mechanisms=("paced CUDA copies within the device",), needs="an NVIDIA GPU and its driver",
        measured_by="bytes of the copies that the GPU has done", undo="B", varies=True, hazards="it holds 64 MiB of the GPU's memory",
    ),
    ViolationSpec(
        "gpu-memory", "sharing", "violate", "the GPU's memory is the system's", "MiB", 0, 1 << 24, aliases={"GiB": 1024.0},
        options={"device": Number(0, 63)}, whole=("device",), tolerance=0.02, tolerance_abs=10.0,
        mechanisms=("process that holds CUDA device memory",), needs="an NVIDIA GPU and its driver",
        measured_by="NVML: memory of that process less that of its context; else of the device", undo="B", varies=True,
        hazards="a system that allocates later finds less; its context takes some hundred MiB beside the dose",
    ),
    ViolationSpec(
        "pcie", "sharing", "violate", "the way to the GPU is free", "GB/s", 0, 1000,
        options={"device": Number(0, 63), "direction": ("to-device", "from-device")}, whole=("device",), tolerance=0.10,
        mechanisms=("paced CUDA copies from or to pinned memory",), needs="an NVIDIA GPU and its driver",
        measured_by="bytes of the copies that the GPU has done", undo="B", varies=True, hazards="the host's memory bus carries it as well",
    ),
    ViolationSpec(
        "stress", "sharing", "violate", "nobody else does this here", "percent", 0, 100_000,
        options={
            **_PLACE, "stressor": Told(r"[a-z0-9-]{1,40}", "the name of a stressor of stress-ng", required=True), "workers": _THREADS,
            "args": Told(r"[-A-Za-z0-9.%_= ]{0,400}", "options of that stressor, such as --vm-bytes 64m"),
        },
        whole=("workers",), tolerance=0.10, tolerance_abs=2.0,
        mechanisms=("stress-ng under a cgroup quota (proxy: CPU is what is held, whatever it does with it)",),
        needs="stress-ng, and a writable cpu cgroup", measured_by="the cgroup's CPU time", undo="B", varies=True,
        hazards="a stressor that waits (for a disk, a peer) uses less than it may: then the dose is not confirmed",
    ),
    ViolationSpec(
        "nodes", "hardware", "place", "the machine is the one that it was tuned on", "on", 1, 1, tolerance=0.0,
        options={"where": Told(r".{1,400}", "an expression over labels of nodes, such as cpu_model =~ 'EPYC'", required=True)},
        mechanisms=("another node of the fleet, on a machine of its own",), needs="a second machine whose labels the expression matches",
        measured_by="the agent that started the system, and its machine",
        hazards="what else differs between two machines differs too: kernel, network, neighbours; perhaps also where the load comes from",
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
        "disk-throttle", "hardware", "violate", "the disk is this fast", "MB/s", 0.1, 100_000, aliases={"GB/s": 1000.0, "MiB/s": 1.048576},
        tolerance=0.10, mechanisms=("cgroup v2 io.max", "cgroup v1 blkio.throttle"),
        needs="a writable io or blkio cgroup, a file system on a disk",
        measured_by="the cgroup's count of bytes, while there is enough to do; else the limit in force", undo="B", varies=True,
        hazards="cgroup v1 holds back direct I/O and reads, not what is written to the page cache",
    ),
    ViolationSpec(
        "disk-latency", "hardware", "deploy", "the disk answers soon", "ms", 0, 500, aliases={"us": 1e-3, "s": 1000.0},
        tolerance=0.10, tolerance_abs=0.2, mechanisms=("FUSE over the system's folder, in a mount namespace of its own (proxy)",),
        needs="root, /dev/fuse, a folder on a file system with O_DIRECT",
        measured_by="direct reads of a page by the mount less direct reads below it", undo="B", varies=True,
        hazards="takes a core's time for each request; buffered writes are not held, fsync is, also of a preload; what the system caches "
        "of its folder lies in memory twice; no extended attributes; disk-throttle beside it is refused; a load by `block` from outside "
        "the system does not go by it",
    ),
    ViolationSpec(
        "numa-remote", "hardware", "deploy", "memory is near its cores", "on", 1, 1, tolerance=0.0,
        mechanisms=("set_mempolicy, bound to the farthest node",), needs="two NUMA nodes with memory",
        measured_by="numa_maps of every process", undo="A", hazards="whoever works on the far node shares its bus",
    ),
    ViolationSpec(
        "memory-tier", "hardware", "deploy", "memory is DRAM beside the processor", "on", 1, 1, tolerance=0.0,
        mechanisms=("set_mempolicy, bound to a node without processors",), needs="CXL or persistent memory that the kernel shows as a node",
        measured_by="numa_maps of every process", undo="A", hazards="such memory may be small: a system that needs more is killed",
    ),
    ViolationSpec(
        "swap-tier", "hardware", "deploy", "all of its memory is DRAM", "MiB", 1, 1 << 24, aliases={"GiB": 1024.0, "KiB": 1 / 1024},
        options={"swap_mib": _MIB}, tolerance=0.01,
        mechanisms=("cgroup memory limit over the node's own swap (proxy)", "cgroup memory limit over a swap file of ours (proxy)"),
        needs="a writable memory cgroup; swap that is free, else root and a folder on ext4 or xfs",
        measured_by="the limit in force, read back; its pages in swap and its major faults beside it", undo="C",
        hazards="a swap area is the whole machine's: others that are short of memory use it too, and its disk is loaded",
    ),
    ViolationSpec(
        "no-gpu", "hardware", "deploy", "the machine has a GPU", "on", 1, 1, tolerance=0.0,
        mechanisms=(
            "device filter of cgroup v2, and variables of CUDA, HIP, ROCr and SYCL", "devices.deny of cgroup v1, and those variables",
            "those variables alone (proxy)",
        ),
        needs="a GPU; root for the filter", undo="B",
        measured_by="a child of the system's scope is refused the device; every process carries the variables, and none has a device open",
        hazards="a program that only lists the PCI bus or /sys still finds it; by the variables alone NVML does, too",
    ),
    ViolationSpec(
        "frequency", "hardware", "violate", "the processor runs this fast", "MHz", 1, 20_000, aliases={"GHz": 1000.0}, tolerance=0.05,
        mechanisms=("cpufreq scaling_max_freq",), needs="cpufreq policies, root",
        measured_by="the bound in force, and scaling_cur_freq where it is beyond", undo="C",
        hazards="a policy may rule other cores too: whoever runs there is slower as well",
    ),
    ViolationSpec(
        "turbo-off", "hardware", "violate", "the processor runs above its rated frequency", "on", 1, 1, tolerance=0.0,
        mechanisms=("intel_pstate/no_turbo", "cpufreq/boost"), needs="such a switch, root", measured_by="the switch, read back", undo="C",
        hazards="it is the whole machine's: every neighbour is slower too",
    ),
    ViolationSpec(
        "smt-off", "hardware", "violate", "a core has two threads", "on", 1, 1, tolerance=0.0, tolerance_abs=0.05,
        mechanisms=("cpu/smt/control", "second threads of the system's cores left idle (proxy)"),
        needs="SMT that is on; root for the switch", undo="C",
        measured_by="smt/control and smt/active; else how idle those threads were, by /proc/stat",
        hazards="the second threads of the whole machine go offline; who was pinned there is moved",
    ),
    ViolationSpec(
        "net-latency", "hardware", "violate", "the system is near its clients", "ms", 0, 10_000, aliases={"us": 1e-3, "s": 1000.0},
        options=_BY, tolerance=0.10, tolerance_abs=0.05,
        mechanisms=("netem on a link of its own between load and system", "relay between load and system (proxy)"),
        measured_by="round trips by this way less round trips directly, to the same echo", undo="B", varies=True,
        hazards="the way needs a core's time on the system's node; a cluster's other members are reached directly; connect returns at "
        "once, and only netem has the handshake behind it wait as well",
    ),
    ViolationSpec(
        "net-jitter", "hardware", "violate", "the network takes an even time", "ms", 0, 10_000, aliases={"us": 1e-3, "s": 1000.0},
        options=_BY, tolerance=0.20, tolerance_abs=0.1,
        mechanisms=("netem on a link of its own between load and system", "relay between load and system (proxy)"),
        measured_by="spread of round trips by this way beyond those directly", undo="B", varies=True,
        hazards="on one connection a late message holds up those behind it; by netem packets overtake each other besides",
    ),
    ViolationSpec(
        "net-bandwidth", "hardware", "violate", "the link is this wide", "Mbit/s", 0.1, 400_000,
        aliases={"Gbit/s": 1000.0, "kbit/s": 1e-3}, options=_BY, tolerance=0.10,
        mechanisms=("tbf on a link of its own between load and system", "relay between load and system (proxy)"),
        measured_by="bytes at the link's far end (relay: payload passed on), while there are enough; else the limit in force",
        undo="B", varies=True,
        hazards="what a sender has written waits in its own buffers, as before a real link; tbf counts headers, as a link does, the relay "
        "payload alone",
    ),
    ViolationSpec(
        "net-loss", "hardware", "violate", "the network loses nothing", "percent", 0, 100, options=_BY, tolerance=0.10, tolerance_abs=0.01,
        mechanisms=(
            "cls_bpf on a link of its own between load and system",
            "netem on a link of its own between load and system",
            "relay whose sockets lose what arrives (proxy)",
        ),
        needs="nothing; a link of its own wants root or user namespaces, and cls_bpf and sch_ingress, or sch_netem",
        measured_by="packets that set out on the link and that IP took in behind it, beside the drops of the queue or filter; by the relay "
        "those that its sockets took in and dropped", undo="B",
        varies=True,
        hazards="TCP waits 200 ms and more for what it must send again: throughput falls by much more than the dose; the load's own TCP "
        "ends at the link, so that there it sees delays and no losses",
    ),
    ViolationSpec(
        "no-offload", "hardware", "violate", "the network segments, merges and sums by itself", "on", 1, 1, tolerance=0.0,
        mechanisms=("ethtool features on a link of its own between load and system",), needs="root or user namespaces",
        measured_by="features of both ends, read back, and bytes for each packet on the link", undo="B",
        hazards="the link and its relays take time of their own, which is measured first and told; the system's own sockets stay on "
        "loopback",
    ),
    ViolationSpec(
        "no-nic-offload", "hardware", "violate", "the network interface segments, merges and sums", "on", 1, 1,
        options={"interface": Told(r"[A-Za-z0-9_.@-]{1,15}", "the name of a network interface of the node, such as eth0", required=True)},
        tolerance=0.0, mechanisms=("ethtool features",), needs="root, an interface with offloads that can be switched off",
        measured_by="its features, read back", undo="C",
        hazards="it is the whole machine's: whoever uses that interface has it without; some drivers reset the link when a feature changes",
    ),
    ViolationSpec(
        "rate_scale", "workload", "compile", "the request rate", "factor", 0.001, 1000, aliases={"x": 1.0}, tolerance=0.02,
        mechanisms=("thinned or superposed trace",), measured_by="requests counted in the compiled trace", undo="A",
    ),
    ViolationSpec(
        "burst", "workload", "compile", "arrivals are this smooth", "cv", 0, 1000, tolerance=0.05,
        mechanisms=("gaps of Weibull's law",), measured_by="gaps measured in the compiled trace", undo="A",
    ),
    ViolationSpec(
        "mmpp", "workload", "compile", "arrivals are this smooth, and bursts do not last", "cv", 1.001, 100, options={"dwell": _TIME},
        mechanisms=("two-state Markov-modulated Poisson process",), measured_by="gaps measured in the compiled trace",
    ),
    ViolationSpec(
        "diurnal", "workload", "compile", "the rate is steady", "share", 0, 1, options={"period": _TIME, "phase": Number(0, 1)},
        tolerance=0.1, tolerance_abs=0.03, mechanisms=("time warped by a sine",),
        measured_by="the mean phase of the requests over whole periods, less that of the nominal trace",
    ),
    ViolationSpec(
        "superpose", "workload", "compile", "there is one such population of users", "copies", 1, 64, whole=("dose",), tolerance=0.02,
        mechanisms=("copies from other phases",), measured_by="requests counted in the compiled trace",
    ),
    ViolationSpec(
        "zipf", "workload", "compile", "requests fall on keys this unevenly", "exponent", 0, 10, tolerance_abs=0.05,
        mechanisms=("as few requests as possible get another key",), measured_by="exponent of greatest likelihood of the compiled trace",
    ),
    ViolationSpec(
        "hotset_shift", "workload", "compile", "what is asked for often stays the same", "share", 0, 1,
        options={"period": _TIME, "hot": Number(0.001, 0.999)}, tolerance=0.25, tolerance_abs=0.05,
        mechanisms=("hot and cold keys change places",),
        measured_by="how many of a period's hot keys are hot in the next, beside the trace without it; two whole periods at least",
    ),
    ViolationSpec(
        "correlated_burst", "workload", "compile", "users want different things at a time", "share", 0, 1,
        options={"every": _TIME, "for": _TIME, "keys": (), "rate": Number(1, 1000)}, whole=("keys",), tolerance=0.1, tolerance_abs=0.03,
        mechanisms=("crowds on the same few keys",),
        measured_by="popularity in the moments and outside them, beside the nominal trace; 20 requests a key in a moment",
    ),
    ViolationSpec(
        "key_amplify", "workload", "compile", "the working set is this large", "copies", 1, 1_000_000, whole=("dose",), tolerance=0.1,
        mechanisms=("copies of the key space",), measured_by="how rarely two requests meet on a key, beside the nominal trace",
    ),
    ViolationSpec(
        "grow", "workload", "compile", "the working set stays as large", "share", 0, 1000, options={"period": _TIME}, tolerance=0.25,
        mechanisms=("copies of keys come to be",), measured_by="how many different keys a period asks for, beside the nominal trace",
    ),
    ViolationSpec(
        "churn", "workload", "compile", "keys live for ever", "share", 0, 1, options={"period": _TIME, "ops": ("both", "none")},
        tolerance=0.25, tolerance_abs=0.03, mechanisms=("keys deleted, others inserted",),
        measured_by="popularity that a period and the next have in common, beside the trace without it; two whole periods at least",
    ),
    ViolationSpec(
        "op_mix", "workload", "compile", "reads and writes come in this proportion", "share", 0, 1, tolerance=0.02, tolerance_abs=0.01,
        mechanisms=("each op drawn",), measured_by="reads counted in the compiled trace",
    ),
    ViolationSpec(
        "size_scale", "workload", "compile", "values are this large", "factor", 1e-6, 1e6, aliases={"x": 1.0}, tolerance=0.02,
        mechanisms=("each size times the dose",), measured_by="mean size in the compiled trace, beside the nominal one",
    ),
    ViolationSpec(
        "token_scale", "workload", "compile", "prompts and answers are this long", "factor", 1e-4, 1e4, aliases={"x": 1.0},
        tolerance=0.02, mechanisms=("all tokens times the dose",), measured_by="tokens in the compiled trace, beside the nominal one",
    ),
)  # fmt: skip

CATALOGUE: dict[str, ViolationSpec] = {spec.name: spec for spec in _ALL}
