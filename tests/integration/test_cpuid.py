"""CPUID heeds no variable: what it still shows is found by executing it, and told beside the dose."""

import pytest

from agent import cpuid, isa
from agent.violations.mask_isa import statement

pytestmark = pytest.mark.skipif(not isa.present(), reason="the names are those of x86-64")


def test_the_instruction_shows_what_the_kernel_says_that_the_processor_has() -> None:
    said = cpuid.shown({})
    assert said, "executed in a child"
    found = {f.name for f in isa.FEATURES.values() if said.get((f.leaf, f.register), 0) >> f.bit & 1}
    assert isa.present() <= found, "the kernel may hide what the processor shows, not the other way round"


def test_a_masked_feature_is_still_shown_by_the_instruction() -> None:
    masked = isa.names(["avx", "crypto"])
    here = {name for name in masked if name in isa.present()}
    if not here:
        pytest.skip("this processor has none of them")
    assert here <= set(isa.still_shown(masked, isa.masking(masked)))


def test_that_cpuid_can_fault_is_tried_and_not_believed() -> None:
    flags = set(next(line for line in open("/proc/cpuinfo") if line.startswith("flags")).split())  # noqa: PTH123, SIM115
    if cpuid.faults():
        assert "cpuid_fault" in flags
    assert cpuid.shown({}), "the trial was a child's: here the instruction works as before"
    assert cpuid.execute(0)[0] >= 1


@pytest.mark.parametrize(
    ("views", "shown", "expected"),
    [
        ({"glibc": False, "openssl": False}, ("aes", "vaes"), "obeyed by: glibc, openssl; CPUID still shows aes, vaes to whoever asks it"),
        ({"glibc": False, "openssl": True}, ("aes",), "obeyed by: glibc; not obeyed by: openssl; CPUID still shows aes to whoever asks it"),
        ({}, (), "CPUID could not be asked, or shows none of them"),
    ],
)
def test_the_statement_names_who_obeyed_and_what_is_still_shown(views: dict[str, bool], shown: tuple[str, ...], expected: str) -> None:
    assert statement(views, shown) == expected
