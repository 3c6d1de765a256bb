"""What an object says of its memory is believed only as far as a process can have memory."""

from __future__ import annotations

import ctypes
import re
from typing import Any

import numpy as np
import pytest
from handmade import PAGE

import pte_magic
from pte_magic.errors import TargetError
from pte_magic.linux.hardware import user_limit
from pte_magic.targets.blocks import Blocks, NotOfUsersError
from pte_magic.targets.target import Target

HERE = np.ones(5 * PAGE, np.uint8)
LIMIT = user_limit()
LAST = LIMIT - PAGE


class Claims:
    """An object that says by numpy's protocol that it lies somewhere."""

    def __init__(self, **said: Any) -> None:
        self._said = {"version": 3, "shape": (10,), "typestr": "|u1", "data": (HERE.ctypes.data, True), **said}

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self._said


BEYOND = [
    {"data": (LAST, True), "shape": (PAGE + 1,)},
    {"data": (LAST, True), "shape": (LIMIT,)},
    {"data": (LIMIT, True)},
    {"data": (-PAGE, True)},
    {"data": ((1 << 8 * ctypes.sizeof(ctypes.c_void_p)) - 10, True)},
    {"shape": (LIMIT,)},
    {"shape": (4,), "strides": (LIMIT // 2,)},
    {"shape": (4,), "strides": (-LIMIT // 2,)},
    {"shape": (1 << 10, 1 << 10), "strides": (PAGE * 2, LIMIT >> 9)},  # more blocks than are taken apart
]


@pytest.mark.parametrize("look", [pte_magic.walk, pte_magic.entries, lambda thing: list(pte_magic.stream(thing))])
@pytest.mark.parametrize("said", BEYOND, ids=range(len(BEYOND)))
def test_memory_that_no_process_can_have_is_refused_in_a_line(said: dict[str, Any], look: Any) -> None:
    with pytest.raises(TargetError, match=r"^the Claims says that it lies at -?0x[0-9a-f]+-0x[0-9a-f]+; memory of a"):
        look(Claims(**said))


def test_the_error_names_the_addresses() -> None:
    where = f"{LAST:#x}-{LIMIT + 1:#x}; memory of a process lies below {LIMIT:#x}"
    with pytest.raises(TargetError, match=f"^{re.escape(f'the Claims says that it lies at {where}')}$"):
        pte_magic.walk(Claims(data=(LAST, True), shape=(PAGE + 1,)))


def test_the_last_page_of_all_is_a_user_s() -> None:
    found = pte_magic.entries(Claims(data=(LAST, True), shape=(PAGE,)))
    assert int(found.vaddr[-1] + found.size[-1]) == LIMIT


def test_a_view_of_numpy_s_that_leaves_its_memory_is_refused() -> None:
    far = np.lib.stride_tricks.as_strided(HERE, shape=(10,), strides=(LIMIT,))
    with pytest.raises(TargetError, match=r"^the ndarray says that it lies at "):
        pte_magic.walk(far)


@pytest.mark.parametrize(
    ("starts", "ends"), [([PAGE, LAST], [2 * PAGE, LIMIT + 1]), ([PAGE, (1 << 64) - PAGE], [2 * PAGE, (1 << 64) - 1])]
)
def test_scattered_blocks_are_users(starts: list[int], ends: list[int]) -> None:
    with pytest.raises(NotOfUsersError):
        Blocks().add_scattered(np.array(starts, np.uint64), np.array(ends, np.uint64))


@pytest.mark.parametrize("ranges", [(0, 1 << 62), (-PAGE, PAGE), (PAGE, PAGE), (2 * PAGE, PAGE), (LIMIT, LIMIT + PAGE)])
def test_a_target_that_somebody_made_has_users_addresses_only(ranges: tuple[int, int]) -> None:
    with pytest.raises(TargetError):
        pte_magic.walk(Target((ranges,)))
