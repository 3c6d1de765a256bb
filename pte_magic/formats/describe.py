"""`describe`: one entry taken apart; each of its 64 bits belongs to a part with a name, a value and a meaning.

Every picture of an entry shows these parts, which come from the table of bit fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.formats import decode
from pte_magic.formats.decoding_plan import CACHES
from pte_magic.formats.field import KINDS, STATES, Field, Shape
from pte_magic.formats.kernel import fields
from pte_magic.formats.swap_types import DOUBT
from pte_magic.linux.geometry import LEVELS
from pte_magic.text.units import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic.formats.kernel import Kernel

UNKNOWN = "unknown"
"""The state of an entry whose state is not known."""
READERS = {"cpu": "CPU", "linux": "Linux", "nobody": "nobody"}
"""The readers of a part, in words."""

_SAYS = {
    "none": "empty, nothing is mapped in these {size}",
    "table": "points to the next page table, at physical address {physical}",
    "present": "maps {size} at physical address {physical}",
    "splitting": "being split or changed, not present for the CPU now: {size} in memory at physical address {physical}",
    "protnone": "no access is allowed to these {size}, which are in memory at physical address {physical}",
    "swap": "swapped out, to page {swap_offset} of swap device {swap_type}",
    "migration": "moving from page frame {pfn} to another",
    "device": "in a device's memory, page frame {pfn}",
    "hwpoison": "page frame {pfn} is broken, as the hardware reported",
    "marker": "marks an empty place: {kind}",
    "not_present": "not a swap entry, which would have other bits clear; it can be a page of the kernel's own that was "
    "made not present, at physical address {physical}",
    UNKNOWN: "{kind}, depending on {doubts}; name the release, as `uname -r` prints it",
}
_SAYS_HIDDEN = _SAYS | {
    "table": "points to the next page table",
    "present": "maps {size}",
    "splitting": "being split or changed, not present for the CPU now: {size} in memory",
    "protnone": "no access is allowed to these {size}, which are in memory",
    "swap": "swapped out",
    "migration": "moving from one page frame to another",
    "device": "in a device's memory",
    "hwpoison": "its page frame is broken, as the hardware reported",
    "not_present": "not a swap entry, which would have other bits clear; it can be a page of the kernel's own that was "
    "made not present",
}
_BY_KIND = {"splitting", "not_present"}
_SHADOW_STACK = ", of a shadow stack: calls and returns write to it, stores do not"
MOST_PAGES = 1 << 32
"""The most pages of a swap device: swap_info_struct.max is an unsigned int."""
_C_BITS = {1 << 47, 1 << 51}
"""Bits of memory encryption on AMD's processors; TDX has the same bits for memory shared with the host."""
HIDDEN = "hidden"
"""The text for a page frame or swap location that was taken out of an entry."""


class Part(NamedTuple):
    """Some neighbouring bits of an entry.

    Attributes:
        name: The kernel's name, in lower case; empty if nobody reads these bits.
        low: Number of the lowest bit.
        width: The number of bits.
        value: Their value in the entry.
        says: The value in words.
        meaning: The meaning of these bits; of a single bit, the meaning of its value.
        by: Their reader, a key of `READERS`.
        source: The text that defines them.

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
    """An entry in words.

    Attributes:
        entry: The raw entry.
        level: Its level, one of ``LEVELS``.
        state: One of ``STATES``, or `UNKNOWN`.
        kind: One of ``KINDS``, or empty.
        says: The entry in a few words.
        parts: All its bits, the highest first.
        width: The number of its bits.

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
        level: Its level, one of ``LEVELS``.
        kernel: The kernel that it comes from.
        covers: Bytes that it covers; by default those of its level.

    """
    raw, code = np.array([entry], np.uint64), np.array([LEVELS.index(level)], np.int8)
    shape = decode.shape(raw, code, kernel)
    values = {name: _value(column) for name, column in decode.columns(raw, code, kernel).items()}
    state_code, kind_code = values.get("state", 0), values.get("kind", -1)
    state = STATES[state_code] if state_code >= 0 else UNKNOWN
    kind = KINDS[kind_code] if kind_code is not None and kind_code >= 0 else ""
    covered = covers or 1 << kernel.shift(level)
    known = _words(values, kernel) | {"kind": kind or _possible(values, kernel), "size": size(covered)}
    known["doubts"] = " and ".join(f"CONFIG_{name[:-1].upper()}" for name in kernel.features if name.endswith(DOUBT))
    says = (_SAYS_HIDDEN if kernel.frames_hidden else _SAYS)[kind if kind in _BY_KIND else state].format(**known)
    if (values.get("mapped") or 0) > covered:
        says += f", one of a block of {size(values['mapped'])}"
    if kind == "shadow_stack":
        says += _SHADOW_STACK
    unit = covered if state in {"present", "protnone"} else 1 << kernel.format.page_shift
    says += _impossible(state, values, unit, kernel)
    parts = tuple(_parts(entry, shape, state, kind, known, kernel))
    return Description(entry, level, state, kind, says, parts, kernel.format.bits)


def _possible(values: dict[str, Any], kernel: Kernel) -> str:
    """Return the possible kinds of an entry without a known kind: all meanings that its type may have."""
    kind_of = values.get("swap_type")
    meanings = () if kind_of is None else kernel.swap.possible[kind_of]
    if len(meanings) < 2:  # noqa: PLR2004  (in doubt)
        return "of unknown kind"
    return " or ".join(kind or {"swap": "swapped out"}.get(state, state) for state, kind in meanings)


def _impossible(state: str, values: dict[str, Any], unit: int, kernel: Kernel) -> str:
    """Return why an entry is impossible: its place does not exist on any host; page frames have `unit` bytes."""
    if state == "swap" and (values.get("swap_offset") or 0) >= MOST_PAGES:
        return "; no swap device has so many pages"
    memory = kernel.format.memory_bits
    physical = (values.get("pfn") or 0) << kernel.format.page_shift
    high = physical >> memory << memory
    if not high:
        return ""
    beyond = f"; no host has memory above {size(1 << memory)}"
    inverted = (physical ^ kernel.physical_mask) // unit * unit
    if inverted < 1 << memory:
        return f"{beyond}; with inverted page frame bits it is {inverted:#x}"
    if high in _C_BITS and not kernel.encryption_mask:
        bit = high.bit_length() - 1
        says = f"bit {bit} may be memory encryption, with the address {physical ^ high:#x}"
        return f"{beyond}; {says}: decode(…, encryption_mask=1 << {bit}) reads it like that"
    return beyond


def hexadecimal(entry: int, width: int) -> str:
    """Return an entry of `width` bits in hex."""
    return f"{entry:#0{2 + width // 4}x}"


def _value(column: decode.Column) -> Any:
    """Return the only value of a column; None if it is missing."""
    if column.missing is not None and column.missing[0]:
        return None
    return column.values[0].item()


def _words(values: dict[str, Any], kernel: Kernel) -> dict[str, str]:
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
    """Yield the parts, the highest first, with the unread bits between them."""
    above = kernel.format.bits
    read_as = Shape.PAGE if shape == Shape.NOT_PRESENT else shape
    for field in sorted((field for field in fields(kernel) if read_as in field.shapes), key=lambda field: -field.low):
        end = field.low + field.width
        if end < above:
            yield _unread(entry, end, above)
        value = field.value(entry)
        says = _says(field, entry, shape, state, kind, known, kernel)
        yield Part(field.name, field.low, field.width, value, says, field.meant(entry), field.by, field.source)
        above = field.low
    if above:
        yield _unread(entry, 0, above)


def _unread(entry: int, low: int, end: int) -> Part:
    value = entry >> low & (1 << end - low) - 1
    return Part("", low, end - low, value, "", "nobody reads these bits", "nobody", "")


def _is_inverted(entry: int, shape: Shape, kernel: Kernel) -> bool:
    if shape == Shape.NOT_PRESENT:
        return bool(kernel.format.inverted) and bool(entry >> kernel.physical_mask.bit_length() - 1 & 1)
    return shape in kernel.format.inverted


def _says(  # noqa: PLR0913, PLR0917  (as above)
    field: Field, entry: int, shape: Shape, state: str, kind: str, known: dict[str, str], kernel: Kernel
) -> str:
    value = field.value(entry)
    if field.address is not None:
        if "pfn" not in known:
            return HIDDEN
        inverted = ", bits inverted" if _is_inverted(entry, shape, kernel) else ""
        return f"page frame {known['pfn']}, physical address {known['physical']}{inverted}"
    if field.name == "offset":
        return f"page frame {known['pfn']}" if "pfn" in known else known.get("swap_offset", HIDDEN)
    if field.name == "type":
        return _type_says(value, state, kind, known)
    if field.name in kernel.format.cache_fields:
        return f"{value} (memory type {known['cache']})" if "cache" in known else str(value)
    return ("yes" if value else "no") if field.width == 1 else str(value)


def _type_says(value: int, state: str, kind: str, known: dict[str, str]) -> str:
    if state == "swap":
        return f"swap device {value}" if "swap_type" in known else HIDDEN
    return known["kind"] if state == UNKNOWN else kind or state
