"""`Target`: the addresses that an address, a text or an object stands for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.errors import TargetError, arguments
from pte_magic.errors.cut import cut
from pte_magic.linux import kernel_text
from pte_magic.linux.hardware import PAGE_SIZE, untagged, user_limit
from pte_magic.linux.importing import importing
from pte_magic.text import screen
from pte_magic.text.suggestions import did_you_mean
from pte_magic.text.typed_numbers import HALF_A_RANGE, number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pte_magic.linux.address_space import AddressSpace
    from pte_magic.linux.regions import Region

_RANGE = re.compile(r"(0x[0-9a-f]+|[0-9a-f]{8,16}|0)\s*-\s*(0x[0-9a-f]+|[0-9a-f]{8,16})", re.IGNORECASE)
_LIKE_A_RANGE = re.compile(r"\w+\s*-\s*\w+", re.ASCII)
_ALL = "all"
_LONGEST = 40  # letters of an address in a message
_MEMFD = b"/memfd:"  # memfd_create(2)


class Target(NamedTuple):
    """Addresses to walk.

    Attributes:
        ranges: First address, and first address after it, of each range: multiples of the page size, ascending,
            disjoint.
        address: The address, if a single one was named, to show its translation level by level; else None.
        note: A note for the user: how the addresses were changed, or data that is not there; empty if there is none.
        items: Where items of a contiguous array are: ``first`` address, ``bytes`` of an item, and ``shape``.

    """

    ranges: tuple[tuple[int, int], ...]
    address: int | None = None
    note: str = ""
    items: dict[str, Any] | None = None


def at(address: int) -> Target:
    """Return the target that is the page of one address."""
    address = untagged(address)
    _check(address)
    page = address & -PAGE_SIZE
    return Target(((page, page + PAGE_SIZE),), address)


def between(start: int, end: int) -> Target:
    """Return the target ``[start, end)``, widened to whole pages."""
    if end <= start:
        what = " is empty" if end == start else ": the end lies before the start"
        message = f"{_hex(start)}-{_hex(end)}{what}; type START-END with START below END"
        raise TargetError(message)
    start, end = untagged(start), untagged(end - 1) + 1
    _check(start)
    _check(end - 1)
    first, last = start & -PAGE_SIZE, -(-end // PAGE_SIZE) * PAGE_SIZE
    odd = (first, last) != (start, end)
    note = f"{start:#x}-{end:#x} was widened to whole pages: {first:#x}-{last:#x}" if odd else ""
    return Target(((first, last),), note=note)


def whole() -> Target:
    """Return the target that is a whole address space."""
    return Target(((0, user_limit()),))


def checked(target: Target) -> Target:
    """Return a target made by a caller, if all its addresses are user addresses.

    Raises:
        TargetError: They are not, or a range is empty.

    """
    for start, end in target.ranges:
        between(start, end)
    return target


def of_object(thing: object) -> Target:
    """Return the target that is the memory of a Python object: its data, or else the object itself, with a note.

    Raises:
        TargetError: It has no memory, or none in this process.

    """
    with importing():
        from pte_magic.targets.objects import find  # noqa: PLC0415  (pandas, which addresses and texts have no use for)

    found = find(thing)
    blocks = ((untagged(start), untagged(end - 1) + 1) for start, end in found.blocks)
    ranges = merged((start & -PAGE_SIZE, -(-end // PAGE_SIZE) * PAGE_SIZE) for start, end in blocks)
    return Target(ranges, None, found.note, _items(thing))


def _items(thing: object) -> dict[str, Any] | None:
    if type(thing) is not np.ndarray or not thing.size or not thing.itemsize or not thing.flags.c_contiguous:
        return None
    return {"first": untagged(thing.ctypes.data), "bytes": thing.itemsize, "shape": list(thing.shape)}


def together(parts: Sequence[tuple[str, Target]]) -> Target:
    """Return several targets of one address space as one, by the texts that name them."""
    notes = "; ".join(f"{text}: {part.note}" for text, part in parts if part.note)
    return Target(merged(pages for _, part in parts for pages in part.ranges), None, notes)


def parse(text: str, space: AddressSpace) -> Target | None:
    """Return the target that a text names: an address, a range, a region's name or ``all``.

    Returns:
        None if it is something else; in a notebook it may be a Python expression.

    """
    typed, text = text, text.strip()
    if found := _RANGE.fullmatch(text):
        return between(int(found[1], 16), int(found[2], 16))
    if read := number(text, digits_are_hex=False):
        return at(read.value)
    try:
        return at(int(text, 0))
    except TargetError:
        raise
    except ValueError:
        pass
    if text == _ALL:
        return whole()
    ranges = tuple((region.start, region.end) for region in _called(typed, space) or _called(text, space))
    return Target(ranges) if ranges else None


def region_names(space: AddressSpace) -> list[str]:
    """Return the names of the regions that `parse` understands, each once, in order of address."""
    regions = [region for region in space.regions() if region.path and region.start < user_limit()]
    paths = dict.fromkeys(region.linked if space.is_deleted(region) else region.path for region in regions)
    return list(dict.fromkeys(kernel_text.shown(_file(path)) for path in paths))


def suggestions(space: AddressSpace) -> list[str]:
    """Return the names of regions, and the short forms of those of libraries, such as ``libc`` for ``libc.so.6``."""
    names = region_names(space)
    short = (re.split(r"[.-]", name, maxsplit=1)[0] for name in names if name.startswith("lib"))
    return list(dict.fromkeys((*names, *short)))


def unknown(text: str, space: AddressSpace) -> TargetError:
    """Return the error for a text that does not name a target."""
    if near := did_you_mean(text, suggestions(space)):
        return TargetError(f"{arguments.shown(text)} is not a region of pid {space.pid}{near}")
    names = ", ".join(region_names(space)[:6])
    kinds = screen.either("a START-END range, a region or a defined name", "a START-END range or a region")
    what = f"is not an address, {kinds}"
    if HALF_A_RANGE.fullmatch(text.strip()):
        what = "is not a range; type START-END, as in /proc/PID/maps"
    elif _LIKE_A_RANGE.fullmatch(text.strip()):
        what = "is not a range; type it in hex, such as 0x0-0x1000"
    return TargetError(f"{arguments.shown(text)} {what}; regions of pid {space.pid}: {names}, …, all")


def merged(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return ranges ascending and disjoint: those that overlap or follow each other are one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def _called(text: str, space: AddressSpace) -> list[Region]:
    """Return the regions that a text names, in order of address.

    The kernel's own names, ``[heap]`` or ``heap``, go before files, as any file may be called ``[heap]``; then come
    paths, then file names, then ``libc`` for ``libc.so.6``. Bytes are compared first, then names as they are shown, so
    a shown name can be typed.
    """
    if not text:
        return []
    regions = [region for region in space.regions() if region.path and region.start < user_limit()]
    files = [region for region in regions if region.path.startswith(b"/")]
    others = [region for region in regions if not region.path.startswith(b"/")]
    typed = kernel_text.exact(text)
    for said in (bytes, lambda path: kernel_text.shown(path).encode()):
        if found := [region for region in others if typed in (said(region.path), said(region.path.strip(b"[]")))]:
            return found
        for part in (bytes, _file):
            for region in files:
                whole, linked = said(part(region.path)), said(part(region.linked))
                if typed == whole or (typed == linked and space.is_deleted(region)):
                    found.append(region)
            if found:
                return found
    return [region for region in files if re.split(rb"[.-]", _file(region.linked), maxsplit=1)[0] == typed]


def _file(path: bytes) -> bytes:
    """Return the part after the last slash of a path. Names of the kernel and of memfds may have slashes, and stay."""
    if path.startswith(_MEMFD):
        return path.removeprefix(b"/")
    return path.rpartition(b"/")[2] if path.startswith(b"/") else path


def _hex(address: int) -> str:
    """Return an address as messages show it; a number that is far too long is cut."""
    return cut(f"{address:#x}", _LONGEST)


def _check(address: int) -> None:
    limit = user_limit()
    if 0 <= address < limit:
        return
    if address < 0 or address >= 1 << 64:
        message = (
            f"{_hex(address)} is not a 64-bit address; type one between 0 and {limit - 1:#x}, or a range as 0x0-0x1000"
        )
    elif address >= (1 << 64) - limit:
        message = f"{address:#x} is a kernel address; user addresses end at {limit - 1:#x}"
    else:
        message = f"{address:#x} is not canonical: no address between {limit:#x} and {(1 << 64) - limit:#x} exists"
    raise TargetError(message)
