"""What the instruction CPUID says to whoever executes it, and whether it can be made to fault on this node. Standard library only.

Run as a file it is the asker: `cpuid.py` prints leaves 1 and 7 as JSON, executing the instruction itself; `cpuid.py fault` asks the kernel
first to make it fault (arch_prctl(2), ARCH_SET_CPUID) and dies by SIGSEGV where the processor really does. The flag cpuid_fault alone does
not tell: a virtual machine may show it and not do it.
"""

import ctypes
import json
import mmap
import platform
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import cache

_ARCH_PRCTL, _ARCH_SET_CPUID = 158, 0x1012
_ASK_S = 10.0
_REGISTERS = ("eax", "ebx", "ecx", "edx")
# push rbx; mov eax, edi; mov ecx, esi; mov r8, rdx; cpuid; mov [r8], eax; mov [r8+4], ebx; mov [r8+8], ecx; mov [r8+12], edx; pop rbx; ret
_CODE = bytes.fromhex("5389f889f14989d00fa241890041895804418948084189500c5bc3")
_UNABLE = 3

Registers = dict[tuple[int, str], int]
"""(leaf, register) -> value; subleaf 0."""


def shown(env: Mapping[str, str]) -> Registers:
    """What a child with these variables gets of the instruction; {} where there is none or it may not be executed so."""
    if platform.machine() != "x86_64":
        return {}
    try:
        said = _asked([], env)
        if said.returncode != 0:
            return {}
        return {(int(leaf), name): value for leaf, values in json.loads(said.stdout).items() for name, value in values.items()}
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return {}


@cache
def faults() -> bool:
    """Whether the kernel and this processor let CPUID fault, tried in a child."""
    if platform.machine() != "x86_64":
        return False
    try:
        return _asked(["fault"], {}).returncode == -signal.SIGSEGV
    except (OSError, subprocess.TimeoutExpired):
        return False


def _asked(words: list[str], env: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-I", "-S", __file__, *words]
    return subprocess.run(command, env={"PATH": "/usr/bin:/bin", **env}, capture_output=True, text=True, timeout=_ASK_S)


def execute(leaf: int, subleaf: int = 0) -> tuple[int, ...]:
    """The instruction itself: eax, ebx, ecx, edx. Raises OSError where memory may not be executable."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(_CODE)
    here = (ctypes.c_char * len(_CODE)).from_buffer(page)
    out = (ctypes.c_uint32 * 4)()
    ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p)(ctypes.addressof(here))(leaf, subleaf, ctypes.addressof(out))
    del here
    page.close()
    return tuple(out)


def main(words: list[str]) -> int:
    if words == ["fault"]:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # its end is the answer, not a crash to be kept
        if ctypes.CDLL(None).syscall(_ARCH_PRCTL, _ARCH_SET_CPUID, 0) != 0:
            return _UNABLE
    leaves = [leaf for leaf in (1, 7) if leaf <= execute(0)[0]]
    print(json.dumps({leaf: dict(zip(_REGISTERS, execute(leaf), strict=True)) for leaf in leaves}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
