"""What SystemTap's module takes out of entries, in C, is what `hide` does: the code of pte_hide.stp, compiled here.

The kernel's macros are those of kernel_macros.py; real kernels, with their own, are asked in the lab's guests.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import kernel_macros as macros
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_macros import FEATURES_OF, PRESENT, PROTNONE, kernel, leaf, swap_entry

from pte_magic.formats.hidden import hide
from pte_magic.systemtap.toolchain import TAPSET
from pte_magic.walkers.entries import LEVELS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pte_magic.formats.kernel import Kernel

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")

HEAD = """
#include <errno.h>
#include <stdbool.h>
typedef unsigned long long u64;
#define CONFIG_X86_64
"""
TAIL = """
int hide(u64 *entries, unsigned int count, bool upper, u64 encryption)
{
	return pte_hide(entries, count, upper, encryption);
}
"""


@pytest.fixture(scope="module", params=FEATURES_OF)
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ctypes.CDLL]:
    """The words for a kernel's features, and its C code as a library."""
    words = FEATURES_OF[request.param]
    types = kernel(words).swap.types
    constants = {f"_PAGE_{name}": getattr(macros, name) for name in ("PRESENT", "PROTNONE", "PSE", "PAT_LARGE")}
    constants["MAX_SWAPFILES"] = [state for state, _ in types].count("swap")
    constants["SWP_PTE_MARKER"] = types.index(("marker", None))
    text = (TAPSET / "pte_hide.stp").read_text(encoding="utf-8")
    (code,) = re.findall(r"^%\{\n(.*?)^%\}", text, re.DOTALL | re.MULTILINE)
    code = re.sub(r"^#include.*", "", code, flags=re.MULTILINE)
    defines = "".join(f"#define {name} {value}ULL\n" for name, value in constants.items())
    place = tmp_path_factory.mktemp("hide")
    (place / "hide.c").write_text(HEAD + defines + code + TAIL, encoding="utf-8")
    assert COMPILER
    options = ["-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"]
    subprocess.run([COMPILER, *options, "-o", place / "hide.so", place / "hide.c"], check=True)
    return words, ctypes.CDLL(str(place / "hide.so"))


def both(found: Iterable[int], level: str, of: Kernel, library: ctypes.CDLL) -> tuple[NDArray[np.uint64], ...]:
    """Return what Python and C make of entries of one level."""
    ours = np.array(list(found), np.uint64)
    theirs = ours.copy()
    hide(ours, np.full(len(ours), LEVELS.index(level), np.int8), of)
    upper, encryption = ctypes.c_bool(level != "pte"), ctypes.c_uint64(of.encryption_mask)
    assert library.hide(ctypes.c_void_p(theirs.ctypes.data), ctypes.c_uint(len(theirs)), upper, encryption) == 0
    return ours, theirs


@given(
    st.lists(st.integers(0, macros.ALL), min_size=1, max_size=99),
    st.sampled_from(LEVELS),
    st.sampled_from([None, 47, 51]),
)
def test_c_does_what_python_does(
    compiled: tuple[str, ctypes.CDLL], found: list[int], level: str, c_bit: int | None
) -> None:
    words, library = compiled
    ours, theirs = both(found, level, kernel(words, c_bit=c_bit), library)
    assert (ours == theirs).all()


@pytest.mark.parametrize("level", LEVELS)
def test_c_does_what_python_does_with_all_that_kernels_write(compiled: tuple[str, ctypes.CDLL], level: str) -> None:
    words, library = compiled
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
