"""`variables` and `shared` where kernels differ: sums as the kernel has them, and what a child has written."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path
from typing import Any

import numpy as np
from conftest import forked
from handmade import HUGE, HUGEPAGE, NOHUGEPAGE, PAGE, NewMap, write
from swapping import page_out, swap_off, swap_on, zram

import pte_magic

MIB = 1 << 20
PAGES = 256


class Held:
    """An object with attributes, which Python keeps without a dictionary since 3.11."""

    def __init__(self, size: int) -> None:
        self.array, self.name = np.ones(size, np.uint8), "held"


def rollup(name: str) -> int:
    """Return a sum of the kernel's of all regions of this process."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def array_at(address: int, size: int) -> Any:
    """Return an array of bytes that somebody else mapped."""
    return np.ctypeslib.as_array((ctypes.c_ubyte * size).from_address(address))


def row(found: Any, name: str) -> dict[str, Any]:
    (one,) = found[found["name"] == name].to_dict("records")
    return dict(one)


def test_rows_add_up_to_what_the_kernel_counts(new_map: NewMap) -> None:
    small, huge = new_map(PAGES * PAGE, advice=NOHUGEPAGE), new_map(HUGE, advice=HUGEPAGE)
    write(small, PAGES * PAGE)
    write(huge, HUGE)
    namespace = {"small": array_at(small, PAGES * PAGE), "huge": array_at(huge, HUGE), "held": Held(MIB)}
    before = rollup("Rss")
    found = pte_magic.variables(namespace)
    after = rollup("Rss")
    total = int(found["resident"].sum())
    assert min(before, after) - 8 * MIB <= total <= max(before, after) + 8 * MIB  # the look itself needs memory
    assert abs(total - found.attrs["rss"]) <= 8 * MIB  # the look needs memory: 6 MiB in a slow guest
    assert 0 <= row(found, "small")["resident"] - PAGES * PAGE < PAGE
    assert 0 <= row(found, "huge")["resident"] - HUGE < PAGE
    assert row(found, "held")["resident"] >= MIB
    assert row(found, "held")["frees"] >= MIB


def test_attributes_belong_to_their_variable_and_get_no_dictionary() -> None:

    namespace = {"several": [Held(100) for _ in range(1000)]}
    before = [type(one) is dict for thing in namespace["several"] for one in gc.get_referents(thing)]
    found = row(pte_magic.variables(namespace), "several")
    assert found["bytes"] >= 1000 * 100
    assert found["frees"] >= 1000 * 100 // 2
    assert [type(one) is dict for thing in namespace["several"] for one in gc.get_referents(thing)] == before


def test_swapped_pages_are_of_their_variable(new_map: NewMap) -> None:
    address = new_map(PAGES * PAGE, advice=NOHUGEPAGE)
    write(address, PAGES * PAGE)
    with zram("64M") as device:
        swap_on(device)
        page_out(address, 8 * PAGE)
        found = row(pte_magic.variables({"a": array_at(address, PAGES * PAGE)}), "a")
        swap_off(device)
    assert found["swapped"] == 8 * PAGE
    assert 0 <= found["resident"] - (PAGES - 8) * PAGE < PAGE


def test_what_a_child_has_written_is_of_its_variable(new_map: NewMap) -> None:
    first, second = (new_map(PAGES * PAGE, advice=NOHUGEPAGE) for _ in range(2))
    write(first, PAGES * PAGE)
    write(second, PAGES * PAGE)
    targets = {"first": array_at(first, PAGES * PAGE), "second": array_at(second, PAGES * PAGE)}
    with forked(lambda: write(first, 24 * PAGE)) as child:
        for wrote in (0, 24):
            if wrote:
                child.step()
            found = pte_magic.shared(targets, pids=[child.pid])
            of = {str(name): part for name, part in found[found["pid"] == child.pid].groupby("name", observed=True)}
            assert int(of["first"]["copied_there"].sum()) + int(of["first"]["copied_either"].sum()) == wrote * PAGE
            assert int(of["first"]["shared"].sum()) == (PAGES - wrote) * PAGE
            assert int(of["second"]["shared"].sum()) == PAGES * PAGE
            mine = pte_magic.variables(targets)
            assert (PAGES - wrote) * PAGE <= row(mine, "first")["shared"] < (PAGES - wrote + 1) * PAGE
