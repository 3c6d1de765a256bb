"""A page frame that is broken: taken away from the process, which is told by a signal when it touches the page."""

from __future__ import annotations

import faulthandler
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from agreement import agree, kpageflags
from conftest import forked, walked
from differences import told
from handmade import HUGE, HUGEPAGE, NOHUGEPAGE, PAGE, NewMap, madvise, pfn, read, write
from poison import HWPOISON, KPF_HWPOISON, mended

from pte_magic.errors import WorkloadError
from pte_magic.linux.address_space import AddressSpace

if TYPE_CHECKING:
    from collections.abc import Iterator


def corrupted() -> int:
    """Return how many bytes the kernel holds for broken."""
    found = re.search(r"HardwareCorrupted: +(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
    assert found
    return int(found[1]) << 10


@pytest.fixture
def broken() -> Iterator[list[int]]:
    """A list of page frames that are mended in the end."""
    with mended() as frames:
        yield frames


@pytest.mark.parametrize("advice", [NOHUGEPAGE, HUGEPAGE], ids=["small pages", "huge page"])
def test_broken_page_is_an_entry_with_its_frame(new_map: NewMap, broken: list[int], advice: int) -> None:
    address = new_map(2 * HUGE, advice=advice)

    def break_one() -> None:
        faulthandler.disable()  # it would tell of the signals that are expected
        signal.signal(signal.SIGBUS, lambda *_: None)  # since 6.11 this is told at once
        madvise(address + PAGE, PAGE, HWPOISON)
        signal.signal(signal.SIGBUS, signal.SIG_DFL)

    steps = (lambda: write(address, 4 * PAGE), break_one, lambda: read(address + PAGE))
    before = corrupted()
    with forked(*steps) as child:
        child.step()
        broken.append(pfn(address + PAGE, child.pid))
        with AddressSpace(child.pid) as space:
            sound = walked("bpf", space, address + PAGE, address + 2 * PAGE)
            child.step()
            failed = walked("bpf", space, address + PAGE, address + 2 * PAGE)
        assert "its memory failed" in told(sound.diff(failed))[address + PAGE]
        found = agree(address, 4 * PAGE, child.pid)
        assert list(found["state"]) == ["present", "hwpoison", "present", "present"]
        assert found["pfn"][1] == broken[0]
        assert not found["present"][1]
        assert kpageflags(broken[0]) & KPF_HWPOISON
        assert corrupted() == before + PAGE
        with pytest.raises(WorkloadError, match="SIGBUS"):
            child.step()
