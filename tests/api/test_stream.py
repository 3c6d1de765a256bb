"""`stream`: frames of bounded size that are the walk together, and nothing left behind."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import pytest
from comparing import of_entries
from conftest import descriptors, forked
from handmade import HUGE, NOHUGEPAGE, PAGE, NewMap, write

import pte_magic
from pte_magic import walkers
from pte_magic.errors import NoAddressSpaceError

if TYPE_CHECKING:
    from collections.abc import Generator

SIZE = 4 * HUGE


@pytest.fixture
def address(new_map: NewMap) -> int:
    address = new_map(SIZE, advice=NOHUGEPAGE)
    for page in range(0, SIZE // PAGE, 3):
        write(address + page * PAGE)
    return address


@pytest.mark.parametrize("rows", [1, 100, 1 << 18])
def test_frames_together_are_the_walk(walker: str, address: int, rows: int) -> None:
    size = SIZE if rows > 1 else 50 * PAGE
    for _ in range(10):
        before = pte_magic.walk(address, address + size, walker=walker)
        frames = list(pte_magic.stream(address, address + size, walker=walker, rows=rows))
        if before.equals(pte_magic.walk(address, address + size, walker=walker)):  # the kernel touched none meanwhile
            break
    else:
        pytest.fail("entries changed at ten attempts to look at them")
    assert [len(frame) for frame in frames[:-1]] == [rows] * (len(frames) - 1)
    assert 0 < len(frames[-1]) <= rows
    assert all(type(frame) is pte_magic.PteFrame and frame.index[0] == 0 for frame in frames)
    pd.testing.assert_frame_equal(of_entries(pd.concat(frames, ignore_index=True)), of_entries(before))
    assert all(frame.attrs == before.attrs for frame in frames)


def test_the_loop_may_walk_and_be_left(walker: str, address: int) -> None:
    for count, frame in enumerate(pte_magic.stream(address, address + SIZE, walker=walker, rows=64)):
        assert pte_magic.walk(address, address + PAGE, walker=walker)["vaddr"][0] == address
        assert len(frame) == 64
        if count == 3:
            break
    assert len(pte_magic.walk(address, address + SIZE, walker=walker))


def test_the_end_of_a_stream_closes_the_address_space(walker: str) -> None:
    walkers.get(walker)
    with forked() as child:
        before = descriptors()
        assert sum(len(frame) for frame in pte_magic.stream("all", pid=child.pid, walker=walker))
        assert descriptors() == before
        left = cast("Generator[Any]", pte_magic.stream("all", pid=child.pid, walker=walker))
        next(left)
        left.close()
        assert descriptors() == before
        unread = pte_magic.stream("all", pid=child.pid, walker=walker)
        assert descriptors() > before
        del unread
        gc.collect()
        assert descriptors() == before


def test_a_process_that_ends_ends_its_stream(walker: str) -> None:
    with forked() as child:
        frames = pte_magic.stream("all", pid=child.pid, walker=walker, rows=10)
        assert len(next(frames)) == 10
        rest = pte_magic.stream("all", pid=child.pid, walker=walker)
    with pytest.raises(NoAddressSpaceError, match=f"pid {child.pid}: "):
        list(rest)


def test_a_temporary_is_held_until_the_stream_ends() -> None:
    for frame in pte_magic.stream(np.ones(1 << 20) * 2, rows=100):
        gc.collect()
        assert set(frame["state"]) == {"present"}


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (["nonsense"], {}, "'nonsense' is not an address"),
        (["all"], {"rows": 0}, "rows=0 is not a whole number from 1 on; a frame has at least one row"),
        (["all"], {"walker": "gdb"}, "walker 'gdb' does not exist"),
        (["all"], {"pid": 1 << 30}, "pid 1073741824: no such process"),
    ],
)
def test_bad_input_is_said_at_once_and_leaves_nothing_open(
    arguments: list[Any], options: dict[str, Any], message: str
) -> None:
    walkers.get()
    before = descriptors()
    with pytest.raises(pte_magic.PteMagicError, match=message) as caught:
        pte_magic.stream(*arguments, **options)
    assert len(str(caught.value).splitlines()) == 1
    assert descriptors() == before


def test_an_odd_range_is_widened_and_says_so_where_it_was_asked_for(address: int) -> None:
    with pytest.warns(UserWarning, match="was widened to whole pages: ") as caught:
        frames = pte_magic.stream(address + 1, address + PAGE + 1)
    assert caught[0].filename == __file__
    assert [list(frame["vaddr"]) for frame in frames] == [[address, address + PAGE]]
