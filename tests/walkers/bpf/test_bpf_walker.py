"""What only the eBPF walker does: descriptors resolved in the kernel, one program used by many, loaded and unloaded."""

from __future__ import annotations

import ctypes
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import descriptors, forked, needs_root
from entry_bits import address_mask
from handmade import HUGE, NOHUGEPAGE, PAGE, PM_PFN, SHARED, NewMap, read, words, write
from waiting import SECONDS

import pte_magic
from pte_magic import walkers
from pte_magic.errors import TargetError, WalkerUnavailableError
from pte_magic.linux import hardware
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.walkers.bpf import libbpf
from pte_magic.walkers.bpf.walker import OBJECT, BpfWalker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pte_magic.walkers.entries import Entries

pytestmark = needs_root

SIZE = 4 * HUGE
PRESENT = np.uint64(1)


@pytest.fixture(autouse=True, scope="module")
def _works() -> None:
    found = walkers.attempt("bpf")
    if isinstance(found, WalkerUnavailableError):
        pytest.skip(str(found))


@pytest.fixture
def bpf() -> Iterator[BpfWalker]:
    walker = BpfWalker()
    yield walker
    walker.close()


def frames(found: Entries) -> NDArray[np.uint64]:
    return (found.entry & address_mask()) // np.uint64(PAGE)


def told(address: int, size: int, pid: int | str = "self") -> NDArray[np.uint64]:
    return words(address, size, pid) & np.uint64(PM_PFN)


def is_of(found: Entries, address: int, expected: NDArray[np.uint64], pid: int | str = "self") -> bool:
    """Tell whether entries have the expected frames; those that the kernel moved since, or is moving, have others."""
    as_expected = frames(found) == expected
    if as_expected.all():
        return True
    as_now = frames(found) == told(address, len(expected) * PAGE, pid)
    moving = (found.entry != 0) & (found.entry & PRESENT == 0)
    return bool((as_expected | as_now | moving).all())


def other_descriptor(kind: str) -> int:
    if kind == "pipe":
        first, second = os.pipe()
        os.close(second)
        return first
    if kind == "memfd":
        return os.memfd_create("test")
    return os.open(kind, os.O_PATH if kind == "/" else os.O_RDONLY)


@pytest.mark.parametrize(
    "kind",
    ["/proc/self/maps", "/proc/self/smaps", "/proc/self/mem", "/proc/self/status", __file__, "pipe", "memfd", "/"],
)
def test_a_descriptor_that_is_no_pagemap_is_refused(bpf: BpfWalker, kind: str) -> None:
    with AddressSpace() as space:
        real, space.fd = space.fd, other_descriptor(kind)
        try:
            with pytest.raises(TargetError, match="is not an open /proc/PID/pagemap"):
                bpf.walk(space, 0, hardware.user_limit())
        finally:
            os.close(space.fd)
            space.fd = real
        assert len(bpf.walk(space, 0, PAGE)) == 1


@pytest.mark.parametrize("number", [1000, 1 << 20, (1 << 32) - 1])
def test_a_number_that_is_no_descriptor_is_refused(bpf: BpfWalker, number: int) -> None:
    with AddressSpace() as space:
        real, space.fd = space.fd, number
        try:
            with pytest.raises(ValueError, match=f"descriptor {number} is not"):
                bpf.walk(space, 0, PAGE)
        finally:
            space.fd = real


def test_many_threads_get_their_own_ranges(new_map: NewMap) -> None:
    pages = 64 * 512
    address = new_map(pages * PAGE, advice=NOHUGEPAGE)
    write(address, pages * PAGE)
    expected = told(address, pages * PAGE)
    walker = walkers.get("bpf")

    def look(seed: int) -> int:
        random = np.random.default_rng(seed)
        for _ in range(200):
            first, last = sorted(random.choice(pages, 2, replace=False).tolist())
            found = walker.walk(own(), address + first * PAGE, address + last * PAGE)
            assert is_of(found, address + first * PAGE, expected[first:last])
        return len(found)

    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(look, range(8)))) == 8


def test_threads_with_descriptors_of_different_processes_do_not_mix(new_map: NewMap) -> None:
    address = new_map(SIZE, advice=NOHUGEPAGE)
    write(address, SIZE)
    walker = walkers.get("bpf")
    with forked(lambda: write(address, SIZE, value=2)) as child:
        child.step()
        expected = {pid: told(address, SIZE, pid) for pid in (os.getpid(), child.pid)}
        assert not np.intersect1d(expected[os.getpid()], expected[child.pid]).size

        def look(pid: int) -> None:
            with AddressSpace(pid) as space:
                for _ in range(200):
                    assert is_of(walker.walk(space, address, address + SIZE), address, expected[pid], pid)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(look, [*expected, *expected]))


def test_two_walkers_at_once_agree(bpf: BpfWalker, new_map: NewMap) -> None:
    address = new_map(SIZE, advice=NOHUGEPAGE)
    write(address, SIZE)
    expected = told(address, SIZE)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(100):
            both = [pool.submit(one.walk, own(), address, address + SIZE) for one in (bpf, walkers.get("bpf"))]
            for found in both:
                assert is_of(found.result(), address, expected)


def test_child_walks_its_own_pages_while_the_parent_walks(new_map: NewMap) -> None:
    address, flag = new_map(SIZE, advice=NOHUGEPAGE), new_map(PAGE, flags=SHARED | 0x20)
    write(address, SIZE)
    stop = threading.Event()

    def compare() -> bool:
        expected = told(address, SIZE)
        return is_of(pte_magic.entries(address, address + SIZE, walker="bpf"), address, expected)

    def childs() -> int:
        write(address, SIZE, value=2)
        write(flag)
        return sum(compare() for _ in range(200))

    assert compare()
    with forked(childs) as child, ThreadPoolExecutor(1) as pool:
        result = pool.submit(child.step)
        same = []
        while not result.done() and not stop.is_set():
            same.append(compare())
        assert result.result() == 200
        assert read(flag) == 1
        assert all(same)


def test_forks_while_another_thread_walks_do_not_hang(new_map: NewMap) -> None:
    address = new_map(SIZE, advice=NOHUGEPAGE)
    write(address, SIZE)
    stop = threading.Event()

    def walk() -> int:
        n = 0
        while not stop.is_set():
            n += len(pte_magic.entries("all", walker="bpf")) > 0
        return n

    with ThreadPoolExecutor(1) as pool:
        walking = pool.submit(walk)
        try:
            for _ in range(10):
                with forked(lambda: len(pte_magic.entries(address, address + SIZE, walker="bpf"))) as child:
                    assert child.step() == SIZE // PAGE
        finally:
            stop.set()
        assert walking.result() > 0


def test_closing_unloads_the_program_and_leaves_no_descriptor() -> None:
    BpfWalker().close()
    before, mapped = descriptors(), Path("/proc/self/maps").read_text(encoding="utf-8").count("bpf-map")
    for _ in range(5):
        one = BpfWalker()
        assert descriptors() > before
        assert len(one.walk(own(), 0, PAGE)) == 1
        one.close()
        one.close()
        del one
    assert descriptors() == before
    assert Path("/proc/self/maps").read_text(encoding="utf-8").count("bpf-map") == mapped


def test_walkers_that_were_closed_are_loaded_again() -> None:
    walkers.close()
    before = descriptors()
    assert len(pte_magic.entries(0, PAGE, walker="bpf")) == 1
    assert descriptors() > before
    walkers.close()
    walkers.close()
    assert descriptors() == before
    assert len(pte_magic.entries(0, PAGE, walker="bpf")) == 1


def test_a_walk_that_fails_leaves_no_descriptor_and_the_walker_works(bpf: BpfWalker) -> None:
    before = descriptors()
    for _ in range(20):
        with forked() as child:
            space = AddressSpace(child.pid)
        with space, pytest.raises(pte_magic.PteMagicError):
            bpf.walk(space, 0, hardware.user_limit())
    assert descriptors() == before
    assert len(bpf.walk(own(), 0, hardware.user_limit())) > 1


def test_views_left_early_let_others_walk(bpf: BpfWalker) -> None:
    pieces = bpf.views(own(), 0, hardware.user_limit())
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    with ThreadPoolExecutor(1) as pool:
        assert len(pool.submit(bpf.walk, own(), 0, PAGE).result(timeout=SECONDS)) == 1


def test_an_object_that_is_none_says_why(tmp_path: Path) -> None:
    (tmp_path / "walk.bpf.o").write_bytes(b"no object")
    before = descriptors()
    with pytest.raises(libbpf.LibbpfError, match=r"opening walk\.bpf\.o"):
        libbpf.Object(tmp_path / "walk.bpf.o")
    assert descriptors() == before


def test_an_object_of_another_version_says_so() -> None:
    one = libbpf.Object(OBJECT)
    try:
        with pytest.raises(libbpf.LibbpfError, match=r"setting 4 bytes where the program has \d+: Invalid argument"):
            one.set_constants(bytes(4))
    finally:
        one.close()


def test_a_program_that_the_verifier_refuses_says_what_it_said(tmp_path: Path) -> None:
    # The first instruction of the section of `walk` becomes a jump to nowhere.
    elf = bytearray(OBJECT.read_bytes())
    table, size, count, names = (
        int.from_bytes(elf[40:48], "little"), *(int.from_bytes(elf[at : at + 2], "little") for at in (58, 60, 62))
    )  # fmt: skip
    headers = [[int.from_bytes(elf[table + i * size + at :][:n], "little") for at, n in ((0, 4), (24, 8))]
               for i in range(count)]  # fmt: skip
    strings = headers[names][1]
    offset = next(at for name, at in headers if elf[strings + name :].startswith(b"syscall\0"))
    elf[offset : offset + 8] = bytes([0x05, 0, 0xFF, 0x7F, 0, 0, 0, 0])
    (tmp_path / "walk.bpf.o").write_bytes(elf)
    broken = libbpf.Object(tmp_path / "walk.bpf.o")
    try:
        with pytest.raises(libbpf.LibbpfError) as caught:
            broken.load("walk")
    finally:
        broken.close()
    assert caught.value.errno
    assert "loading the eBPF program" in str(caught.value)
    assert caught.value.log


def test_options_are_laid_out_as_in_libbpf() -> None:
    # struct bpf_test_run_opts of libbpf 1.0 and later: four pointers, a size_t, and in a 64-bit one a gap after that
    assert ctypes.sizeof(libbpf.TestRunOptions) == (80 if ctypes.sizeof(ctypes.c_void_p) == 8 else 60)
