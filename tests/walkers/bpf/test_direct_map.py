"""Where the direct map of memory begins, found without symbols: of all guesses one is right, and a walk proves it."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import forked, needs_root
from handmade import GIB, PAGE, PM_PRESENT, check, libc, words

from pte_magic import walkers
from pte_magic.errors import WalkerUnavailableError
from pte_magic.linux.address_space import own
from pte_magic.walkers.bpf import direct_map
from pte_magic.walkers.bpf import walker as bpf
from pte_magic.walkers.bpf.direct_map import PAGES, Landmark
from pte_magic.walkers.bpf.walker import BpfWalker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ZONES = f"""\
Node 0, zone      DMA
  pages free     3840
        spanned  4095
        present  3998
  start_pfn:           1
Node 0, zone  Movable
  pages free     0
        spanned  0
        present  0
Node 1, zone   Normal
        spanned  {GIB // PAGE}
  start_pfn:           {16 * GIB // PAGE}
"""


@pytest.fixture
def walker() -> Iterator[BpfWalker]:
    found = walkers.attempt("bpf")
    if isinstance(found, WalkerUnavailableError):
        pytest.skip(str(found))
    made = BpfWalker()
    yield made
    made.close()


def test_pages_are_touched_as_it_says() -> None:
    for _ in range(20):
        with Landmark() as landmark:
            assert landmark.end - landmark.start == PAGES * PAGE
            assert landmark.start % (PAGES * PAGE) == 0
            here = words(landmark.start, PAGES * PAGE) & np.uint64(PM_PRESENT) != 0
            assert (here == landmark.touched).all()
            assert 0 < here.sum() < PAGES


@needs_root
def test_pages_are_touched_as_it_says_where_all_new_memory_is_locked_and_so_filled_at_once() -> None:
    def locked() -> bool:
        check(libc.mlockall(2))  # MCL_FUTURE
        with mmap.mmap(-1, PAGE) as filled, Landmark() as landmark:
            assert words(np.frombuffer(filled, np.uint8).ctypes.data) & np.uint64(PM_PRESENT)
            here = words(landmark.start, PAGES * PAGE) & np.uint64(PM_PRESENT) != 0
            return bool((here == landmark.touched).all())

    with forked(locked) as child:
        assert child.step()


def test_its_pages_are_given_back() -> None:
    with Landmark() as landmark:
        pass
    assert not (words(landmark.start, PAGES * PAGE) & np.uint64(PM_PRESENT)).any()


@needs_root
def test_one_guess_is_right_and_all_others_are_found_out(walker: BpfWalker) -> None:
    f_op, right = bpf._ONCE.unpack_from(walker._memory, bpf._ONCE_AT)
    _, pgd, *_ = bpf._TOLD.unpack_from(walker._memory, bpf._TOLD_AT)
    walker._flags = bpf._ONCE_ONLY
    found = []
    with Landmark() as landmark:
        for base in direct_map.bases(pgd):
            bpf._ONCE.pack_into(walker._memory, bpf._ONCE_AT, f_op, base % (1 << 64))
            found += [base % (1 << 64)] if any(walker._finds(own(), landmark) for _ in range(3)) else []
    assert found == [right]


def test_guesses_are_in_memory_that_there_is_the_highest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zoneinfo").write_text(ZONES)
    monkeypatch.setattr(direct_map, "ZONES", tmp_path / "zoneinfo")
    for low, expected in (
        (0x60_0000, [16 * GIB + GIB // 2, 16 * GIB, 0]),
        (0x1FFF_0000, [16 * GIB + GIB // 2, 16 * GIB] + ([0] if PAGE * 4095 > 0x1FFF_0000 - PAGE else [])),
    ):
        pgd = 0xFFFF_8881_2000_0000 + low
        assert [pgd - base - low for base in direct_map.bases(pgd)] == expected


def test_an_address_with_a_tag_is_the_same_address() -> None:
    untagged = list(direct_map.bases(0xFFFF_0001_2345_6000))
    assert untagged == list(direct_map.bases(0xF5FF_0001_2345_6000))
    assert untagged
