"""The types of swap entries: the numbers of swap devices, and those of special entries.

The numbers are counted down from 31 at compile time (include/linux/swap.h), so they depend on the configuration and on
the release: `tail` is that file's order, from ``MAX_SWAPFILES`` on.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

_TYPES = 1 << 5  # MAX_SWAPFILES_SHIFT

DOUBT = "?"
"""The last letter in the name of a feature that the kernel may or may not have."""
Meaning = tuple[str, str | None]
UNKNOWN: Meaning = ("", None)
"""The meaning of a type whose meaning is not known."""


@dataclass(frozen=True, slots=True)
class SwapTypes:
    """The meanings of the types of swap entries in one kernel.

    Attributes:
        types: State and kind of each of the 32 types.
        marker_bits: Kinds of the low bits in a marker's offset, lowest first.
        pfn_bits: The number of low bits of an offset that hold a page frame number (``SWP_PFN_BITS``).
        possible: The possible meanings of each type: several where they depend on a feature in doubt.

    """

    types: tuple[Meaning, ...]
    marker_bits: tuple[str, ...]
    pfn_bits: int
    possible: tuple[tuple[Meaning, ...], ...]


def swap_types(features: frozenset[str], pfn_bits: int) -> SwapTypes:
    """Return the types of a kernel with these features.

    Args:
        features: Features, of `pte_magic.formats.features.FEATURES`; those in doubt end in `DOUBT`.
        pfn_bits: The most bits of a page frame number: ``MAX_PHYSMEM_BITS - PAGE_SHIFT``, asm/sparsemem.h.

    """
    doubts: list[tuple[tuple[str, ...], ...]] = [((name,), ()) for name in _ASKED if name + DOUBT in features]
    each = [_types(features.union(*chosen)) for chosen in product(*doubts)]
    possible = tuple(tuple(dict.fromkeys(meanings)) for meanings in zip(*each, strict=True))
    types = tuple(meanings[0] if len(meanings) == 1 else UNKNOWN for meanings in possible)
    return SwapTypes(types, ("uffd_wp", "poisoned", "guard"), pfn_bits, possible)


# Each of these that is in doubt doubles what is possible. Others say nothing here, and a file may name any number.
_ASKED = ("memory_failure", "migration", "device_private", "device_exclusive_pair", "pte_marker", "swapin_error_type")


def _types(features: frozenset[str]) -> list[Meaning]:
    tail: list[Meaning] = []
    if "memory_failure" in features:
        tail.append(("hwpoison", None))
    if "migration" in features:
        tail += [("migration", kind) for kind in ("migration_read", "migration_read_exclusive", "migration_write")]
    if "device_private" in features:
        tail += [("device", kind) for kind in ("device_write", "device_read")]
        pair = "device_exclusive_pair" in features
        kinds = ("device_exclusive_write", "device_exclusive_read") if pair else ("device_exclusive",)
        tail += [("device", kind) for kind in kinds]
    if "pte_marker" in features:
        tail.append(("marker", None))
    if "swapin_error_type" in features:
        tail.append(("marker", "swapin_error"))
    devices: list[Meaning] = [("swap", None)] * (_TYPES - len(tail))
    return devices + tail
