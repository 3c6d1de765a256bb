"""The kernel's settings for transparent huge pages: files below /sys/kernel/mm/transparent_hugepage, and prctl(2).

Source: Documentation/admin-guide/mm/transhuge.rst. Settings for each size are there since 6.8 (3485b88390b0 "mm: thp:
introduce multi-size THP sysfs interface"), those of shared memory since 6.11.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from pte_magic.linux import kernel_text, libc, sizes

DIRECTORY = Path("/sys/kernel/mm/transparent_hugepage")
_SIZE = re.compile(r"hugepages-(\d+)kB")
_PR_GET_THP_DISABLE = 42  # linux/prctl.h
COMPLETELY, EXCEPT_ADVISED = 1, 3
"""Results of `disabled`: the second is PR_THP_DISABLE_EXCEPT_ADVISED, since 6.18."""


class OfSize(NamedTuple):
    """The chosen words for huge pages of one size; empty where the kernel has no such file.

    Attributes:
        anonymous: ``always``, ``inherit``, ``madvise`` or ``never``.
        shared: The same for shared memory: ``always``, ``inherit``, ``within_size``, ``advise`` or ``never``.

    """

    anonymous: str
    shared: str


class Settings(NamedTuple):
    """All settings, as they are now.

    Attributes:
        huge: Bytes of a huge page that an entry of the level above the lowest maps.
        enabled: ``always``, ``madvise`` or ``never``; empty if it cannot be read.
        defrag: ``always``, ``defer``, ``defer+madvise``, ``madvise`` or ``never``; empty likewise.
        shmem_enabled: Of shared memory without a mount of its own; empty likewise.
        of_size: The settings of each size, by its bytes; empty before 6.8.
        khugepaged: The numbers of its files, by their names.

    """

    huge: int
    enabled: str
    defrag: str
    shmem_enabled: str
    of_size: dict[int, OfSize]
    khugepaged: dict[str, int]

    @property
    def anonymous(self) -> str:
        """The word that holds for anonymous huge pages of the size `huge`; empty if it cannot be read."""
        own = self.of_size.get(self.huge)
        return self.enabled if own is None or own.anonymous in {"", "inherit"} else own.anonymous

    @property
    def shared(self) -> str:
        """The word that holds for huge pages of the size `huge` in shared memory without a mount of its own."""
        own = self.of_size.get(self.huge)
        if self.shmem_enabled in {"deny", "force"} or own is None or own.shared in {"", "inherit"}:
            return self.shmem_enabled
        return own.shared


def settings() -> Settings | None:
    """Return the settings; None if the kernel has no transparent huge pages, or none are shown here."""
    if not DIRECTORY.is_dir():
        return None
    of_size = {
        int(found[1]) << 10: OfSize(_chosen(path / "enabled"), _chosen(path / "shmem_enabled"))
        for path in sorted(DIRECTORY.iterdir())
        if (found := _SIZE.fullmatch(path.name))
    }
    khugepaged = DIRECTORY / "khugepaged"
    names = [path.name for path in khugepaged.iterdir()] if khugepaged.is_dir() else []
    numbers = {name: number for name in names if (number := _number(khugepaged / name)) is not None}
    return Settings(
        _number(DIRECTORY / "hpage_pmd_size") or sizes.huge(),
        _chosen(DIRECTORY / "enabled"),
        _chosen(DIRECTORY / "defrag"),
        _chosen(DIRECTORY / "shmem_enabled"),
        dict(sorted(of_size.items())),
        numbers,
    )


def disabled() -> int:
    """Return what prctl(2) has disabled for this process: 0, `COMPLETELY` or `EXCEPT_ADVISED`."""
    try:
        return libc.prctl(_PR_GET_THP_DISABLE)
    except OSError:  # a filter of system calls
        return 0


def _chosen(path: Path) -> str:
    """Return the word in brackets, as in ``always [madvise] never``."""
    try:
        found = re.search(r"\[([\w+]+)\]", kernel_text.text(path))
    except OSError:
        return ""
    return found[1] if found else ""


def _number(path: Path) -> int | None:
    try:
        return int(kernel_text.read(path))
    except (OSError, ValueError):
        return None
