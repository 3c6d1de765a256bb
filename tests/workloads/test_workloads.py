"""Memory for experiments: what it is by smaps, pagemap and mincore, and that nothing of it is left or left dangling."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import descriptors, python
from handmade import HUGE, PAGE, PM_FILE, PM_PRESENT, resident, smaps, words

from pte_magic import workloads
from pte_magic.errors import WorkloadError
from pte_magic.linux.address_space import own

if TYPE_CHECKING:
    from collections.abc import Callable


def address(array: np.ndarray[Any, Any]) -> int:
    return array.ctypes.data


def region(where: int) -> dict[str, str]:
    """Return what /proc/self/smaps says of the region of an address, by field; nothing if there is none."""
    found: dict[str, str] = {}
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(" ")
        if not name.endswith(":"):
            start, _, end = name.partition("-")
            inside = int(start, 16) <= where < int(end, 16)
            found |= {"permissions": value.split()[0]} if inside else {}
        elif inside:
            found[name] = value.strip()
    return found


def there_was_no_huge_page() -> int:
    """Return how often the kernel had no free huge page at a page fault, in any process."""
    told = dict(line.split() for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines())
    return int(told["thp_fault_fallback"])


def permissions(where: int) -> str:
    return region(where).get("permissions", "")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"".join(bytes([number]) * PAGE for number in (1, 2, 3)))
    return path


@pytest.mark.parametrize(
    ("make", "expected"),
    [(workloads.private_mapping, "rw-p"), (workloads.shared_mapping, "rw-s"), (workloads.huge_array, "rw-p")],
)
def test_memory_is_there_untouched_and_zero_and_unmapped_with_the_last_view(
    make: Callable[[int], np.ndarray[Any, Any]], expected: str
) -> None:
    a = make(3)
    at, size = address(a), a.nbytes
    assert at % a.shape[1] == 0
    assert permissions(at) == expected
    assert not words(at, size).any()
    assert not any(resident(at + i * a.shape[1]) for i in range(3))
    a[1, 0] = 7
    view = a[1]
    del a
    gc.collect()
    assert view[0] == 7  # a view is no dangling pointer
    assert permissions(at) == expected
    del view
    gc.collect()
    assert permissions(at) == ""


def test_small_pages_stay_small_and_huge_ones_are_asked_for() -> None:
    small, huge = workloads.private_mapping(1024), workloads.huge_array(2)
    none_left = there_was_no_huge_page()
    small[:, 0] = huge[:, 0] = 1
    assert smaps(address(small), "AnonHugePages") == 0
    asked = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text(encoding="ascii")
    is_huge = smaps(address(huge), "AnonHugePages") == 2 * HUGE
    assert is_huge or "[never]" in asked or there_was_no_huge_page() > none_left
    normal = workloads.huge_array(2, "normal")
    found = [{"nh", "hg"} & set(region(address(array))["VmFlags:"].split()) for array in (small, huge, normal)]
    assert found == [{"nh"}, {"hg"}, set()]


def test_small_pages_are_made_a_huge_one() -> None:
    a = workloads.huge_array(1, "normal")
    a[:] = 1
    workloads.protect(a[0, :PAGE], "r")  # splits it, if it is huge
    workloads.protect(a, "rw")
    assert smaps(address(a), "AnonHugePages") == 0
    try:
        workloads.collapse(a)
    except OSError as error:
        pytest.skip(f"needs a kernel with MADV_COLLAPSE (6.1) and a huge page: {error}")
    assert smaps(address(a), "AnonHugePages") == HUGE


@pytest.mark.parametrize("shared", [True, False])
def test_what_is_written_goes_to_the_file_or_not(file: Path, *, shared: bool) -> None:
    a = workloads.file_mapping(file, shared=shared)
    assert a[:, 5].tolist() == [1, 2, 3]
    a[1, 0] = 9
    assert file.read_bytes()[PAGE] == (9 if shared else 2)
    assert permissions(address(a)) == ("rw-s" if shared else "rw-p")
    assert [bool(word & PM_FILE) for word in words(address(a), 2 * PAGE)] == [True, shared]


def test_a_file_leaves_no_descriptor_and_may_be_one_of_a_memfd(file: Path) -> None:
    own()  # it is kept
    before = descriptors()
    fd = os.memfd_create("test")
    os.truncate(fd, 2 * PAGE)
    first, second = workloads.file_mapping(fd), workloads.file_mapping(fd)
    os.close(fd)
    first[1, 0] = 5
    assert second[1, 0] == 5
    third = workloads.file_mapping(file)
    del first, second, third
    gc.collect()
    assert descriptors() == before


def test_pages_of_a_file_are_sent_away_and_come_back(file: Path) -> None:
    a = workloads.file_mapping(file, shared=False)
    assert a[:, 0].tolist() == [1, 2, 3]
    assert (words(address(a), 3 * PAGE) & PM_PRESENT).all()
    workloads.page_out(a)
    assert not (words(address(a), 3 * PAGE) & PM_PRESENT).any()
    assert a[:, 0].tolist() == [1, 2, 3]


@pytest.mark.skipif(len(Path("/proc/swaps").read_text(encoding="ascii").splitlines()) > 1, reason="there is swap space")
def test_without_swap_space_the_error_says_what_to_type() -> None:
    a = workloads.private_mapping(2)
    workloads.page_out(a)  # nothing is there, so nothing has to go
    a[0, 0] = 1
    with pytest.raises(WorkloadError, match="there is no swap space; as root"):
        workloads.page_out(a)
    assert a[0, 0] == 1


@pytest.mark.parametrize(("access", "expected"), [("r", "r--p"), ("", "---p"), ("rx", "r-xp"), ("wxr", "rwxp")])
def test_protection_is_of_whole_pages_and_ends_with_its_block(access: str, expected: str) -> None:
    a = workloads.private_mapping(4)
    a[:] = 3
    with workloads.protect(a[1:3], access):
        assert [permissions(address(row)) for row in a] == ["rw-p", expected, expected, "rw-p"]
    assert {permissions(address(row)) for row in a} == {"rw-p"}
    a[:] += 1
    assert (a == 4).all()


def test_protection_is_what_it_was_also_after_an_error_and_in_parts() -> None:
    a = workloads.private_mapping(3)
    workloads.protect(a[1:2], "r")
    with pytest.raises(ZeroDivisionError), workloads.protect(a, ""):
        1 / 0  # noqa: B018
    assert [permissions(address(row)) for row in a] == ["rw-p", "r--p", "rw-p"]


@pytest.mark.parametrize(
    ("do", "words"),
    [
        (lambda: workloads.private_mapping(0), "0 pages cannot be mapped; type"),
        (lambda: workloads.shared_mapping(-3), "-3 pages"),
        (lambda: workloads.huge_array(1.5), r"1\.5 pages"),  # type: ignore[arg-type]
        (lambda: workloads.private_mapping(1 << 39), "bytes cannot be mapped: .*; type a smaller number"),
        (lambda: workloads.huge_array(1, "large"), "advice 'large' does not exist; type one of 'hugepage'"),
        (lambda: workloads.protect(workloads.private_mapping(1), "q"), "access 'q' does not exist; type"),
        (lambda: workloads.protect(workloads.private_mapping(1), None), "access None does not exist; type"),  # type: ignore[arg-type]
        (lambda: workloads.protect(workloads.private_mapping(1), ["r"]), "access a list does not exist"),  # type: ignore[arg-type]
        (lambda: workloads.protect(workloads.private_mapping(1), "9" * 5000), "access '9+… does not exist"),
        (lambda: workloads.file_mapping(None), "file=None is not a path"),  # type: ignore[arg-type]
        (lambda: workloads.file_mapping("\0"), "is not a path"),
        (lambda: workloads.file_mapping("\ud800"), "is not a path"),
        (lambda: workloads.file_mapping(2.5), "file=2.5 is not a path"),  # type: ignore[arg-type]
        (lambda: workloads.file_mapping(b"no such"), "'no such' cannot be mapped: No such file"),  # type: ignore[arg-type]
        (lambda: workloads.file_mapping("/"), "'/' cannot be mapped: Is a directory; type the path of a file"),
        (lambda: workloads.file_mapping("a/" * 3000), "cannot be mapped: File name too long"),
        (lambda: workloads.file_mapping(1 << 20), "descriptor 1048576 cannot be mapped: Bad file descriptor"),
        (lambda: workloads.file_mapping(1 << 80), "descriptor [0-9]+ cannot be mapped: Bad file descriptor"),
        (lambda: workloads.file_mapping(-1), "descriptor -1 cannot be mapped: Bad file descriptor"),
        (lambda: workloads.protect(np.ones(100), "r"), "not an array of whole pages, .*private_mapping"),
        (lambda: workloads.protect(workloads.private_mapping(4)[::2], "r"), "not an array of whole pages"),
        (lambda: workloads.page_out(b"bytes"), "the bytes at .* is not an array"),  # type: ignore[arg-type]
        (lambda: workloads.move_to(99, workloads.private_mapping(1)), "node 99: .*; see /sys"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(do: Callable[[], object], words: str) -> None:
    with pytest.raises(WorkloadError, match=words) as caught:
        do()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_a_file_may_be_named_by_bytes(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x" * PAGE)
    assert (workloads.file_mapping(bytes(tmp_path / "one")) == ord("x")).all()  # type: ignore[arg-type]  # as open() does


def test_a_file_that_ends_within_a_page_is_refused(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"x" * 5000)
    before = descriptors()
    with pytest.raises(WorkloadError, match="5000 bytes; make it a multiple of 4096"):
        workloads.file_mapping(tmp_path / "odd")
    assert descriptors() == before


def test_a_pool_that_has_not_so_many_huge_pages_says_how_to_get_them() -> None:
    with pytest.raises(WorkloadError, match=r"vm.nr_hugepages=100000"):
        workloads.hugetlb_array(100000)


def test_pages_are_on_a_node_as_numa_maps_says() -> None:
    a = workloads.private_mapping(4)
    a[:2, 0] = 1
    found = workloads.nodes(a)
    line = next(
        line
        for line in Path("/proc/self/numa_maps").read_text(encoding="ascii").splitlines()
        if line.startswith(f"{address(a):x} ")
    )
    assert line.split()[1] == "local"  # a policy: NUMA balancing takes no access away
    assert f" N{found[0]}=" in line
    assert (found >= 0).tolist() == [True, True, False, False]
    assert workloads.move_to(int(found[0]), a[:2]).tolist() == found[:2].tolist()


def test_without_protection_keys_the_error_says_so() -> None:
    if " pku " in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        pytest.skip("needs a CPU without protection keys; tests/vm/guest has one with them")
    with pytest.raises(WorkloadError, match="gives no protection key"):
        workloads.protection_key(workloads.private_mapping(1))


def test_arrays_that_are_alive_at_the_end_do_no_harm() -> None:
    code = """
from pte_magic import workloads
a = workloads.private_mapping(4); b = workloads.huge_array(1); a[0, 0] = b[0, 0] = 1
child = workloads.fork_with(a)
child.write(1)
print(child.pid)
"""
    pid = int(python(code))
    assert not Path(f"/proc/{pid}").exists()
