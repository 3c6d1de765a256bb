"""`Mapping`, a region with what /proc/PID/smaps says of it: bytes of each kind, flags, and whether it may be huge."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from pte_magic.linux import kernel_text, regions

if TYPE_CHECKING:
    from pte_magic.linux.regions import Region

_HEAD = re.compile(rb"[0-9a-f]+-[0-9a-f]+ \S{4} ([0-9a-f]+) ")
_RECORD = re.compile(rb"^[0-9a-f]+-([0-9a-f]+) .*\n(?:.*\n)*?VmFlags:.*\n", re.MULTILINE)
_OF_INODES = (b"/memfd:", b"/SYSV", b"/dev/zero (deleted)", b"[anon_shmem:")
"""Names in maps of files on the mount that the kernel has for itself: memfd_create(2), shmget(2), MAP_SHARED."""


class Mapping(NamedTuple):
    """A region, and its lines of /proc/PID/smaps.

    Attributes:
        region: The region.
        offset: Where it begins in its file, in bytes.
        bytes: The sizes, by their names, such as ``AnonHugePages``.
        flags: The two letters of each flag (``VmFlags``), such as ``hg``: Documentation/filesystems/proc.rst.
        eligible: ``THPeligible``; None if the kernel does not say (before 5.0).

    """

    region: Region
    offset: int
    bytes: dict[str, int]
    flags: frozenset[str]
    eligible: bool | None

    @property
    def shared(self) -> int:
        """The bytes of its pages that are mapped elsewhere, too."""
        return sum(count for name, count in self.bytes.items() if name.startswith("Shared_"))

    @property
    def private(self) -> int:
        """The bytes of its pages that are mapped here only."""
        return sum(count for name, count in self.bytes.items() if name.startswith("Private_"))

    @property
    def is_internal(self) -> bool:
        """True for shared memory on the mount that the kernel has for itself."""
        return bool(self.region.file[1]) and self.region.path.startswith(_OF_INODES)


class Until:
    """The end of what is read of smaps: all of the last region that has addresses below one.

    To make the lines of a region, the kernel looks at each of its pages. They end with the flags (``show_smap()``,
    fs/proc/task_mmu.c).
    """

    piece = 512  # a few lines

    def __init__(self, end: int) -> None:
        self._end, self._rest = end, b""

    def __call__(self, piece: bytes) -> bool:
        """Add the next piece of the text; tell whether that is all."""
        self._rest += piece
        while found := _RECORD.match(self._rest):
            if int(found[1], 16) >= self._end:
                return True
            self._rest = self._rest[found.end() :]
        return False


def of_smaps(text: bytes, directory: int, within: tuple[int, int]) -> list[Mapping]:
    """Return the mappings in the text of an smaps file that have addresses in a range, ascending.

    Args:
        text: The text.
        directory: The open /proc/PID.
        within: The first address of the range, and the first one after it.

    """
    found: list[Mapping] = []
    lines = kernel_text.lines(text)
    heads = [at for at, line in enumerate(lines) if _HEAD.match(line)]
    for at, after in zip(heads, [*heads[1:], len(lines)], strict=True):
        start, _, end = lines[at].partition(b" ")[0].partition(b"-")
        if int(end, 16) <= within[0] or int(start, 16) >= within[1]:
            continue
        head = _HEAD.match(lines[at])
        fields = kernel_text.fields(b"\n".join(lines[at + 1 : after]))
        sizes = {name: int(value[:-3]) << 10 for name, value in fields.items() if value.endswith(b" kB")}
        eligible = fields.get("THPeligible")
        found += [
            Mapping(
                region,
                int(head[1], 16) if head else 0,
                sizes,
                frozenset(fields.get("VmFlags", b"").decode().split()),
                None if eligible is None else eligible != b"0",
            )
            for region in regions.of_maps(lines[at], directory)
        ]
    return found
