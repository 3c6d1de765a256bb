"""``%%pte --settle``: waits for what the kernel does later, on its own: khugepaged, and swapping."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from differences import told
from handmade import HUGE, HUGE_WORDS, PAGE, PM_SWAP, smaps, words
from shells import Shell
from swapping import swap_off, swap_on, zram

from pte_magic.workloads import protect

if TYPE_CHECKING:
    from collections.abc import Iterator

KHUGEPAGED = Path("/sys/kernel/mm/transparent_hugepage/khugepaged")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("ipython"))


@contextmanager
def in_a_hurry() -> Iterator[None]:
    """Have khugepaged scan without a rest."""
    wanted = {"scan_sleep_millisecs": "10", "alloc_sleep_millisecs": "10", "pages_to_scan": "65536"}
    before = {name: (KHUGEPAGED / name).read_text(encoding="ascii") for name in wanted}
    try:
        for name, value in wanted.items():
            (KHUGEPAGED / name).write_text(value, encoding="ascii")
        yield
    finally:
        for name, value in before.items():
            (KHUGEPAGED / name).write_text(value, encoding="ascii")


def test_khugepaged_is_waited_for(shell: Shell) -> None:
    shell.run("from pte_magic.workloads import *\nh = huge_array(1)\nh[:] = 1")
    h = shell.ip.user_ns["h"]
    at = h.ctypes.data
    assert smaps(at, "AnonHugePages") == HUGE
    protect(h[0, :PAGE], "r")  # splits it; while it is so, khugepaged leaves it alone
    with in_a_hurry():
        cell = shell.run("%%pte --settle 120 h\nallowed = protect(h, 'rw')")
    assert smaps(at, "AnonHugePages") == HUGE
    assert {f"became {HUGE_WORDS}", "new page frame"} <= told(cell.result)[at]
    assert cell.result["size"].tolist() == [HUGE]


def test_swapping_is_waited_for(shell: Shell) -> None:
    with zram("64M") as area:
        swap_on(area)
        shell.run("import threading\nfrom pte_magic.workloads import *\nm = private_mapping(64)\nm[:] = 7")
        at = shell.ip.user_ns["m"].ctypes.data
        cell = shell.run("%%pte --settle 120 m\nthread = threading.Timer(2, page_out, [m])\nthread.start()")
        shell.run("thread.join()")
        assert (words(at, 64 * PAGE) & PM_SWAP).all()
        assert told(cell.result) == {at + page * PAGE: {"swapped out"} for page in range(64)}
        shell.run("del m, thread")
        swap_off(area)
