"""`pte_magic.workloads` where there is swap space, a second node, a pool of huge pages, and protection keys."""

from __future__ import annotations

import gc
import signal
from typing import TYPE_CHECKING

import pytest
from conftest import only_on
from handmade import HUGE, PAGE, PM_SWAP, pfn, smaps, words
from numa import nodes_of_frames
from pools import pool
from swapping import swap_off, swap_on, zram

from pte_magic import workloads
from pte_magic.errors import WorkloadError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def _swap_space() -> Iterator[None]:
    with zram("64M") as area:
        swap_on(area)
        yield
        swap_off(area)


@pytest.mark.usefixtures("_swap_space")
def test_pages_go_to_swap_and_come_back() -> None:
    a = workloads.private_mapping(64)
    a[:] = 7
    workloads.page_out(a)
    assert (words(a.ctypes.data, a.nbytes) & PM_SWAP).all()
    assert smaps(a.ctypes.data, "Swap") == a.nbytes
    assert (a == 7).all()


@pytest.mark.usefixtures("_swap_space")
def test_pages_that_another_process_maps_stay_and_the_error_says_so() -> None:
    a = workloads.private_mapping(2)
    a[:] = 1
    with workloads.fork_with(a), pytest.raises(WorkloadError, match="2 of 2 pages stayed: another process"):
        workloads.page_out(a, seconds=0.1)


@pytest.mark.parametrize("node", [1, 0])
def test_pages_move_to_a_node(node: int) -> None:
    a = workloads.private_mapping(4)
    a[:] = 3
    assert workloads.move_to(node, a).tolist() == [node] * 4
    assert nodes_of_frames(pfn(row.ctypes.data) for row in a) == {node}
    assert workloads.nodes(a).tolist() == [node] * 4
    assert (a == 3).all()


def test_huge_pages_of_the_pool_are_given_back() -> None:
    with pool() as directory:
        free = (directory / "free_hugepages").read_text(encoding="ascii")
        a = workloads.hugetlb_array(2)
        a[:, 0] = 1
        assert smaps(a.ctypes.data, "Private_Hugetlb") == 2 * HUGE
        del a
        gc.collect()
        assert (directory / "free_hugepages").read_text(encoding="ascii") == free


@only_on("x86_64", "protection keys")
def test_a_protection_key_locks_memory_and_is_given_back() -> None:
    a = workloads.private_mapping(2)
    a[:] = 1
    with workloads.protection_key(a) as key:
        assert smaps(a.ctypes.data, "ProtectionKey") == key.number << 10  # in smaps, a number without a unit
        for access, ends in (("rw", False), ("r", True)):
            key.allow(access)
            with workloads.fork_with(a) as child:
                assert child.read(0) == 1
                if ends:
                    with pytest.raises(WorkloadError, match="SIGSEGV"):
                        child.write(0)
                else:
                    child.write(0)
            assert child.returncode == -(signal.SIGSEGV if ends else signal.SIGKILL)
        with pytest.raises(WorkloadError, match="access 'x'"):
            key.allow("x")
    assert smaps(a.ctypes.data, "ProtectionKey") == 0
    a[1, PAGE - 1] = 2
    numbers = set()
    for _ in range(20):  # more than there are
        with workloads.protection_key(a) as key:
            numbers.add(key.number)
    assert len(numbers) == 1
