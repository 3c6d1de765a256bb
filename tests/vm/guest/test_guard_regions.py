"""Guard regions: pages that nobody may touch, without a region of their own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from agreement import agree
from handmade import GUARD_INSTALL, HUGE, HUGEPAGE, PAGE, PM_GUARD, SHARED, NewMap, madvise, read, words, write
from versions import release

if TYPE_CHECKING:
    from pathlib import Path

GUARD_REMOVE = 103  # MADV_GUARD_REMOVE, asm-generic/mman-common.h


def guard(address: int, size: int, since: tuple[int, int] = (6, 13)) -> None:
    if release() < since:
        with pytest.raises(OSError, match="Invalid argument"):
            madvise(address, size, GUARD_INSTALL)
        pytest.skip(f"needs a kernel with MADV_GUARD_INSTALL ({since[0]}.{since[1]})")
    madvise(address, size, GUARD_INSTALL)


@pytest.mark.parametrize("before", ["empty", "huge page"])
def test_guarded_page_is_a_marker_until_the_guard_is_removed(new_map: NewMap, before: str) -> None:
    address = new_map(HUGE, advice=HUGEPAGE)
    if before == "huge page":
        write(address, HUGE)
    guard(address + 3 * PAGE, 2 * PAGE)
    found = agree(address, HUGE)
    marked = found[found["state"] == "marker"]
    assert list(marked["vaddr"]) == [address + 3 * PAGE, address + 4 * PAGE]
    assert list(marked["kind"]) == ["guard", "guard"]
    assert set(found["state"]) - {"marker"} == ({"none"} if before == "empty" else {"present"})
    assert [bool(int(word) & PM_GUARD) for word in words(address, 6 * PAGE)] == [page in {3, 4} for page in range(6)]
    madvise(address, HUGE, GUARD_REMOVE)
    assert "marker" not in set(agree(address, HUGE)["state"])
    assert read(address + 3 * PAGE) == 0


def test_pages_of_a_file_may_be_guarded(new_map: NewMap, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(4 * PAGE))
    fd = os.open(tmp_path / "file", os.O_RDWR)
    address = new_map(4 * PAGE, flags=SHARED, fd=fd)
    os.close(fd)
    write(address, 4 * PAGE)
    guard(address + PAGE, PAGE, since=(6, 15))  # of files
    assert list(agree(address, 4 * PAGE)["state"]) == ["present", "marker", "present", "present"]
