"""What a kernel does with the bits that the hardware leaves to it, found out by looking, never by its version."""

from __future__ import annotations

import functools
import gzip
import mmap
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pte_magic import hardware
from pte_magic.formats.swap import SwapTypes, swap_types
from pte_magic.space import own

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BTF = Path("/sys/kernel/btf/vmlinux")

FEATURES = {
    "migration": "moves pages between frames (CONFIG_MIGRATION)",
    "memory_failure": "takes broken page frames away (CONFIG_MEMORY_FAILURE)",
    "device_private": "keeps pages in a device's memory (CONFIG_DEVICE_PRIVATE)",
    "device_exclusive_pair": "has two types of device-exclusive entries, before 6.15",
    "pte_marker": "markers in empty entries (always since 6.2, CONFIG_PTE_MARKER before)",
    "swapin_error_type": "failed swap-ins have a type of their own, before 6.2",
    "soft_dirty": "tracks soft-dirty pages (CONFIG_MEM_SOFT_DIRTY)",
    "devmap58": "bit 58 is DEVMAP, before 6.6",
    "devmap57": "bit 57 is DEVMAP, 6.6 to 6.16",
    "saved_dirty": "bit 58 is SAVED_DIRTY, since 6.6",
    "numa_balancing": "takes access to pages away to see which node uses them (sysctl kernel.numa_balancing)",
}


@dataclass(frozen=True, slots=True, eq=False)  # by identity: plans to decode are kept by kernel
class Kernel:
    """What one kernel does with the bits of its entries; needed to decode them.

    Attributes:
        features: Of `FEATURES`, those that it has.
        swap: What its types of swap entries mean.
        encryption_mask: The bit that says that memory is encrypted (C-bit), or 0.
        frames_hidden: Its entries come without page frame numbers and swap locations: see `formats.hidden`.

    """

    features: frozenset[str]
    swap: SwapTypes
    encryption_mask: int = 0
    frames_hidden: bool = False

    @property
    def physical_mask(self) -> int:
        """Bits of an entry that may belong to a physical address: 12 to 51, without the C-bit."""
        return 0x000F_FFFF_FFFF_F000 & ~self.encryption_mask


@functools.cache
def running(encryption_mask: int = 0, frames_hidden: bool = False) -> Kernel:  # noqa: FBT001, FBT002  (as of Entries)
    """Return what the running kernel does with the bits; looked up once."""
    return known(_features(), hardware.levels(), encryption_mask, frames_hidden)


@functools.cache
def known(
    features: frozenset[str],
    levels: int,
    encryption_mask: int,
    frames_hidden: bool,  # noqa: FBT001  (as of Entries)
) -> Kernel:
    """Return what a kernel with these `FEATURES` and levels of page tables does with the bits."""
    return Kernel(features, swap_types(features, levels), encryption_mask, frames_hidden)


def of_frame(attrs: Mapping[Any, Any]) -> Kernel:
    """Return what the running kernel does with the bits of entries in a frame that has these ``attrs``."""
    return running(int(attrs.get("encryption_mask", 0)), bool(attrs.get("frames_hidden", False)))


@functools.cache
def _features() -> frozenset[str]:
    config, knows = _config(), _names()

    def has(option: str, name: str) -> bool:
        """Ask the configuration if it is to be had, else whether the kernel has a function that needs the option."""
        return f"\nCONFIG_{option}=y\n" in config if config else knows(name)

    features = {
        "migration": has("MIGRATION", "migration_entry_wait"),
        "memory_failure": has("MEMORY_FAILURE", "memory_failure_queue"),
        "device_private": has("DEVICE_PRIVATE", "make_device_exclusive")
        or has("DEVICE_PRIVATE", "make_device_exclusive_range"),
        # c25465eb7630 "mm: use single SWP_DEVICE_EXCLUSIVE entry type" (6.15), the series that renamed the function
        "device_exclusive_pair": knows("make_device_exclusive_range"),
        # ca92ea3dc5a2 "mm: always compile in pte markers" and 15520a3f0469 "mm: use pte markers for swap errors"
        # (6.2) left no name behind; this one came in the same release.
        "pte_marker": knows("can_change_pmd_writable") or has("PTE_MARKER", "handle_userfault"),
        "swapin_error_type": not knows("can_change_pmd_writable"),
        "soft_dirty": _tracks_soft_dirty(),
        # The commit that took bit 58 for SAVED_DIRTY (6.6) moved DEVMAP to 57; d438d2734170 removed DEVMAP (6.17).
        "saved_dirty": knows("arch_check_zapped_pte"),
        "devmap57": knows("arch_check_zapped_pte") and knows("follow_devmap_pmd"),
        "devmap58": not knows("arch_check_zapped_pte") and knows("follow_devmap_pmd"),
        "numa_balancing": _moves_between_nodes(),
    }
    return frozenset(name for name, there in features.items() if there)


def _config() -> str:
    """Return the kernel's configuration, or nothing if it is not to be had."""
    release = platform.release()
    try:
        return "\n" + gzip.decompress(Path("/proc/config.gz").read_bytes()).decode()
    except OSError:
        pass
    for path in (
        f"/boot/config-{release}",
        f"/usr/lib/modules/{release}/config",
        f"/usr/src/linux-headers-{release}/.config",
    ):
        try:
            return "\n" + Path(path).read_text(encoding="utf-8")
        except OSError:
            continue
    return ""


def _names() -> Callable[[str], bool]:
    """Return a test whether the kernel has a function, type or enumerator of some name; its users may all ask that."""
    try:
        btf = BTF.read_bytes()
    except OSError:
        symbols = Path("/proc/kallsyms").read_bytes()  # names without CAP_SYSLOG too, only the addresses are zero
        return lambda name: b" " + name.encode() + b"\n" in symbols
    return lambda name: b"\0" + name.encode() + b"\0" in btf


def _tracks_soft_dirty() -> bool:
    """Tell whether a page that was just written is soft-dirty: it always is where the kernel tracks it."""
    with mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        page[0] = 1
        address = np.frombuffer(page, np.uint8).ctypes.data
        word = int.from_bytes(os.pread(own().fd, 8, address // mmap.PAGESIZE * 8), "little")
    return bool(word >> 55 & 1)


def _moves_between_nodes() -> bool:
    try:
        return Path("/proc/sys/kernel/numa_balancing").read_text(encoding="ascii").strip() != "0"
    except OSError:
        return False
