"""Checks of memory: the limit of the memory cgroup, free pieces, fragmentation, and the pools of hugetlb."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from pte_magic.api.why.facts import HUGETLB
from pte_magic.api.why.rows import NOT_READABLE, Row, against, as_root
from pte_magic.linux import free_memory, hugetlb_pools, memory_cgroups
from pte_magic.text.units import counted, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic.api.why.facts import Facts, Part
    from pte_magic.linux.hugetlb_pools import Pool
    from pte_magic.linux.memory_cgroups import Limits

_COMPACT = as_root("echo 1 > /proc/sys/vm/compact_memory")


def rows(facts: Facts) -> Iterator[Row]:
    """Yield the results of the checks."""
    not_of_pools = facts.of(lambda one: one.kind != HUGETLB)
    limits = memory_cgroups.of_process(facts.space.file("cgroup"))
    if limits is None:
        yield Row("memory cgroup", "none that can be read here")
    else:
        yield _cgroup(limits, facts.huge, not_of_pools)
    yield from _free(facts, not_of_pools)
    yield from _pools(facts)


def words(limits: Limits) -> str:
    """Return how much a memory cgroup uses, and how much it may."""
    most = "without a limit" if limits.limit is None else f"of {size(limits.limit)}"
    met = f", {counted(limits.met, 'time')} at its limit" if limits.met else ""
    return f"{limits.path} uses {size(limits.usage)} {most}, {size(limits.cached)} of it for files{met}"


def _cgroup(limits: Limits, huge: int, left: int) -> Row:
    if limits.room >= huge or limits.limit is None:
        return Row("memory cgroup", words(limits))
    line = f"its memory cgroup has room for {size(limits.room)} more, and a huge page needs {size(huge)}"
    more = limits.limit + max(left, 16 * huge)
    return against("memory cgroup", words(limits), left, as_root(f"echo {more} > {shlex.quote(limits.file)}"), line)


def _free(facts: Facts, left: int) -> Iterator[Row]:
    pieces, free = free_memory.pieces(facts.huge), free_memory.meminfo().get("MemFree")
    if pieces is None:
        yield Row("free memory", NOT_READABLE, None)
    else:
        found = f"{counted(pieces, 'free piece')} of {size(facts.huge)}"
        found += "" if free is None else f", {size(free)} free in all"
        if refused := free_memory.refused():
            found += f"; since the boot, {counted(refused, 'touch', 'touches')} got no huge page"
        line = f"no {size(facts.huge)} of free memory are in one piece" if pieces == 0 else ""
        yield against("free memory", found, left, _COMPACT, line) if pieces == 0 else Row("free memory", found)
    try:
        by_zone = free_memory.fragmentation(facts.huge)
    except PermissionError:
        yield Row("fragmentation", NOT_READABLE, None)
    except OSError:
        yield Row("fragmentation", "not readable: debugfs is not mounted, or the kernel has no extfrag", None)
    else:
        told = {-1.0: "a piece is free"}
        found = ", ".join(f"{zone}: {told.get(index, f'{index:g}')}" for zone, index in by_zone.items())
        yield Row("fragmentation", f"{found} (0: too little memory, 1: in small pieces)")
    if facts.settings and facts.settings.defrag:
        what = {
            "always": "a touch waits until there is a piece",
            "defer": "a touch does not wait; pieces are made later",
            "defer+madvise": "a touch waits for one only where memory asks for huge pages; else they are made later",
            "madvise": "a touch waits for one only where memory asks for huge pages",
            "never": "a touch takes a piece only if one is free",
        }
        word = facts.settings.defrag
        yield Row("defrag", f"{word}: {what.get(word, 'not known here')}")


def _pools(facts: Facts) -> Iterator[Row]:
    """Yield what there is in the pools: of the target's own, and whether these hold memory that others lack."""
    pools = hugetlb_pools.pools()
    own = [one for one in facts.parts if one.kind == HUGETLB]
    for page in dict.fromkeys(one.mapping.bytes.get("KernelPageSize", 0) for one in own):
        if (pool := pools.get(page)) is not None:
            parts = [one for one in own if one.mapping.bytes.get("KernelPageSize") == page]
            yield _own_pool(facts, page, pool, parts)
    others = [
        f"{counted(pool.pages, 'page')} of {size(page)}, {pool.free} free" for page, pool in pools.items() if pool.pages
    ]
    if not own and others:
        yield Row("hugetlb", f"{', '.join(others)}: set aside for programs that ask for these")


def _own_pool(facts: Facts, page: int, pool: Pool, parts: list[Part]) -> Row:
    found = f"{counted(pool.pages, 'page')} of {size(page)}: {pool.free} free, {pool.reserved} of them promised"
    absent = facts.of(lambda one: one.kind == HUGETLB and one.mapping.bytes.get("KernelPageSize") == page)
    unreserved = any("nr" in one.mapping.flags for one in parts)
    if not absent or not unreserved or pool.free > pool.reserved or pool.overcommit:
        return Row("hugetlb", found)
    line = f"the pool of pages of {size(page)} is empty: touching it would end the process (SIGBUS)"
    file = hugetlb_pools.DIRECTORY / f"hugepages-{page >> 10}kB" / "nr_hugepages"
    return against("hugetlb", found, absent, as_root(f"echo {pool.pages + -(-absent // page)} > {file}"), line)
