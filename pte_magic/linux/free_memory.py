"""Free memory of this host: its pieces, how fragmented it is, and where memory is swapped to."""

from __future__ import annotations

from pte_magic.linux import kernel_text
from pte_magic.linux.hardware import PAGE_SIZE

_SMALLEST_ZONE = b"DMA"
"""The zone of old devices, 16 MiB of x86: other memory is taken first, and some of it is never given to programs."""


def pieces(size: int) -> int | None:
    """Return the number of free pieces of at least so many bytes, each of them whole, as /proc/buddyinfo has them.

    A larger piece counts for as many as fit. None if it cannot be read.
    """
    try:
        lines = kernel_text.lines(kernel_text.read("/proc/buddyinfo"))
    except OSError:
        return None
    order, found = _order(size), 0
    for line in lines:
        zone, *counts = line.partition(b"zone")[2].split()
        if zone != _SMALLEST_ZONE or len(lines) == 1:
            found += sum(int(count) << above for above, count in enumerate(counts[order:]))
    return found


def fragmentation(size: int) -> dict[str, float]:
    """Return the fragmentation of each zone, for pieces of so many bytes, by the zone's name.

    From 0, there is too little memory, to 1, there is enough, in small pieces; -1 if there is a free piece of that
    size: Documentation/admin-guide/sysctl/vm.rst, extfrag_threshold.

    Raises:
        OSError: Not permitted, or debugfs is not mounted or not configured.

    """
    found, order = {}, _order(size)
    for line in kernel_text.lines(kernel_text.read("/sys/kernel/debug/extfrag/extfrag_index")):
        where, _, rest = line.partition(b"zone")  # Node 0, zone   Normal -1.000 -1.000 …
        zone, *values = rest.split()
        if len(values) > order:
            node = kernel_text.shown(where.strip(b" ,").lower())
            found[f"{node} {kernel_text.shown(zone)}"] = float(values[order])
    return found


def meminfo() -> dict[str, int]:
    """Return the sizes of /proc/meminfo in bytes, by their names; none if it cannot be read."""
    try:
        found = kernel_text.fields(kernel_text.read("/proc/meminfo"))
    except OSError:
        return {}
    return {name: int(value[:-3]) << 10 for name, value in found.items() if value.endswith(b" kB")}


def refused() -> int | None:
    """Return how often since the boot a touch got small pages for want of a huge one; None if it cannot be read.

    That is ``thp_fault_fallback`` of /proc/vmstat.
    """
    try:
        lines = kernel_text.lines(kernel_text.read("/proc/vmstat"))
    except OSError:
        return None
    found = (line.split() for line in lines if line.startswith(b"thp_fault_fallback "))
    return next((int(number) for _, number in found), None)


def swap_spaces() -> tuple[int, int] | None:
    """Return the bytes of all places to swap to, and how many of them are used; None if that cannot be read."""
    try:
        lines = kernel_text.lines(kernel_text.read("/proc/swaps"))[1:]  # after the line of titles
    except OSError:
        return None
    columns = [line.split()[-3:-1] for line in lines]
    return sum(int(size) for size, _ in columns) << 10, sum(int(used) for _, used in columns) << 10


def swappiness() -> int | None:
    """Return how gladly the kernel swaps, from 0 to 200: vm.swappiness; None if that cannot be read."""
    try:
        return int(kernel_text.read("/proc/sys/vm/swappiness"))
    except (OSError, ValueError):
        return None


def _order(size: int) -> int:
    return (size // PAGE_SIZE).bit_length() - 1
