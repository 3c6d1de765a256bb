"""The types of swap entries: which number is a swap device, and which a special entry.

The numbers are counted down from 31 at compile time (include/linux/swap.h), so they depend on the configuration and on
the release: `tail` is that file's order, from ``MAX_SWAPFILES`` on.
"""

from __future__ import annotations

from dataclasses import dataclass

_TYPES = 1 << 5  # MAX_SWAPFILES_SHIFT


@dataclass(frozen=True, slots=True)
class SwapTypes:
    """What the types of swap entries mean to one kernel.

    Attributes:
        types: State and kind of each of the 32 types.
        marker_bits: Kinds that the low bits of a marker's offset stand for, lowest first.
        pfn_bits: How many low bits of an offset hold a page frame number (``SWP_PFN_BITS``).

    """

    types: tuple[tuple[str, str | None], ...]
    marker_bits: tuple[str, ...]
    pfn_bits: int


def swap_types(features: frozenset[str], pfn_bits: int) -> SwapTypes:
    """Return the types of a kernel with these features.

    Args:
        features: Of `pte_magic.formats.features.FEATURES`.
        pfn_bits: How wide a page frame number may be: ``MAX_PHYSMEM_BITS - PAGE_SHIFT``, asm/sparsemem.h.

    """
    tail: list[tuple[str, str | None]] = []
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
    devices: list[tuple[str, str | None]] = [("swap", None)] * (_TYPES - len(tail))
    return SwapTypes(tuple(devices + tail), ("uffd_wp", "poisoned", "guard"), pfn_bits)
