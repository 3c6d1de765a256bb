"""From words, addresses and objects to ranges of pages."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import only_on
from handmade import PAGE
from hypothesis import given
from hypothesis import strategies as st

import pte_magic
from pte_magic.errors import TargetError
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.linux.hardware import user_limit
from pte_magic.targets import target as targets

LIMIT = user_limit()


def maps() -> list[tuple[int, int, str]]:
    """Return address, end and name of each region, from the text of /proc/self/maps."""
    lines = (line.split(maxsplit=5) for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines())
    rows = [(*line[0].split("-"), line[5] if len(line) > 5 else "") for line in lines]
    return [(int(start, 16), int(end, 16), name) for start, end, name in rows]


def regions_called(pattern: str) -> tuple[tuple[int, int], ...]:
    return tuple((start, end) for start, end, name in maps() if re.fullmatch(pattern, name))


def parsed(text: str) -> targets.Target:
    found = targets.parse(text, own())
    assert found
    return found


@given(st.integers(0, LIMIT - 1))
def test_an_address_is_its_page(address: int) -> None:
    found = targets.at(address)
    ((start, end),) = found.ranges
    assert start % PAGE == end % PAGE == 0
    assert start <= address < end == start + PAGE
    assert (found.address, found.note) == (address, "")


@given(st.integers(0, LIMIT - 1), st.integers(1, 1 << 40))
def test_a_range_is_widened_to_pages_and_says_so(start: int, size: int) -> None:
    end = min(start + size, LIMIT)
    found = targets.between(start, end)
    ((first, last),) = found.ranges
    assert first % PAGE == last % PAGE == 0
    assert 0 <= start - first < PAGE
    assert 0 <= last - end < PAGE
    assert bool(found.note) == ((first, last) != (start, end))
    assert found.address is None


def test_the_note_says_from_what_to_what() -> None:
    assert targets.between(0x10001, 0x2FFFF).note == "0x10001-0x2ffff was widened to whole pages: 0x10000-0x30000"


@pytest.mark.parametrize(
    "text",
    ["0x7f0000010000-0x7f0000030000", "7f0000010000-7f0000030000", "0X7F0000010000 - 0X7F0000030000",
     " 0x7f0000010000-7f0000030000 "],
)  # fmt: skip
def test_ranges_with_and_without_0x(text: str) -> None:
    assert parsed(text) == targets.Target(((0x7F0000010000, 0x7F0000030000),))


def test_ranges_as_maps_prints_them() -> None:
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        text = line.split()[0]
        start, end = (int(part, 16) for part in text.split("-"))
        if end <= LIMIT:
            assert parsed(text).ranges == ((start, end),)
        else:
            with pytest.raises(TargetError, match="is a kernel address"):
                targets.parse(text, own())


@pytest.mark.parametrize("text", ["0-0x10000", "0 - 0X10000", "0x0-0x10000", "00000000-00010000"])
def test_a_range_may_begin_at_a_plain_0(text: str) -> None:
    assert parsed(text) == targets.Target(((0, 0x10000),))  # whole pages, of whatever size


def test_the_first_range_that_maps_can_print() -> None:
    assert parsed("00400000-00410000").ranges == ((0x400000, 0x410000),)


@pytest.mark.parametrize("text", ["0x1000", "4096", "0b1000000000000", "0o10000", "0x1_000"])
def test_addresses_in_every_base_of_python(text: str) -> None:
    assert parsed(text) == targets.at(0x1000)


@pytest.mark.parametrize("name", ["heap", "stack"])
def test_regions_of_the_kernel_with_and_without_brackets(name: str) -> None:
    assert parsed(f"[{name}]").ranges == parsed(name).ranges == regions_called(rf"\[{name}\]")


def test_libraries_by_path_file_and_short_name() -> None:
    path = next(name for *_, name in maps() if re.search(r"/libc[.-][^/]*$", name))
    expected = regions_called(re.escape(path))
    assert len(expected) > 1
    for name in (path, os.path.basename(path), "libc"):  # noqa: PTH119
        assert parsed(name).ranges == expected


def test_all_is_the_whole_user_address_space() -> None:
    assert parsed("all") == targets.Target(((0, LIMIT),))


@pytest.mark.parametrize("text", ["", "nonsense", "[nonsense]", "lib*", "[", "0x", "1.5", "a*2", "[vsyscall]"])
def test_other_words_are_none_of_ours(text: str) -> None:
    assert targets.parse(text, own()) is None


def test_the_error_of_an_unknown_name_lists_what_there_is() -> None:
    error = str(targets.unknown("nonsense", own()))
    assert error.startswith("'nonsense' is not an address")
    assert "[heap]" in error
    assert len(error.splitlines()) == 1


def test_every_name_that_is_offered_is_understood() -> None:
    space = AddressSpace()
    for name in targets.region_names(space):
        assert targets.parse(name, space), name
    space.close()


@pytest.mark.parametrize("text", ["x" * 10**6, "0x" + "f" * 100_000, "9" * 100_000, "é\n" * 10**5, np.str_("z" * 9999)])
def test_a_text_that_is_far_too_long_is_told_in_a_short_line(text: str) -> None:
    with pytest.raises(TargetError) as caught:
        pte_magic.walk(text)
    assert len(str(caught.value)) < 600  # with names of regions
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("text", ["0-1000", "10-20", "4096-8192", "1000 - 2000"])
def test_a_range_in_decimals_says_how_one_is_written(text: str) -> None:
    with pytest.raises(TargetError, match=rf"^'{text}' is not a range; type it in hex, such as 0x0-0x1000; "):
        pte_magic.walk(text)
    with pytest.raises(TargetError, match=r" is not a 64-bit address; .*, or a range as 0x0-0x1000$"):
        targets.at(eval(text))  # noqa: S307  (as the magics do)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (0x2000, 0x1000, "0x2000-0x1000: the end lies before the start"),
        (0x1000, 0x1000, "0x1000-0x1000 is empty; type START-END "),
        (0x1000, LIMIT + 1, f"{LIMIT:#x} is not canonical"),
        (-PAGE, PAGE, f"-{PAGE:#x} is not a 64-bit address"),
        (0, 1 << 64, "0xffffffffffffffff is a kernel address"),
        (0, (1 << 64) + 1, "0x10000000000000000 is not a 64-bit address"),
    ],
)
def test_ranges_that_cannot_be(start: int, end: int, message: str) -> None:
    with pytest.raises(TargetError, match=f"^{message}"):
        targets.between(start, end)


@pytest.mark.parametrize(
    ("address", "word"),
    [(-1, "not a 64-bit"), (1 << 64, "not a 64-bit"), (1 << 1000, "not a 64-bit"), (LIMIT, "not canonical"),
     ((1 << 64) - LIMIT - 1, "not canonical"), ((1 << 64) - LIMIT, "kernel address"),
     (0xFFFF888000000000, "kernel address"), ((1 << 64) - 1, "kernel address")],
)  # fmt: skip
@pytest.mark.parametrize("as_text", [False, True])
def test_addresses_that_are_no_user_s(address: int, word: str, *, as_text: bool) -> None:
    with pytest.raises(TargetError, match=word) as caught:
        targets.parse(hex(address), own()) if as_text else targets.at(address)
    assert f"{address:#x}"[:40] in str(caught.value)
    assert len(str(caught.value)) < 200


TAG = 0x3F << 56


@only_on("arm64", "addresses with a tag in their highest byte")
def test_a_tag_is_no_part_of_an_address() -> None:
    thing = np.zeros(9 * PAGE, np.uint8)
    start, end = thing.ctypes.data, thing.ctypes.data + thing.nbytes
    assert targets.at(TAG | start) == targets.at(start)
    assert targets.between(TAG | start, TAG | end).ranges == targets.between(start, end).ranges
    assert targets.at(1 << 63) == targets.at(0)

    class Tagged:
        __array_interface__ = {**thing.__array_interface__, "data": (TAG | start, False)}  # noqa: RUF012  (read only)

    assert targets.of_object(Tagged()).ranges == targets.of_object(thing).ranges
    with pytest.raises(TargetError, match="is a kernel address"):
        targets.at((1 << 64) - LIMIT | 1 << 55)


@only_on("x86_64", "no tags in addresses")
def test_the_highest_bits_are_those_below_them() -> None:
    with pytest.raises(TargetError, match="not canonical"):
        targets.at(1 << 63)


def test_objects_are_the_pages_that_hold_them() -> None:
    whole = np.zeros(20 * PAGE, np.uint8)
    begin = -(-whole.ctypes.data // PAGE) * PAGE - whole.ctypes.data
    part = whole[begin + 10 : begin + 3 * PAGE + 1]
    first = whole.ctypes.data + begin
    found = targets.of_object(part)
    assert found.ranges == ((first, first + 4 * PAGE),)
    assert found.items == {"first": part.ctypes.data, "bytes": 1, "shape": [part.size]}


def test_blocks_on_neighbouring_pages_are_one_range() -> None:
    pandas, whole = pytest.importorskip("pandas"), np.zeros((2, 8 * PAGE))
    table = pandas.DataFrame(whole.T, copy=False)
    ((start, end),) = targets.of_object(table).ranges
    assert start <= whole.ctypes.data
    assert end >= whole.ctypes.data + whole.nbytes
    assert end - start <= whole.nbytes + 2 * PAGE
