"""Instruction set features by name: where CPUID says them, what each library calls them, and how a child is made not to use them.

There is no switch in the kernel for this: each library decides at run time by CPUID, and each has a variable of its own to be told
otherwise. A program that asks CPUID itself (static code, a JIT) still sees everything, so a masked feature is a proxy for a machine
without it. Sources: OPENSSL_ia32cap(3); the glibc manual, "Hardware Capability Tunables"; numpy's "CPU build options"; PyTorch's
ATen/cpu; oneDNN's "CPU dispatcher control"; OpenBLAS' README (DYNAMIC_ARCH); Go's internal/cpu; Intel MKL's "Instruction set specific
dispatching".
"""

import re
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent import cpuid

_LOADERS = ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-x86-64.so.2")
_REGISTERS = ("eax", "ebx", "ecx", "edx")
_PROBE_S = 5.0


@dataclass(frozen=True)
class Feature:
    """One feature: CPUID leaf (1 or 7), register, bit; its name in glibc, numpy and Go where they know it, and in /proc/cpuinfo."""

    name: str
    leaf: int
    register: str
    bit: int
    flag: str
    glibc: str = ""
    numpy: str = ""
    go: str = ""


FEATURES: dict[str, Feature] = {
    feature.name: feature
    for feature in (
        Feature("sse3", 1, "ecx", 0, "pni", "SSE3", "SSE3", "sse3"),
        Feature("pclmul", 1, "ecx", 1, "pclmulqdq", go="pclmulqdq"),
        Feature("ssse3", 1, "ecx", 9, "ssse3", "SSSE3", "SSSE3", "ssse3"),
        Feature("fma", 1, "ecx", 12, "fma", "FMA", "FMA3", "fma"),
        Feature("sse4.1", 1, "ecx", 19, "sse4_1", "SSE4_1", "SSE41", "sse41"),
        Feature("sse4.2", 1, "ecx", 20, "sse4_2", "SSE4_2", "SSE42", "sse42"),
        Feature("popcnt", 1, "ecx", 23, "popcnt", "POPCNT", "POPCNT", "popcnt"),
        Feature("aes", 1, "ecx", 25, "aes", go="aes"),
        Feature("avx", 1, "ecx", 28, "avx", "AVX", "AVX", "avx"),
        Feature("bmi1", 7, "ebx", 3, "bmi1", "BMI1", go="bmi1"),
        Feature("avx2", 7, "ebx", 5, "avx2", "AVX2", "AVX2", "avx2"),
        Feature("bmi2", 7, "ebx", 8, "bmi2", "BMI2", go="bmi2"),
        Feature("erms", 7, "ebx", 9, "erms", "ERMS", go="erms"),
        Feature("avx512f", 7, "ebx", 16, "avx512f", "AVX512F", "AVX512F", "avx512f"),
        Feature("avx512dq", 7, "ebx", 17, "avx512dq", "AVX512DQ", "AVX512DQ"),
        Feature("avx512ifma", 7, "ebx", 21, "avx512ifma"),
        Feature("avx512cd", 7, "ebx", 28, "avx512cd", "AVX512CD", "AVX512CD"),
        Feature("sha", 7, "ebx", 29, "sha_ni"),
        Feature("avx512bw", 7, "ebx", 30, "avx512bw", "AVX512BW", "AVX512BW", "avx512bw"),
        Feature("avx512vl", 7, "ebx", 31, "avx512vl", "AVX512VL", "AVX512VL", "avx512vl"),
        Feature("vaes", 7, "ecx", 9, "vaes"),
        Feature("vpclmulqdq", 7, "ecx", 10, "vpclmulqdq"),
    )
}
GROUPS: Mapping[str, tuple[str, ...]] = {
    "avx512": tuple(name for name in FEATURES if name.startswith("avx512")),
    "crypto": ("aes", "pclmul", "sha", "vaes", "vpclmulqdq"),
}
"""Words for several at once."""
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "avx": ("avx2", "fma", "avx512", "vaes", "vpclmulqdq"),
    "avx2": ("avx512",),
    "aes": ("vaes",),
    "pclmul": ("vpclmulqdq",),
}
"""What no processor has without the feature: masked with it."""


def names(asked: Collection[str]) -> tuple[str, ...]:
    """The features that some words stand for, with those that need them. Raises KeyError for an unknown word."""
    found: dict[str, None] = {}
    todo = list(asked)
    while todo:
        word = todo.pop(0)
        if word in GROUPS:
            todo += GROUPS[word]
        elif FEATURES[word].name not in found:
            found[word] = None
            todo += _NEEDS.get(word, ())
    return tuple(name for name in FEATURES if name in found)


def present() -> set[str]:
    """Features of this machine, as the kernel tells them."""
    text = re.search(r"^flags\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    flags = set(text.group(1).split()) if text else set()
    return {name for name, feature in FEATURES.items() if feature.flag in flags}


def masking(masked: Collection[str]) -> dict[str, str]:
    """The variables that keep libraries from using these features."""
    chosen = [FEATURES[name] for name in FEATURES if name in masked]
    env = {"OPENSSL_ia32cap": _openssl(chosen)}
    if glibc := [f"-{each.glibc}" for each in chosen if each.glibc]:
        env["GLIBC_TUNABLES"] = f"glibc.cpu.hwcaps={','.join(glibc)}"
    if numpy := [each.numpy for each in chosen if each.numpy] + _numpy_levels(masked):
        env["NPY_DISABLE_CPU_FEATURES"] = " ".join(numpy)
    if go := [f"cpu.{each.go}=off" for each in chosen if each.go]:
        env["GODEBUG"] = ",".join(go)
    return env | _levels(masked)


def _numpy_levels(masked: Collection[str]) -> list[str]:
    """NumPy from 2.4 on dispatches by levels of x86-64 instead of single features; a name that it does not know costs a warning."""
    if {"avx", "avx2", "fma", "bmi1", "bmi2"} & set(masked):
        return ["X86_V3", "X86_V4", "AVX512_ICL", "AVX512_SPR"]
    return ["X86_V4", "AVX512_ICL", "AVX512_SPR"] if any(name.startswith("avx512") for name in masked) else []


def _openssl(chosen: Collection[Feature]) -> str:
    first = sum(1 << (each.bit + 32) for each in chosen if each.leaf == 1)
    second = sum(1 << (each.bit + (32 if each.register == "ecx" else 0)) for each in chosen if each.leaf == 7)
    return f"~{first:#x}" + (f":~{second:#x}" if second else "")


def _levels(masked: Collection[str]) -> dict[str, str]:
    """Libraries that know levels instead of features: the highest that is left."""
    if "avx" in masked:
        return {
            "ATEN_CPU_CAPABILITY": "default",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "OPENBLAS_CORETYPE": "Nehalem",
            "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        }
    if "avx2" in masked:
        return {
            "ATEN_CPU_CAPABILITY": "default",
            "ONEDNN_MAX_CPU_ISA": "AVX",
            "OPENBLAS_CORETYPE": "Sandybridge",
            "MKL_ENABLE_INSTRUCTIONS": "AVX",
        }
    if "avx512f" in masked:
        return {
            "ATEN_CPU_CAPABILITY": "avx2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "OPENBLAS_CORETYPE": "Haswell",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        }
    return {}


def still_shown(features: Collection[str], env: Mapping[str, str]) -> tuple[str, ...]:
    """Those of the features that the instruction CPUID shows to a child with these variables: it heeds no variable. () where it cannot be
    executed.
    """
    said = cpuid.shown(env)
    chosen = [FEATURES[name] for name in FEATURES if name in features]
    return tuple(each.name for each in chosen if said.get((each.leaf, each.register), 0) >> each.bit & 1)


def seen(env: Mapping[str, str]) -> dict[str, dict[str, bool]]:
    """What a child with these variables really sees, by who looks: library -> feature -> whether it would use it.

    glibc's own loader and OpenSSL are asked, where they are installed; what a library has no name for is not in its answer.
    """
    found: dict[str, dict[str, bool]] = {}
    loader = next((path for path in _LOADERS if Path(path).exists()), None)
    if loader is not None:
        active = re.findall(r"features\[0x([01])\]\.active\[0x([0-3])\]=0x([0-9a-f]+)", _said([loader, "--list-diagnostics"], env))
        registers = {(1 if leaf == "0" else 7, _REGISTERS[int(at)]): int(value, 16) for leaf, at, value in active}
        found["glibc"] = {
            f.name: bool(registers[f.leaf, f.register] >> f.bit & 1)
            for f in FEATURES.values()
            if f.glibc and (f.leaf, f.register) in registers
        }
    words = re.search(r"OPENSSL_ia32cap=0x([0-9a-f]+):0x([0-9a-f]+)", _said(["openssl", "version", "-c"], env))
    if words:
        first, second = (int(word, 16) for word in words.groups())
        found["openssl"] = {
            f.name: bool((first >> 32 if f.leaf == 1 else second >> (32 if f.register == "ecx" else 0)) >> f.bit & 1)
            for f in FEATURES.values()
        }
    return {library: answer for library, answer in found.items() if answer}


def _said(command: list[str], env: Mapping[str, str]) -> str:
    try:
        return subprocess.run(command, env={"PATH": "/usr/bin:/bin", **env}, capture_output=True, text=True, timeout=_PROBE_S).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
