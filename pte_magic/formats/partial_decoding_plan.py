"""The part of a plan that decodes some columns."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

from pte_magic.formats.decoding_plan import plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic.formats.decoding_plan import Pick, Plan
    from pte_magic.formats.kernel import Kernel

ALL = (1 << 64) - 1
"""All bits of an entry."""
_OF_SWAPS = frozenset({"state", "kind", "pfn", "swap_type", "swap_offset", "uffd_wp"})


@functools.cache
def narrowed(kernel: Kernel, there: int, names: frozenset[str]) -> Plan:
    """Return the plan for some columns."""
    whole = plan(kernel, there)
    bits = names | {"cont"} if "mapped" in names else names
    return dataclasses.replace(
        whole,
        bits=tuple(bit for bit in whole.bits if bit.name in bits),
        derived=tuple(derived for derived in whole.derived if derived.name in names),
        picked=tuple(picked for picked in whole.picked if picked.name in names),
        frame_bits=whole.frame_bits if "pfn" in names else None,
        leaves=whole.leaves and "mapped" in names,
        splitting=whole.splitting and "kind" in names,
        swaps=whole.swaps and bool(names & _OF_SWAPS),
        not_present=whole.not_present and bool(names & {"kind", "pfn"}),
        shadow_stack=whole.shadow_stack if "kind" in names else (),
    )


@functools.cache
def bits_read(kernel: Kernel, there: int, names: frozenset[str]) -> int:
    """Return the bits of entries of one shape on which the values of some columns depend; perhaps more bits."""
    todo = narrowed(kernel, there, names)
    if "entry" in names or todo.frame_bits is not None or todo.swaps or todo.not_present:
        return ALL
    found = 0
    for mask in _masks(todo):
        found |= mask
    return found


def _masks(todo: Plan) -> Iterator[int]:
    for column in todo.bits:
        yield from (int(bit.mask) << 8 * bit.octet for bit in (column.bit, *column.elsewhere))
    for derived in todo.derived:
        yield from (int(mask) for mask, _ in derived.terms)
    for picked in todo.picked:
        yield from (_in_entry(pick) for pick in (*picked.small, *picked.big))
    yield from (int(mask) << 8 * octet for octet, mask, _ in todo.shadow_stack)


def _in_entry(pick: Pick) -> int:
    """Return the bits of an entry that a pick takes."""
    return (pick.mask << pick.right if pick.right > 0 else pick.mask >> -pick.right) << 8 * pick.octet
