"""Pages of two processes that cannot be made at will: in swap, on huge pages of which a part was copied, of files.

Each case is what the kernel leaves behind, as the module's text says with its functions.
"""

from __future__ import annotations

import numpy as np
import pytest

from pte_magic.dataframes.shared_pages import CODES, Pages, compare, copies

IN_SWAP = 1 << 63


def page(**of: int) -> Pages:
    """Return a page; by default it is there, its place is hidden, others map it, too, and who wrote is not known."""
    place = of.get("place", 0)
    swapped = place >= IN_SWAP
    return Pages(
        np.array([bool(of.get("there", True)) and not swapped]),
        np.array([swapped]),
        np.array([place], np.uint64),
        np.array([of.get("exclusive", 0)], np.int8),
        np.array([of.get("wrote", -1)], np.int8),
        np.array([of.get("file", 0)], np.int8),
        np.array([bool(of.get("huge"))]),
    )


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        (page(place=IN_SWAP | 5), page(place=IN_SWAP | 5), "shared"),
        (page(place=IN_SWAP | 5), page(place=IN_SWAP | 6), "swapped"),
        (page(place=IN_SWAP | 5), page(place=7), "swapped"),
        (page(place=7), page(place=7), "shared"),
        (page(place=7, wrote=0), page(place=8, wrote=1), "copied_there"),
        (page(place=7, wrote=1), page(place=8, wrote=0), "copied_here"),
        (page(place=7, wrote=0), page(place=8, wrote=0), "copied_here"),  # and has forked again since
        (page(place=7, wrote=1), page(place=8, wrote=1), "copied_either"),
        (page(place=7), page(place=8), "copied_either"),
        (page(), page(), "shared"),
        (page(exclusive=1), page(), "copied_here"),
        (page(), page(exclusive=1), "copied_there"),
        (page(exclusive=1), page(exclusive=1), "copied_either"),
        (page(exclusive=1, huge=True), page(), "shared"),  # the bit is of the first page of the huge one
        (page(exclusive=1, huge=True), page(exclusive=1), "copied_there"),
        (page(), page(exclusive=1, huge=True), "shared"),
        (page(exclusive=1), page(exclusive=1, huge=True), "copied_here"),
        (page(exclusive=1, huge=True), page(exclusive=0, huge=True), "copied_here"),
        (page(exclusive=-1, huge=True), page(), "shared"),
        (page(exclusive=1, file=1), page(exclusive=1, file=1), "shared"),
        (page(file=1), page(exclusive=1), "copied_there"),
        (page(exclusive=1), page(file=1), "copied_here"),
        (page(), page(there=False), "only_here"),
        (page(there=False), page(), "only_there"),
        (page(there=False), page(there=False), "nothing"),
    ],
)
def test_each_pair_is_what_the_kernel_made_of_it(here: Pages, there: Pages, expected: str) -> None:
    assert CODES[compare(here, there, np.array([True])).code[0]] == expected


def test_pages_of_different_files_have_nothing_to_do_with_each_other() -> None:
    assert CODES[compare(page(place=7), page(place=8), np.array([False])).code[0]] == "apart"
    assert CODES[compare(page(), page(), np.array([False])).code[0]] == "apart"


@pytest.mark.parametrize(
    ("pages", "extra", "possible"),
    [
        ([page(place=7), page(place=7), page(place=7)], 0, 2),
        ([page(place=7), page(place=8), page(place=7)], 1, 1),
        ([page(place=7), page(place=8), page(place=9)], 2, 0),
        ([page(place=7), page(there=False), page(there=False)], 0, 0),
        ([page(exclusive=1), page(), page()], 1, 1),
        ([page(exclusive=1), page(exclusive=1), page(exclusive=1)], 2, 0),
        ([page(), page()], 0, 1),
        ([page(file=1, place=7), page(file=1, place=7)], 0, 0),  # never copied as long as it is only read
    ],
)
def test_copies_are_page_frames_more_than_one(pages: list[Pages], extra: int, possible: int) -> None:
    assert [values.tolist() for values in copies(pages)] == [[extra], [possible]]
