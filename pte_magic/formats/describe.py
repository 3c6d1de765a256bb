"""One entry, taken apart: each of its 64 bits belongs to a part that has a name, a value and a meaning.

Every picture of an entry shows these parts, and they come from the one table of fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.formats import decode
from pte_magic.formats.field import KINDS, STATES, Field, Shape
from pte_magic.formats.known import fields
from pte_magic.formats.plan import CACHES
from pte_magic.units import size
from pte_magic.walkers.entries import LEVELS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic.formats.kernel import Kernel

READERS = {"cpu": "CPU", "linux": "Linux", "nobody": "nobody"}
"""Who reads a part, as a person would say it."""

_SAYS = {
    "none": "empty, nothing is mapped in these {size}",
    "table": "points to the next table, at physical address {physical}",
    "present": "maps {size} at physical address {physical}",
    "splitting": "being split or changed, not there for the CPU now: {size} in memory at physical address {physical}",
    "protnone": "no access is allowed to these {size}, which are in memory at physical address {physical}",
    "swap": "swapped out, to page {swap_offset} of swap device {swap_type}",
    "migration": "on the way from page frame {pfn} to another",
    "device": "in a device's memory, page frame {pfn}",
    "hwpoison": "page frame {pfn} is broken, the hardware says",
    "marker": "marks an empty place: {kind}",
}
_SAYS_HIDDEN = _SAYS | {
    "table": "points to the next table",
    "present": "maps {size}",
    "splitting": "being split or changed, not there for the CPU now: {size} in memory",
    "protnone": "no access is allowed to these {size}, which are in memory",
    "swap": "swapped out",
    "migration": "on the way from one page frame to another",
    "device": "in a device's memory",
    "hwpoison": "its page frame is broken, the hardware says",
}
HIDDEN = "hidden"
"""What is said of a page frame or swap location that was taken out of an entry."""


class Part(NamedTuple):
    """Some neighbouring bits of an entry.

    Attributes:
        name: The kernel's name, in lower case; empty if nobody reads these bits.
        low: Number of the lowest bit.
        width: How many bits there are.
        value: What they hold, as it lies in the entry.
        says: What that says.
        meaning: What these bits are for.
        by: Who reads them, a key of `READERS`.
        source: Where that is written.

    """

    name: str
    low: int
    width: int
    value: int
    says: str
    meaning: str
    by: str
    source: str

    @property
    def bits(self) -> str:
        """The numbers of its bits, as in manuals: ``51:12``, or ``63``."""
        return f"{self.low + self.width - 1}:{self.low}" if self.width > 1 else f"{self.low}"


class Description(NamedTuple):
    """What an entry says.

    Attributes:
        entry: The raw entry.
        level: Where it was found, one of ``LEVELS``.
        state: One of ``STATES``.
        kind: One of ``KINDS``, or empty.
        says: What it says, in some words.
        parts: All its bits, the highest first.
        width: How many bits it has.

    """

    entry: int
    level: str
    state: str
    kind: str
    says: str
    parts: tuple[Part, ...]
    width: int = 64


def describe(entry: int, level: str, kernel: Kernel, *, covers: int | None = None) -> Description:
    """Take an entry apart.

    Args:
        entry: The raw entry.
        level: Where it was found, one of ``LEVELS``.
        kernel: What the kernel that it comes from does with the bits.
        covers: Bytes that it covers; by default those of its level.

    """
    raw, code = np.array([entry], np.uint64), np.array([LEVELS.index(level)], np.int8)
    shape = decode.shape(raw, code, kernel)
    values = {name: _value(column) for name, column in decode.columns(raw, code, kernel).items()}
    state = STATES[values.get("state", 0)]
    kind_code = values.get("kind", -1)
    kind = KINDS[kind_code] if kind_code is not None and kind_code >= 0 else ""
    covered = covers or 1 << kernel.shift(level)
    known = _words(values, kernel) | {"kind": kind or "of unknown kind", "size": size(covered)}
    says = (_SAYS_HIDDEN if kernel.frames_hidden else _SAYS)["splitting" if kind == "splitting" else state]
    says = says.format(**known)
    if (values.get("mapped") or 0) > covered:
        says += f", one of a block of {size(values['mapped'])}"
    parts = tuple(_parts(entry, shape, state, kind, known, kernel))
    return Description(entry, level, state, kind, says, parts, kernel.format.bits)


def hexadecimal(entry: int, width: int) -> str:
    """Return an entry of so many bits as one writes it."""
    return f"{entry:#0{2 + width // 4}x}"


def _value(column: decode.Column) -> Any:
    """Return the only value of a column; None if it is missing."""
    if column.missing is not None and column.missing[0]:
        return None
    return column.values[0].item()


def _words(values: dict[str, Any], kernel: Kernel) -> dict[str, str]:
    """Return the numbers that an entry holds in some encoding, as one writes them."""
    words = {name: f"{values[name]:#x}" for name in ("pfn", "swap_offset") if values.get(name) is not None}
    if "pfn" in words:
        words["physical"] = f"{values['pfn'] << kernel.format.page_shift:#x}"
    if values.get("swap_type") is not None:
        words["swap_type"] = str(values["swap_type"])
    if values.get("cache", -1) not in {None, -1}:
        words["cache"] = CACHES[values["cache"]]
    return words


def _parts(  # noqa: PLR0913, PLR0917  (what a part may tell of)
    entry: int, shape: Shape, state: str, kind: str, known: dict[str, str], kernel: Kernel
) -> Iterator[Part]:
    """Yield the parts, the highest first, and between them what nobody reads."""
    above = kernel.format.bits
    for field in sorted((field for field in fields(kernel) if shape in field.shapes), key=lambda field: -field.low):
        end = field.low + field.width
        if end < above:
            yield _unread(entry, end, above)
        value = field.value(entry)
        says = _says(field, value, shape, state, kind, known, kernel)
        yield Part(field.name, field.low, field.width, value, says, field.meaning, field.by, field.source)
        above = field.low
    if above:
        yield _unread(entry, 0, above)


def _unread(entry: int, low: int, end: int) -> Part:
    value = entry >> low & (1 << end - low) - 1
    return Part("", low, end - low, value, "", "nobody reads these bits", "nobody", "")


def _says(  # noqa: PLR0913, PLR0917  (as above)
    field: Field, value: int, shape: Shape, state: str, kind: str, known: dict[str, str], kernel: Kernel
) -> str:
    if field.address is not None:
        if "pfn" not in known:
            return HIDDEN
        inverted = ", bits inverted" if shape in kernel.format.inverted else ""
        return f"page frame {known['pfn']}, physical address {known['physical']}{inverted}"
    if field.name == "offset":
        return f"page frame {known['pfn']}" if "pfn" in known else known.get("swap_offset", HIDDEN)
    if field.name == "type":
        return (f"swap device {value}" if "swap_type" in known else HIDDEN) if state == "swap" else kind or state
    if field.name in kernel.format.cache_fields:
        return f"{value} (memory type {known['cache']})" if "cache" in known else str(value)
    return ("yes" if value else "no") if field.width == 1 else str(value)
