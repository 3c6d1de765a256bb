"""`pte_magic.why` names what keeps memory from huge pages: made, seen, taken away as it says, and the huge page comes.

What changes settings of the whole host is in tests/vm/guest/test_why_settings.py.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import pickle
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from causes import AS_ROOT, asked, forbidden, huge, refused, row, small, typed
from conftest import NOBODY, forked, needs_root, python
from groups import memory_group
from handmade import (
    DONTNEED,
    GUARD_INSTALL,
    GUARD_REMOVE,
    HUGE,
    HUGE_WORDS,
    HUGEPAGE,
    NOHUGEPAGE,
    PAGE,
    PM_PRESENT,
    PM_SWAP,
    PTES,
    READ,
    SHARED,
    WRITE,
    NewMap,
    libc,
    madvise,
    munmap,
    read,
    words,
    write,
)

import pte_magic
from pte_magic import NoSuchProcessError, TargetError, Why
from pte_magic.linux import system_calls, transparent_hugepages

if TYPE_CHECKING:
    from collections.abc import Iterator

PR_SET_THP_DISABLE, EXCEPT_ADVISED = 41, 2
NOTHING_FORBIDS = "not on huge pages: nothing forbids them now"


def test_memory_on_huge_pages_is_said_to_be(new_map: NewMap) -> None:
    address = small(new_map, 2 * HUGE)
    found = asked(address, 2 * HUGE, collapse=True)
    assert huge(address) == 2 * HUGE
    assert str(found).startswith("on huge pages: all of ")
    assert row(found, "MADV_COLLAPSE")["found"] == "2 of 2 places became huge pages"
    assert found.attrs["type_this"] == ""
    assert str(asked(address, 2 * HUGE, walker="pagemap")).startswith("on huge pages: all of ")
    assert "no place has small pages" in row(asked(address, collapse=True), "MADV_COLLAPSE")["found"]
    assert str(asked(address, HUGE)).startswith(f"on huge pages: all of {HUGE_WORDS}")


def test_pages_that_were_there_before_wait_for_khugepaged(new_map: NewMap) -> None:
    address = small(new_map)
    found = asked(address)
    assert found.attrs["line"].startswith(NOTHING_FORBIDS)
    assert forbidden(found) == set()
    typed(found)
    assert huge(address) == HUGE


def test_too_small_a_region(new_map: NewMap) -> None:
    address = new_map(HUGE // 2, advice=HUGEPAGE)
    write(address, HUGE // 2)
    refused(asked(address, HUGE // 2), "size and alignment", "its region has", f"a huge page needs {HUGE_WORDS}")
    larger = small(new_map)
    assert str(asked(larger, HUGE, collapse=True)).startswith("on huge pages")


def test_a_region_that_is_not_aligned(new_map: NewMap) -> None:
    address = small(new_map, 2 * HUGE)
    for end in (address, address + 2 * HUGE - PAGE):
        munmap(end, PAGE)
    inside = np.ctypeslib.as_array((ctypes.c_ubyte * (2 * HUGE - 2 * PAGE)).from_address(address + PAGE))
    found = pte_magic.why(inside, collapse=True)
    refused(found, "size and alignment", f"no {HUGE_WORDS} of it begin at a multiple of {HUGE_WORDS}")
    assert huge(address + PAGE) == 0
    made = eval(found.attrs["type_this"], {"pte_magic": pte_magic})  # noqa: S307  (that is what a user does)
    made[:] = 1
    pte_magic.why(made, collapse=True)
    assert huge(made.ctypes.data) >= HUGE


def test_the_ends_of_a_region_stay_small(new_map: NewMap) -> None:
    address = small(new_map, 3 * HUGE)
    munmap(address, PAGE)
    found = asked(address + PAGE, 3 * HUGE - PAGE, collapse=True)
    assert huge(address + PAGE) == 2 * HUGE
    assert "on huge pages; the others are not: " in found.attrs["line"]
    assert "lie at the ends of its region" in found.attrs["line"]
    assert int(row(found, "size and alignment")["bytes"]) == HUGE - PAGE


def test_advice_against_huge_pages(new_map: NewMap) -> None:
    address = new_map(HUGE, advice=NOHUGEPAGE)
    write(address, HUGE)
    found = asked(address, HUGE, collapse=True)  # the kernel says EINVAL, and the check says why
    refused(found, "advice", "MADV_NOHUGEPAGE")
    assert "EINVAL" in row(found, "MADV_COLLAPSE")["found"]
    assert huge(address) == 0
    typed(found)
    typed(asked(address))
    assert huge(address) == HUGE


def _disabled(address: int, flags: int) -> list[object]:
    if libc.prctl(PR_SET_THP_DISABLE, 1, flags, 0, 0):
        return []
    write(address, HUGE)  # its own pages, not those that it shares
    found = asked(address)
    before = huge(address)
    typed(found)
    asked(address, HUGE, collapse=True)
    return [found, before, huge(address)]


def test_prctl_that_disables_huge_pages(new_map: NewMap) -> None:
    address = small(new_map)
    with forked(lambda: _disabled(address, 0)) as child:
        found, before, after = child.step()
    refused(found, "prctl", "prctl(PR_SET_THP_DISABLE) has disabled huge pages for this process")
    assert (before, after) == (0, HUGE)


def test_prctl_that_disables_huge_pages_but_where_they_are_asked_for(new_map: NewMap) -> None:
    address = new_map(HUGE)
    with forked(lambda: _disabled(address, EXCEPT_ADVISED)) as child:
        said = child.step()
    if not said:
        pytest.skip("needs PR_THP_DISABLE_EXCEPT_ADVISED (6.18)")
    found, before, after = said
    refused(found, "prctl", "but where it asks for them")
    assert (before, after) == (0, HUGE)


def test_another_process_says_that_prctl_disabled_it(new_map: NewMap) -> None:
    address = small(new_map)
    with forked(lambda: libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)) as child:
        assert "prctl" not in forbidden(asked(address, pid=child.pid))
        assert child.step() == 0
        found = asked(address, pid=child.pid)
        refused(found, "prctl")
        assert found.attrs["type_this"] == f"in pid {child.pid}: prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0)"


def test_pages_of_zeros(new_map: NewMap) -> None:
    address = new_map(HUGE, advice=NOHUGEPAGE)
    read(address, HUGE)
    madvise(address, HUGE, HUGEPAGE)
    found = asked(address)
    refused(found, "pages of zeros", "have only been read", "the kernel's page of zeros")
    write(address)  # khugepaged takes the others for holes
    after = asked(address, HUGE, collapse=True)
    assert "pages of zeros" not in forbidden(after)
    assert huge(address) == HUGE


def test_memory_that_was_not_touched(new_map: NewMap) -> None:
    address = new_map(HUGE, advice=HUGEPAGE)
    found = asked(address)
    if "enabled" in forbidden(found):
        refused(found, "enabled", "never")
    else:
        assert "it has not been touched yet" in found.attrs["line"]
        write(address)
        assert huge(address) == HUGE or "free memory" in forbidden(asked(address))


def test_pages_that_somebody_else_holds(new_map: NewMap) -> None:
    address = small(new_map)
    reading, writing = os.pipe()
    vector = (ctypes.c_size_t * 2)(address, PAGE)  # struct iovec
    try:
        assert libc.vmsplice(writing, ctypes.byref(vector), 1, 0) == PAGE
        found = asked(address, HUGE, collapse=True)
        refused(found, "MADV_COLLAPSE", "EAGAIN", "a page is in use just now")
        assert huge(address) == 0
        assert len(os.read(reading, PAGE)) == PAGE
        assert str(asked(address, HUGE, collapse=True)).startswith("on huge pages")
        assert huge(address) == HUGE
    finally:
        os.close(reading)
        os.close(writing)


def test_pages_that_a_forked_child_shares(new_map: NewMap) -> None:
    address = small(new_map)
    with forked():
        found = asked(address)
        refused(
            found, "shared pages", f"up to {PTES} of {PTES} pages are shared with another process", "max_ptes_shared"
        )
    after = asked(address)
    assert after.attrs["line"].startswith(NOTHING_FORBIDS)
    write(address, HUGE)  # before 6.18, no huge page is made where nothing may be written
    typed(after)
    assert huge(address) == HUGE


def test_locked_pages_are_no_cause(new_map: NewMap) -> None:
    address = small(new_map)
    assert libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(HUGE)) == 0
    found = asked(address)
    assert forbidden(found) == set()
    assert f"{HUGE_WORDS} here locked" in row(found, "pinned pages")["found"]
    assert "locked into memory (lo)" in row(found, "flags")["found"]
    typed(found)
    assert huge(address) == HUGE


def test_guards_in_the_way(new_map: NewMap) -> None:
    address = small(new_map)
    if libc.madvise(ctypes.c_void_p(address + PAGE), ctypes.c_size_t(PAGE), GUARD_INSTALL):
        assert ctypes.get_errno() == errno.EINVAL
        pytest.skip("needs guard regions (6.13)")
    found = asked(address, HUGE, collapse=True)
    refused(found, "other entries", "guards, marks of userfaultfd, or pages that are being moved are in the way")
    assert huge(address) == 0
    madvise(address + PAGE, PAGE, GUARD_REMOVE)
    asked(address, HUGE, collapse=True)
    assert huge(address) == HUGE


def test_memory_that_userfaultfd_watches(new_map: NewMap) -> None:
    address = small(new_map)
    madvise(address + PAGE, PAGE, DONTNEED)  # a hole, which it wants to fill itself
    fd = libc.syscall(system_calls.number("userfaultfd"), os.O_CLOEXEC | 1)  # UFFD_USER_MODE_ONLY
    if fd < 0:
        pytest.skip("needs userfaultfd, which the kernel does not have or gives to nobody")
    try:
        fcntl.ioctl(fd, 0xC018AA3F, bytearray((0xAA).to_bytes(8, "little") + bytes(16)))  # UFFDIO_API
        fcntl.ioctl(fd, 0xC020AA00, bytearray(b"".join(n.to_bytes(8, "little") for n in (address, HUGE, 1, 0))))
        found = asked(address, HUGE, collapse=True)
        refused(found, "flags", "userfaultfd watches it")
        assert huge(address) == 0
    finally:
        os.close(fd)  # which unregisters it
    assert "flags" not in forbidden(asked(address, HUGE, collapse=True))
    assert huge(address) == HUGE


@pytest.mark.parametrize("kind", ["anonymous", "memfd"])
def test_shared_memory(new_map: NewMap, kind: str) -> None:
    settings = transparent_hugepages.settings()
    if settings is None or settings.shared != "never":
        pytest.skip("needs shmem_enabled: never, which kernels have unless an administrator changes it")
    if kind == "memfd":
        fd = os.memfd_create("why")
        os.truncate(fd, HUGE)
        address = new_map(HUGE, READ | WRITE, SHARED, fd, advice=HUGEPAGE)
        os.close(fd)
    else:
        address = new_map(HUGE, READ | WRITE, SHARED | mmap.MAP_ANONYMOUS, advice=HUGEPAGE)
    write(address, HUGE)
    found = asked(address)
    refused(found, "shared memory", "it is shared memory, which gets no huge pages (shmem_enabled: never)")
    assert found.attrs["type_this"].startswith(f"{AS_ROOT}echo advise > /sys/kernel/mm/transparent_hugepage/")
    assert huge(address) == 0
    assert str(asked(address, HUGE, collapse=True)).startswith("on huge pages")  # it does not heed the setting
    assert huge(address) == HUGE


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64M,huge=never", "why", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


@needs_root
def test_a_tmpfs_without_huge_pages(new_map: NewMap, tmpfs: Path) -> None:
    file = tmpfs / "file"
    with file.open("w+b") as opened:
        opened.truncate(HUGE)
        address = new_map(HUGE, READ | WRITE, SHARED, opened.fileno())
    found = asked(address)
    refused(found, "shared memory", f"{tmpfs}, mounted with huge=never")
    typed(found)  # now it gives huge pages to those who ask
    found = asked(address)
    refused(found, "shared memory", "only shared memory that asks for huge pages gets them (advise)")
    typed(found)
    write(address)
    assert huge(address) == HUGE
    munmap(address, HUGE)


def test_a_mapped_file(new_map: NewMap, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * HUGE)
    with file.open("rb") as opened:
        fd = opened.fileno()
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        address = new_map(HUGE, READ, SHARED, fd)
        read(address, HUGE)
        found = asked(address)
        if "mapped file" not in set(found["check"]):
            pytest.skip("needs a temporary directory that is not a tmpfs")
        refused(found, "mapped file", "it is a mapped file")
        assert str(file) in row(found, "mapped file")["found"]
        assert huge(address) == 0
        typed(found)
        madvise(address, HUGE, DONTNEED)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        read(address, HUGE)
    if not huge(address):
        assert "mapped file" not in forbidden(asked(address))  # it cannot be known whether the file system can
        pytest.skip("needs a file system with large folios")
    assert str(asked(address)).startswith("on huge pages")


def test_the_vdso_is_the_kernels() -> None:
    found = pte_magic.why("[vdso]")
    assert "size and alignment" in forbidden(found)
    assert "may not grow (de)" in row(found, "flags")["found"]


def test_nothing_is_mapped(new_map: NewMap) -> None:
    address = new_map(HUGE)
    munmap(address, HUGE)
    assert str(asked(address)).startswith("not on huge pages: nothing is mapped there\n")


def test_numbers_of_pages_are_those_of_pagemap(new_map: NewMap) -> None:
    """Holes, swapped and shared pages of each place, against the kernel's words."""
    address = small(new_map, 2 * HUGE)
    madvise(address + HUGE + 3 * PAGE, 40 * PAGE, DONTNEED)
    found = asked(address, 2 * HUGE)
    empty = int((words(address, 2 * HUGE) & (PM_PRESENT | PM_SWAP) == 0).sum())
    assert empty == 40
    assert row(found, "holes")["found"].startswith(f"up to {empty} pages empty of {PTES} in one place, 1 place")


def test_a_part_of_a_place_is_judged_by_all_of_it(new_map: NewMap) -> None:
    address = small(new_map)
    madvise(address + HUGE // 2, HUGE // 2, DONTNEED)
    found = asked(address, PAGE)
    assert row(found, "holes")["found"].startswith(f"up to {PTES // 2} pages empty")
    assert row(found, "size and alignment")["found"].startswith("all ")


def test_another_process_gets_huge_pages_by_root(new_map: NewMap) -> None:
    address = small(new_map)
    with forked(lambda: write(address, HUGE)) as child:
        child.step()
        found = asked(address, pid=child.pid, collapse=True)
        if os.geteuid():
            assert huge(address, child.pid) == 0
            assert "CAP_SYS_NICE" in found.attrs["line"]
        else:
            assert huge(address, child.pid) == HUGE
            assert str(found).startswith("on huge pages")
    assert huge(address) == 0  # ours


@pytest.fixture
def _groups() -> Iterator[None]:
    """Have a hierarchy of cgroups with memory: where nothing is mounted, as in a guest, nobody else uses one."""
    place = Path("/sys/fs/cgroup")
    if any(place.iterdir()):
        yield
        return
    subprocess.run(["mount", "-t", "cgroup2", "none", place], check=True)
    (place / "cgroup.subtree_control").write_text("+memory", encoding="ascii")
    yield
    (place / "cgroup.subtree_control").write_text("-memory", encoding="ascii")
    subprocess.run(["umount", place], check=True)


@needs_root
@pytest.mark.usefixtures("_groups")
def test_the_limit_of_a_memory_cgroup(new_map: NewMap) -> None:
    with memory_group() as group:
        address = new_map(HUGE, advice=NOHUGEPAGE)

        def enter_and_write() -> None:
            group.enter()
            write(address, HUGE)
            madvise(address, HUGE, HUGEPAGE)

        with forked(enter_and_write) as child:
            child.step()
            version_1 = (group.directory / "memory.limit_in_bytes").exists()
            limit, usage = ("limit_in_bytes", "usage_in_bytes") if version_1 else ("max", "current")
            used = int((group.directory / f"memory.{usage}").read_text(encoding="ascii"))
            (group.directory / f"memory.{limit}").write_text(str(used + HUGE // 2), encoding="ascii")
            found = asked(address, pid=child.pid, collapse=True)
            refused(found, "memory cgroup", "its memory cgroup has room for", f"a huge page needs {HUGE_WORDS}")
            assert group.path in row(found, "memory cgroup")["found"]
            assert "EBUSY" in row(found, "MADV_COLLAPSE")["found"]
            assert huge(address, child.pid) == 0
            typed(found)
            assert str(asked(address, pid=child.pid, collapse=True)).startswith("on huge pages")
            assert huge(address, child.pid) == HUGE


@needs_root
def test_an_ordinary_user_sees_all_but_what_is_roots() -> None:
    code = """
import numpy, pte_magic
a = numpy.ones(8 << 20, numpy.uint8)
found = pte_magic.why(a)
print(pte_magic.why(a, collapse=True).attrs["line"])
print("\\n".join(found.loc[found["found"].str.startswith("not readable"), "check"]))
"""
    line, *unread = python(code, user=NOBODY).splitlines()
    assert "MiB on huge pages" in line
    assert set(unread) <= {"fragmentation"}


def test_the_frame_has_its_dtypes_and_survives_a_pickle(new_map: NewMap) -> None:
    found = asked(small(new_map))
    assert list(found.columns[:6]) == ["check", "found", "forbids", "type_this", "bytes", "about"]
    assert found.dtypes["forbids"] == pd.BooleanDtype()
    assert found.dtypes["bytes"] == pd.UInt64Dtype()
    assert not found["check"].duplicated().any()
    back = pickle.loads(pickle.dumps(found))  # noqa: S301  (ours)
    assert type(back) is Why
    assert str(back) == str(found)
    assert type(found.groupby("about", observed=True).size().to_frame()) is pd.DataFrame
    page = found._repr_html_()
    assert page is not None
    assert page.startswith("<p><b>not on huge pages: ")
    assert page.count("<tr") == len(found) + 1


def test_what_is_not_a_target_or_a_process_is_said_in_one_line() -> None:
    with pytest.raises(TargetError, match="is not an address"):
        pte_magic.why("nowhere at all")
    with pytest.raises(NoSuchProcessError):
        pte_magic.why("[heap]", pid=4194303)
    with pytest.raises(TargetError, match="collapse"):
        pte_magic.why(b"x", collapse="yes")  # type: ignore[arg-type]


def test_arrays_say_what_numpy_asks_for() -> None:
    found = pte_magic.why(np.ones(HUGE // 4, np.uint8))
    assert "numpy" in set(found["check"])
    assert row(found, "numpy")["found"].startswith("asks for huge pages for arrays from 4 MiB on")


def test_switches_are_those_of_the_start() -> None:
    code = """
import numpy, pte_magic
found = pte_magic.why(numpy.ones(9 << 19)).set_index("check")
print(found.loc["numpy", "type_this"])
print(found.loc["malloc", "found"])
"""
    switches = ("NUMPY_MADVISE_HUGEPAGE=0", "GLIBC_TUNABLES=glibc.malloc.hugetlb=1")
    assert python(code, "env", *switches).splitlines() == [
        "NUMPY_MADVISE_HUGEPAGE=1 python …",
        "glibc.malloc.hugetlb is 1: malloc asks for huge pages",
    ]


def test_small_objects_of_python_are_known_to_be_there() -> None:
    assert "Python" in set(pte_magic.why(id(object()))["check"])
    assert "Python" not in set(pte_magic.why("[stack]")["check"])
