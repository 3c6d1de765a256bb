"""Pages of shadow stacks: entries as the kernel's macros make them, on x86-64 and arm64, and all that are not such."""

from __future__ import annotations

from pathlib import Path

import pytest
from arm64_macros import DIRTY as ARM_DIRTY
from arm64_macros import MACROS as ARM64
from arm64_macros import NG, RDONLY, STEPS, USER, UXN, VALID, WRITE, Macros
from hypothesis import given
from hypothesis import strategies as st
from kernel_macros import ACCESSED, DIRTY, NX, PRESENT, PSE, RW, SOFT_DIRTY, decoded, kernel, leaf
from kernel_macros import USER as X86_USER

import pte_magic
from pte_magic.formats.describe import describe
from pte_magic.formats.features import running
from pte_magic.formats.kernel import of_release

OLD, NEW = (of_release("x86_64", release) for release in ((6, 5), (6, 6)))
WITHOUT = kernel("migration memory_failure pte_marker saved_dirty")
ARM = [of for of in ARM64 if of.new]
frames = st.integers(0, (1 << 34) - 1)
WORDS = "of a shadow stack: calls and returns write to it, stores do not"


def gcs(of: Macros, *, writable: bool) -> int:
    """``_PAGE_GCS`` and ``_PAGE_GCS_RO``, asm/pgtable-prot.h."""
    return of.default | NG | UXN | USER | (WRITE if writable else 0)


@given(st.sampled_from(["pte", "pmd"]), frames, st.sampled_from([0, ACCESSED]), st.sampled_from([0, NX, SOFT_DIRTY]))
def test_shadow_stack_of_x86_64(level: str, pfn: int, accessed: int, more: int) -> None:
    size = PSE if level == "pmd" else 0
    entry = leaf(pfn, PRESENT | X86_USER | DIRTY | accessed | more | size, level)  # pte_mkwrite_shstk()
    found = decoded(entry, level, NEW)
    assert (found["state"], found["kind"], found["rw"], found["dirty"]) == ("present", "shadow_stack", False, True)
    assert describe(entry, level, NEW).says.endswith(WORDS)
    for of in (OLD, WITHOUT):  # the kernel knows no shadow stacks: the page is dirty, and was made read-only
        assert "kind" not in decoded(entry, level, of)
        assert WORDS not in describe(entry, level, of).says


@given(st.sampled_from(["pte", "pmd", "pud"]), frames, st.integers(0, 0x7F))
def test_other_pages_of_x86_64_are_not(level: str, pfn: int, flags: int) -> None:
    size = PSE if level != "pte" else 0
    flags |= PRESENT | size
    found = decoded(leaf(pfn, flags, level), level, NEW)
    shadow = flags & (RW | X86_USER | DIRTY) == X86_USER | DIRTY  # pte_shstk(); the kernel has none of its own
    assert found.get("kind") == ("shadow_stack" if shadow else None)


def test_a_table_is_not_a_shadow_stack() -> None:
    entry = 0x4711 << 12 | PRESENT | X86_USER | ACCESSED | DIRTY
    assert (decoded(entry, "pmd", NEW)["state"], decoded(entry, "pmd", NEW).get("kind")) == ("table", None)


@given(
    st.sampled_from(ARM), frames, st.booleans(), st.lists(st.sampled_from(["mkdirty", "mkold", "mkyoung"]), max_size=3)
)
def test_guarded_control_stack_of_arm64(of: Macros, pfn: int, writable: bool, how: list[str]) -> None:
    pfn &= (1 << of.physical_bits - of.page_shift) - 1
    entry = of.pfn_pte(pfn, gcs(of, writable=writable))
    for step in how:
        entry = STEPS[step](entry)
    found = decoded(entry, "pte", of.kernel)
    assert not entry & RDONLY
    assert (found["state"], found["kind"], found["pfn"]) == ("present", "shadow_stack", pfn)
    assert (found["rw"], found["user"], found["dbm"]) == (False, True, writable)
    assert describe(entry, "pte", of.kernel).says.endswith(WORDS)
    before = decoded(entry, "pte", of_release(of.encoding, (6, 12)))  # before GCS came
    assert ("kind" in before, before["rw"]) == (False, True)


@given(
    st.sampled_from(ARM), frames, st.sampled_from(["r", "rx", "rw", "rwx", "x"]), st.lists(st.sampled_from([*STEPS]))
)
def test_other_pages_of_arm64_are_not(of: Macros, pfn: int, prot: str, how: list[str]) -> None:
    entry = of.pfn_pte(pfn & (1 << 34 - of.page_shift) - 1, of.protections[prot])
    for step in how:
        entry = STEPS[step](entry)
    found = decoded(entry, "pte", of.kernel)
    assert "kind" not in found
    assert found["rw"] == (not entry & RDONLY)


def test_decode_tells_of_both() -> None:
    arm = ARM[0]
    entry = arm.pfn_pte(0x4711, gcs(arm, writable=True) | ARM_DIRTY)
    found = pte_magic.decode(entry, arch="arm64")
    assert (found["kind"][0], found["rw"][0]) == ("shadow_stack", False)
    assert WORDS in found.bits().text()
    assert pte_magic.decode(0x8000000153016065 & ~RW, arch="x86_64", release="6.12")["kind"][0] == "shadow_stack"
    assert entry & VALID


@pytest.mark.skipif(not Path("/proc/cpuinfo").read_text(encoding="utf-8").count("flags\t"), reason="needs flags of x86")
def test_the_running_kernel_has_them_if_its_cpu_does() -> None:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("flags\t", 1)[1].split("\n", 1)[0].split()
    assert ("shadow_stack" in running()) == ("user_shstk" in flags)
