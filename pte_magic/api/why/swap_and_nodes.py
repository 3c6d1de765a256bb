"""Checks that tell why pages are swapped out, and why they are on these nodes."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from pte_magic.api.why.facts import SHMEM
from pte_magic.api.why.of_host import words
from pte_magic.api.why.rows import NODES, SWAP, Row, as_root, part
from pte_magic.errors import PteMagicError
from pte_magic.linux import free_memory, kernel_text, memory_cgroups, numa_maps
from pte_magic.linux.hardware import PAGE_SIZE
from pte_magic.text.units import counted, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic.api.why.facts import Facts
    from pte_magic.linux.memory_cgroups import Limits
    from pte_magic.linux.numa_maps import Placed

_POLICIES = {
    "default": "memory is taken where the thread runs that touches it first",
    "local": "memory is taken where the thread runs that touches it first",
    "bind": "memory is taken on these nodes only",
    "prefer": "memory is taken there while there is some",
    "prefer (many)": "memory is taken there while there is some",
    "interleave": "pages take turns between these nodes",
    "weighted interleave": "pages take turns between these nodes, by weights",
}
_BALANCING = "/proc/sys/kernel/numa_balancing"


def swap(facts: Facts) -> Iterator[Row]:
    """Yield the results of the checks, if something is swapped out."""
    # Entries do not tell that shared memory is swapped out: smaps does, of the whole region.
    shared = sum(one.mapping.bytes.get("Swap", 0) for one in facts.parts if one.kind == SHMEM)
    swapped = facts.measured.bytes.swapped + min(shared, facts.measured.bytes.absent)
    if not swapped:
        return
    yield Row(
        "swapped out", f"{part(swapped, facts)}", forbids=False, bytes=swapped, about=SWAP,
        type_this="read it: each page comes back when it is touched",
    )  # fmt: skip
    limits = memory_cgroups.of_process(facts.space.file("cgroup"))
    if limits is not None:
        yield _cgroup(limits, swapped)
    available = free_memory.meminfo().get("MemAvailable")
    if available is not None:
        tight = available < swapped
        line = f"the host has {size(available)} of memory left"
        yield Row("available memory", line, forbids=tight, bytes=swapped if tight else None, line=line, about=SWAP)
    if (spaces := free_memory.swap_spaces()) is not None:
        yield Row("swap space", f"{size(spaces[1])} of {size(spaces[0])} used", about=SWAP)
    swappiness = limits.swappiness if limits and limits.swappiness is not None else free_memory.swappiness()
    if swappiness is not None:
        found = f"{swappiness}: at 0, files are dropped from memory first; at 200, programs are swapped out first"
        yield Row("swappiness", found, type_this=as_root("sysctl vm.swappiness=1"), about=SWAP)


def _cgroup(limits: Limits, swapped: int) -> Row:
    found = words(limits)
    if limits.swap_usage is not None:
        most = "max" if limits.swap_limit is None else size(limits.swap_limit)
        found += f"; {size(limits.swap_usage)} of {most} swapped out"
    room, limit, file = limits.room, limits.limit, limits.file
    if limits.high is not None and (left := max(limits.high - limits.usage, 0)) < room:
        # From there on the kernel takes memory back from it (mem_cgroup_handle_over_high(), mm/memcontrol.c).
        room, limit, file = left, limits.high, limits.high_file
    if room >= swapped:
        return Row("memory cgroup", found, about=SWAP)
    line = f"its memory cgroup has room for {size(room)} only"
    more = (limit or limits.usage) + 2 * swapped
    return Row("memory cgroup", found, True, swapped, as_root(f"echo {more} > {shlex.quote(file)}"), line, SWAP)  # noqa: FBT003  (a column)


def nodes(facts: Facts) -> Iterator[Row]:
    """Yield the results of the checks, if the memory is on several nodes, or a policy says where it may be."""
    starts = {one.mapping.region.start for one in facts.parts}
    try:
        placed = numa_maps.of_numa_maps(facts.space.file("numa_maps"), starts, PAGE_SIZE)
    except PteMagicError:
        return
    here = [placed[start] for start in sorted(starts & placed.keys())]
    by_node: dict[int, int] = {}
    for each in here:
        for node, count in each.bytes.items():
            by_node[node] = by_node.get(node, 0) + count
    policies = list(dict.fromkeys(one.policy for one in here))
    if len(by_node) < 2 and all(policy in {"default", "local"} for policy in policies):  # noqa: PLR2004  (several)
        return
    places = ", ".join(f"{size(count)} on node {node}" for node, count in sorted(by_node.items())) or "none in memory"
    yield Row("nodes", f"{places} (of the whole {counted(len(here), 'region')})", line=places, about=NODES)
    yield from (_policy(policy, here) for policy in policies)
    allowed = facts.space.status().get("Mems_allowed_list")
    if allowed:
        yield Row("allowed nodes", f"{allowed} (cpuset)", about=NODES)
    try:
        balancing = kernel_text.text(_BALANCING).strip()
    except OSError:
        return
    on = "pages move to the node that uses them" if balancing != "0" else "pages stay where they are"
    todo = "" if balancing != "0" else as_root("sysctl kernel.numa_balancing=1")
    yield Row("NUMA balancing", f"{balancing}: {on}", type_this=todo, about=NODES)


def _policy(policy: str, here: list[Placed]) -> Row:
    name = policy.partition(":")[0].partition("=")[0]
    what = _POLICIES.get(name, "see set_mempolicy(2)")
    of = sum(sum(one.bytes.values()) for one in here if one.policy == policy)
    return Row(
        "memory policy", f"{policy}: {what}", forbids=name == "bind", bytes=of, about=NODES,
        line=f"the policy {policy}: {what}", type_this="pte_magic.workloads.move_to(NODE, array)",
    )  # fmt: skip
