"""Pages of hugetlb that are set aside for a while."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from handmade import GIB, HUGE

if TYPE_CHECKING:
    from collections.abc import Iterator

_POOLS = Path("/sys/kernel/mm/hugepages")


def sizes() -> list[int]:
    """Return the sizes of such pages that the kernel knows, in bytes, ascending."""
    return sorted(int(path.name[10:-2]) << 10 for path in _POOLS.glob("hugepages-*kB"))


@contextmanager
def pool(size: int = HUGE, pages: int = 2) -> Iterator[Path]:
    """Have so many more pages of a size; give the directory that counts them.

    What is as large as 1 GiB has to be there since the boot: hugepagesz=1G hugepages=1.
    """
    directory = _POOLS / f"hugepages-{size >> 10}kB"
    number = directory / "nr_hugepages"
    before = number.read_text(encoding="ascii")
    if size < GIB:
        number.write_text(str(int(before) + pages), encoding="ascii")
    assert int((directory / "free_hugepages").read_text(encoding="ascii"))
    try:
        yield directory
    finally:
        number.write_text(before, encoding="ascii")
