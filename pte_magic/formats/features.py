"""Features of kernels that change the meaning of bits, by name, and their detection on the running kernel."""

from __future__ import annotations

import functools
import gzip
import mmap
import platform
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pte_magic.errors import PteMagicError
from pte_magic.formats.swap_types import DOUBT
from pte_magic.linux import hardware, kernel_text, libc, pagemap

if TYPE_CHECKING:
    from collections.abc import Callable

    from pte_magic.formats.releases import Named, Release

    Has = Callable[[str, str], bool]
    Knows = Callable[[str], bool]

BTF = Path("/sys/kernel/btf/vmlinux")


class Feature(NamedTuple):
    """A difference between kernels.

    Attributes:
        meaning: The difference in words.
        formats: The first letters of the formats whose kernels may have it.
        since: The first release with it, or None for all before `until`.
        until: The first release without it, or None.
        usual: True if a kernel of such a release has it in the configuration of distributions.
        earlier: Formats whose kernels usually have it since another release.
        differs: The first release since which all distributions have it, if some had it earlier.

    """

    meaning: str
    formats: tuple[str, ...] = ("x86", "arm64")
    since: Release | None = None
    until: Release | None = None
    usual: bool = True
    earlier: tuple[tuple[str, Release], ...] = ()
    differs: Release | None = None


_X64, _X86, _BOTH64, _ARM = ("x86_64",), ("x86",), ("x86_64", "arm64"), ("arm64",)

FEATURES = {
    "migration": Feature("moves pages between page frames (CONFIG_MIGRATION)"),
    "memory_failure": Feature("stops using broken page frames (CONFIG_MEMORY_FAILURE)"),
    "device_private": Feature("keeps pages in a device's memory (CONFIG_DEVICE_PRIVATE)", _BOTH64, (6, 12),
                              differs=(7, 2)),
    "device_exclusive_pair": Feature("has two types of device-exclusive entries, before 6.15", until=(6, 15)),
    "pte_marker": Feature("markers in empty entries (always since 6.2, CONFIG_PTE_MARKER before)", since=(6, 2),
                          earlier=(("x86_64", (5, 19)),)),
    "swapin_error_type": Feature("failed swap-ins have a type of their own, 5.19 to 6.1", since=(5, 19), until=(6, 2)),
    "soft_dirty": Feature("tracks soft-dirty pages (CONFIG_MEM_SOFT_DIRTY)", _X64),
    "devmap58": Feature("bit 58 is DEVMAP, before 6.6", _X64, until=(6, 6)),
    "devmap57": Feature("bit 57 is DEVMAP, 6.6 to 6.16", _X64, (6, 6), (6, 17)),
    "devmap": Feature("bit 57 is DEVMAP, to 6.16", _ARM, until=(6, 17)),
    "saved_dirty": Feature("a bit is SAVED_DIRTY, since 6.6: bit 58, on 32-bit x86 bit 10", _X86, (6, 6)),
    "numa_balancing": Feature("takes access to pages away to see which node uses them (sysctl kernel.numa_balancing)",
                              _BOTH64, usual=False),
    "five_levels": Feature("has five levels of page tables", ("x86_64",), usual=False),
    "swp_exclusive": Feature("bit 7 of swap entries is exclusive, since 6.3", ("x86_32", "x86_pae"), (6, 3)),
    "sparsemem": Feature("memory has sections (CONFIG_SPARSEMEM)", ("x86_pae",), usual=False),
    "present_invalid": Feature("bit 11, nG, is PRESENT_INVALID where an entry is not valid, and swap types begin at "
                               "bit 6, since 6.10", _ARM, (6, 10)),
    "prot_none58": Feature("bit 58 is PROT_NONE, and swap types begin at bit 3, before 6.10", _ARM, until=(6, 10)),
    "uffd_wp": Feature("write-protects for userfaultfd, bit 58 and bit 3 of swap entries, since 6.10", _ARM, (6, 10)),
    "shadow_stack": Feature("has shadow stacks for users, and so has the CPU: x86-64 since 6.6, arm64 (GCS) since 6.13",
                            _BOTH64, (6, 13), earlier=(("x86_64", (6, 6)),)),
    "uffd_rwp": Feature("takes all access away for userfaultfd, by the same bit (not in 7.2)", _BOTH64, usual=False),
    "poe": Feature("has protection keys, and so has the CPU (FEAT_S1POE), since 6.12", _ARM, (6, 12), usual=False),
    "pa52": Feature("is made for physical addresses of 52 bits (CONFIG_ARM64_PA_BITS_52)", ("arm64_64k",)),
}  # fmt: skip
"""All of them, by name."""


def of_release(encoding: str, release: Release) -> frozenset[str]:
    """Return the features of a release's kernel in the configuration of distributions."""
    return frozenset(
        name
        for name, found in FEATURES.items()
        if found.usual
        and encoding.startswith(found.formats)
        and release >= (dict(found.earlier).get(encoding) or found.since or (0, 0))
        and (found.until is None or release < found.until)
    )


def of_named(encoding: str, named: Named) -> frozenset[str]:
    """Return the features of the kernel of a named release.

    A feature in which distributions differ ends in `DOUBT` if the name does not include the distribution.
    """
    found = set(of_release(encoding, named.release))
    for name, feature in FEATURES.items():
        if feature.differs and named.release < feature.differs and encoding.startswith(feature.formats):
            has = named.configured(name)
            found.discard(name)
            found |= {name + DOUBT} if has is None else {name} if has else set()
    return frozenset(found)


@functools.cache
def running() -> frozenset[str]:
    """Return the features of the running kernel; looked up once."""
    config, knows, encoding = _config(), _names(), hardware.encoding()

    def has(option: str, name: str) -> bool:
        """Check the configuration if it can be read, else a function of the kernel that needs the option."""
        return f"\nCONFIG_{option}=y\n" in config if config else knows(name)

    features = _of_all(has, knows)
    for prefix, look in (("x86", _of_x86), ("x86_64", _of_x86_64), ("arm64", _of_arm64)):
        if encoding.startswith(prefix):
            features |= look(has, knows)
    return frozenset(name for name, there in features.items() if there and encoding.startswith(FEATURES[name].formats))


def _of_all(has: Has, knows: Knows) -> dict[str, bool]:
    # ca92ea3dc5a2 "mm: always compile in pte markers" and 15520a3f0469 "mm: use pte markers for swap errors"
    # (6.2) left no name behind; in the same release, 6a56ccbcf6c6 made these functions of their own. Some kernels have
    # just one of them: the second one needs huge pages, and may be inlined.
    always_marks = knows("can_change_pte_writable") or knows("can_change_pmd_writable")
    return {
        "migration": has("MIGRATION", "migration_entry_wait"),
        "memory_failure": has("MEMORY_FAILURE", "memory_failure_queue"),
        "device_private": has("DEVICE_PRIVATE", "make_device_exclusive")
        or has("DEVICE_PRIVATE", "make_device_exclusive_range"),
        # c25465eb7630 "mm: use single SWP_DEVICE_EXCLUSIVE entry type" (6.15), the series that renamed the function
        "device_exclusive_pair": knows("make_device_exclusive_range"),
        "pte_marker": always_marks,
        "swapin_error_type": not always_marks,
        "numa_balancing": _moves_between_nodes(),
        # Reviewed for mm in 2026; the bit says that userfaultfd protects a page, and no longer from what.
        "uffd_rwp": has("USERFAULTFD_RWP", "VMA_UFFD_RWP_BIT"),
    }


def _of_x86(has: Has, knows: Knows) -> dict[str, bool]:
    return {
        # The commit that took a bit for SAVED_DIRTY (6.6)
        "saved_dirty": knows("arch_check_zapped_pte"),
        # "mm/x86: support __HAVE_ARCH_PTE_SWP_EXCLUSIVE on 32bit" (6.3); the function is of the same release.
        "swp_exclusive": knows("do_vmi_munmap"),
        "sparsemem": has("SPARSEMEM", "sparse_init"),
    }


def _of_x86_64(has: Has, knows: Knows) -> dict[str, bool]:
    found = {
        "soft_dirty": _tracks_soft_dirty(),
        # The kernel clears the flag if it was not configured with X86_USER_SHADOW_STACK (6.6).
        "shadow_stack": hardware.has_cpu_flag("user_shstk") is True,
        # SAVED_DIRTY (6.6) moved DEVMAP from 58 to 57; d438d2734170 removed DEVMAP (6.17).
        "devmap57": knows("arch_check_zapped_pte") and knows("follow_devmap_pmd"),
        "devmap58": not knows("arch_check_zapped_pte") and knows("follow_devmap_pmd"),
    }
    # Before 6.2, only an architecture that can write-protect for userfaultfd had markers: x86-64 was the only one.
    return found | ({"pte_marker": True} if has("PTE_MARKER", "handle_userfault") else {})


def _of_arm64(has: Has, knows: Knows) -> dict[str, bool]:
    # 5b32510af77b "arm64/mm: Add uffd write-protect support" (6.10) came with "arm64/mm: Move PTE_PRESENT_INVALID to
    # overlay PTE_NG", which is there without userfaultfd, too. The function is of the same release.
    protects = has("HAVE_ARCH_USERFAULTFD_WP", "vmalloc_noprof") and has("USERFAULTFD", "handle_userfault")
    new = protects or knows("vmalloc_noprof")
    return {
        "present_invalid": new,
        "prot_none58": not new,
        "uffd_wp": protects,
        "devmap": knows("follow_devmap_pmd"),  # d438d2734170 removed it (6.17)
        "poe": has("ARM64_POE", "arch_set_user_pkey_access") and bool(_hardware_capabilities(2) >> 63 & 1),
        "shadow_stack": bool(_hardware_capabilities(1) >> 32 & 1),  # GCS: only if ARM64_GCS was configured (6.13)
        "pa52": has("ARM64_PA_BITS_52", "CONFIG_ARM64_PA_BITS_52"),
    }


def _hardware_capabilities(which: int) -> int:
    """Return HWCAP or HWCAP2 of this process (arch/arm64/include/uapi/asm/hwcap.h)."""
    return libc.getauxval({1: 16, 2: 26}[which])


def _config() -> str:
    """Return the kernel's configuration; empty if it cannot be read."""
    release = platform.release()
    try:
        return "\n" + gzip.decompress(kernel_text.read("/proc/config.gz")).decode(errors="backslashreplace")
    except OSError:
        pass
    for path in (
        f"/boot/config-{release}",
        f"/usr/lib/modules/{release}/config",
        f"/usr/src/linux-headers-{release}/.config",
    ):
        try:
            return "\n" + kernel_text.text(path)
        except OSError:
            continue
    return ""


def _names() -> Callable[[str], bool]:
    """Return a test for a function, type or enumerator of the kernel by name; no privilege is needed."""
    try:
        btf = kernel_text.read(BTF)
    except OSError:
        symbols = _symbols()
        return lambda name: b" " + name.encode() + b"\n" in symbols
    return lambda name: b"\0" + name.encode() + b"\0" in btf


def _symbols() -> bytes:
    """Return the names of the kernel's symbols; without CAP_SYSLOG, only their addresses are zero.

    Raises:
        PteMagicError: They cannot be read, as where /proc has only processes (``subset=pid``).

    """
    try:
        return kernel_text.read("/proc/kallsyms")
    except OSError as error:
        message = f"the meaning of this kernel's bits is in {BTF} or /proc/kallsyms, and neither can be read"
        raise PteMagicError(message) from error


def _tracks_soft_dirty() -> bool:
    """Tell whether a page is soft-dirty just after a write: it always is where the kernel tracks it."""
    with mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        page[0] = 1
        address = np.frombuffer(page, np.uint8).ctypes.data
        return bool(pagemap.own_word(address) & pagemap.SOFT_DIRTY)


def _moves_between_nodes() -> bool:
    try:
        return kernel_text.text("/proc/sys/kernel/numa_balancing").strip() != "0"
    except OSError:
        return False
