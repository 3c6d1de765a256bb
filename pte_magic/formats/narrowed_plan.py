"""The part of a plan that decodes some columns."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

from pte_magic.formats.plan import plan

if TYPE_CHECKING:
    from pte_magic.formats.kernel import Kernel
    from pte_magic.formats.plan import Plan

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
