"""The kind of what regions map: files, shared memory, or hugetlb."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.linux import kernel_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pte_magic.linux.regions import Region

FILES, SHARED, HUGETLB = "files", "shared memory (tmpfs)", "hugetlb"
KINDS = (FILES, SHARED, HUGETLB)
"""Words for what is mapped."""

# Files of the kernel's own mounts, which no list has: shmem_zero_setup() in mm/shmem.c, memfd_create(2), ipc/shm.c.
_SHARED = (b"/dev/zero (deleted)", b"/memfd:", b"/SYSV")
_HUGETLB = b"/anon_hugepage"  # hugetlb_file_setup(), fs/hugetlbfs/inode.c
_KINDS = {b"tmpfs": SHARED, b"devtmpfs": SHARED, b"hugetlbfs": HUGETLB}


def kind(region: Region, mounts: Mapping[bytes, str], *, huge: bool) -> str | None:
    """Return the kind of what a region of a file maps; None if that is not known.

    Args:
        region: The region.
        mounts: The result of `kinds_of_mounts` for its process.
        huge: Whether some of its pages are huge: memfds and System V's segments may be of hugetlb, too.

    """
    if region.path.startswith(_HUGETLB):
        return HUGETLB
    if region.path.startswith(_SHARED):
        return None if huge else SHARED
    # Devices without a number of their own may have another one in maps, as of btrfs and overlayfs.
    return mounts.get(region.file[0], None if region.file[0].startswith(b"00:") else FILES)


def kinds_of_mounts(mountinfo: bytes) -> dict[bytes, str]:
    """Return the kind of each device in the text of a mountinfo file; devices are written as in maps."""
    found = {}
    for line in kernel_text.lines(mountinfo):
        fields = line.split(b" ")
        of = fields[fields.index(b"-") + 1]
        major, minor = map(int, fields[2].split(b":"))
        found[b"%02x:%02x" % (major, minor)] = _KINDS.get(of, FILES)
    return found
