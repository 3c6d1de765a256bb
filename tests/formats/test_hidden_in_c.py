"""What SystemTap's module takes out of entries, in C, is what `hide` does: the code of pte_hide.stp, compiled here.

The kernel's macros are those of kernel_macros.py; real kernels, with their own, are asked in the lab's guests.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import kernel_macros as macros
import numpy as np
import pytest
from arm64_macros import NG, VALID
from hypothesis import given
from hypothesis import strategies as st
from kernel_macros import FEATURES_OF, PRESENT, PROTNONE, PSE, kernel, leaf, swap_entry

from pte_magic.formats import decode
from pte_magic.formats.field import Shape
from pte_magic.formats.hidden import hide
from pte_magic.formats.kernel import of_release
from pte_magic.formats.registry import FORMATS
from pte_magic.linux.geometry import LEVELS
from pte_magic.systemtap.toolchain import TAPSET

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from pte_magic.formats.kernel import Kernel

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")

HEAD = """
#include <errno.h>
#include <stdbool.h>
typedef unsigned long long u64;
#define GENMASK_ULL(high, low) ((~0ULL << (low)) & (~0ULL >> (63 - (high))))
"""
TAIL = """
int hide(u64 *entries, unsigned int count, bool upper, u64 encryption)
{
	return pte_hide(entries, count, upper, encryption);
}
"""
X86 = {
    "CONFIG_X86": 1,
    **{f"_PAGE_{name}": getattr(macros, name) for name in ("PRESENT", "PROTNONE", "PSE", "PAT_LARGE")},
}
ARM64 = {"CONFIG_ARM64": 1, "PTE_VALID": VALID}
CONFIGURED = {
    "x86_64": {**X86, "CONFIG_X86_64": 1},
    "x86_32": {**X86, "CONFIG_X86_32": 1},
    "x86_pae": {**X86, "CONFIG_X86_32": 1, "CONFIG_X86_PAE": 1},
    "arm64_4k": {**ARM64, "PAGE_SHIFT": 12, "CONFIG_ARM64_LPA2": 1, "lpa2_is_enabled()": 0},
    "arm64_4k_lpa2": {**ARM64, "PAGE_SHIFT": 12, "CONFIG_ARM64_LPA2": 1, "lpa2_is_enabled()": 1},
    "arm64_16k": {**ARM64, "PAGE_SHIFT": 14},
    "arm64_16k_lpa2": {**ARM64, "PAGE_SHIFT": 14, "CONFIG_ARM64_LPA2": 1, "lpa2_is_enabled()": 1},
    "arm64_64k": {**ARM64, "PAGE_SHIFT": 16, "CONFIG_ARM64_64K_PAGES": 1},
}
"""By format, what the kernel's configuration and its headers say."""
RELEASES = ((6, 1), (6, 12), (7, 2))


class Compiled(NamedTuple):
    """A kernel, and its C code as a library."""

    of: Kernel
    library: ctypes.CDLL


def compiled(of: Kernel, place: Path) -> Compiled:
    """Compile the code with what a kernel's headers say."""
    types = of.swap.types
    says = dict(CONFIGURED[of.format.name])
    says["MAX_SWAPFILES"] = [state for state, _ in types].count("swap")
    if ("marker", None) in types:
        says["SWP_PTE_MARKER"] = types.index(("marker", None))
    if "present_invalid" in of.features:  # arm64: since 6.10, and before
        says |= {"PTE_PRESENT_INVALID": NG, "__SWP_TYPE_SHIFT": 6, "__SWP_OFFSET_SHIFT": 12}
    else:
        says |= {"PTE_PROT_NONE": 1 << 58, "PMD_PRESENT_INVALID": 1 << 59}
        says |= {"__SWP_TYPE_SHIFT": 3, "__SWP_OFFSET_SHIFT": 8}
    says["__SWP_OFFSET_MASK"] = (1 << 50) - 1
    text = (TAPSET / "pte_hide.stp").read_text(encoding="utf-8")
    (code,) = re.findall(r"^%\{\n(.*?)^%\}", text, re.DOTALL | re.MULTILINE)
    code = re.sub(r"^#include.*", "", code, flags=re.MULTILINE)
    defines = "".join(f"#define {name} {value}ULL\n" for name, value in says.items())
    (place / "hide.c").write_text(HEAD + defines + code + TAIL, encoding="utf-8")
    assert COMPILER
    options = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-O2", "-shared", "-fPIC"]
    subprocess.run([COMPILER, *options, "-o", place / "hide.so", place / "hide.c"], check=True)
    return Compiled(of, ctypes.CDLL(str(place / "hide.so")))


@pytest.fixture(scope="module", params=[(name, release) for name in FORMATS for release in RELEASES], ids=str)
def one(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """A kernel of each format, before and after what changed."""
    return compiled(of_release(*request.param), tmp_path_factory.mktemp("hide"))


@pytest.fixture(scope="module", params=FEATURES_OF)
def x86_64(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ctypes.CDLL]:
    """The words for an x86-64 kernel's features, and its C code."""
    words = FEATURES_OF[request.param]
    return words, compiled(kernel(words), tmp_path_factory.mktemp("hide")).library


def both(found: Iterable[int], level: str, of: Kernel, library: ctypes.CDLL) -> tuple[NDArray[np.uint64], ...]:
    """Return what Python and C make of entries of one level."""
    ours = np.array(list(found), np.uint64)
    theirs = ours.copy()
    hide(ours, np.full(len(ours), LEVELS.index(level), np.int8), of)
    upper, encryption = ctypes.c_bool(level != "pte"), ctypes.c_uint64(of.encryption_mask)
    assert library.hide(ctypes.c_void_p(theirs.ctypes.data), ctypes.c_uint(len(theirs)), upper, encryption) == 0
    return ours, theirs


found = st.lists(st.integers(0, macros.ALL), min_size=1, max_size=99)


@given(found, st.sampled_from(LEVELS), st.sampled_from([None, 47, 51]))
def test_c_does_what_python_does(
    x86_64: tuple[str, ctypes.CDLL], found: list[int], level: str, c_bit: int | None
) -> None:
    words, library = x86_64
    ours, theirs = both(found, level, kernel(words, c_bit=c_bit), library)
    assert (ours == theirs).all()


@given(found, st.data())
def test_c_does_what_python_does_in_every_format(one: Compiled, found: list[int], data: st.DataObject) -> None:
    of = one.of.format
    level = data.draw(st.sampled_from(of.levels))
    never = PSE if of.name == "x86_pae" and level == "pgd" else 0  # reserved there
    ours, theirs = both([entry & ((1 << of.bits) - 1) & ~never for entry in found], level, one.of, one.library)
    assert (ours == theirs).all()


@pytest.mark.parametrize("level", ["pmd", "pte"])
def test_c_does_what_python_does_with_entries_of_every_shape(one: Compiled, level: str) -> None:
    """All combinations of the bits that tell shapes apart, and types of swap entries."""
    of = one.of.format
    if level not in of.levels:
        level = of.levels[0]
    high = (0, 1 << 54, 1 << 58, 1 << 59, 0x1F << 59) if of.bits > 32 else (0,)
    somewhere = 0x5A5A5A5A5A5A5A5A & ((1 << min(of.bits, 52)) - 1) & ~((1 << 13) - 1)
    made = [low | middle | top for low in range(1 << 13) for middle in (0, somewhere) for top in high]
    ours, theirs = both(made, level, one.of, one.library)
    different = np.flatnonzero(ours != theirs)
    assert not different.size, [(hex(made[i]), hex(ours[i]), hex(theirs[i])) for i in different[:9]]
    before = np.array(made, np.uint64)
    codes = np.full(len(made), LEVELS.index(level), np.int8)
    shapes = decode.shapes(before, codes, decode.octets(before, one.of), one.of)
    small = level == "pte"
    expected = {Shape.PAGE, Shape.PROTNONE} if small else {Shape.HUGE, Shape.PROTNONE_HUGE, Shape.TABLE}
    for shape in expected | {Shape.SWAP}:
        where = (shapes == shape) & (before & np.uint64(somewhere) != 0)
        assert (ours[where] != before[where]).any(), shape  # something was taken out
    assert ((ours == 0) == (before == 0)).all()


@pytest.mark.parametrize("level", LEVELS)
def test_c_does_what_python_does_with_all_that_kernels_write(x86_64: tuple[str, ctypes.CDLL], level: str) -> None:
    words, library = x86_64
    made = [
        swap_entry(kind_of, offset, flags) for kind_of in range(32) for offset in (0, 1, 7, 4711) for flags in (0, 14)
    ]
    low = range(1 << 13)  # every combination of the lowest bits, PAT_LARGE included
    made += [leaf(4711 << 18, bits, level if level in macros.LEAF_MASK else "pte") for bits in low]
    ours, theirs = both(made, level, kernel(words), library)
    different = np.flatnonzero(ours != theirs)
    assert not different.size, [(hex(made[i]), hex(ours[i]), hex(theirs[i])) for i in different[:9]]
    mapped = np.array([bool(entry & (PRESENT | PROTNONE)) for entry in made])
    assert (ours[mapped] != np.array(made, np.uint64)[mapped]).all()  # and something was taken out of these
