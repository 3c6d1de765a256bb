"""Facts about the running host: its name, the format of its page tables, and its address widths."""

from __future__ import annotations

import ctypes
import functools
import os
import re

from pte_magic.errors import PteMagicError
from pte_magic.linux import geometry, kernel_text, libc

FIVE_LEVELS = 5
"""The result of `levels` with LA57 of x86-64, or LPA2 of arm64 with 4 KiB pages, in use; else there are fewer."""

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
"""Bytes of the smallest page."""

_ARM64_BITS = (52, 48, 47, 42, 39, 36)
"""Widths of a virtual address that arm64 kernels may have (ARM64_VA_BITS, arch/arm64/Kconfig)."""
_X86_32_LIMITS = (0xC000_0000, 0xB000_0000, 0x8000_0000, 0x7800_0000, 0x4000_0000)
"""Possible beginnings of the kernel's part on 32-bit x86 (PAGE_OFFSET, arch/x86/Kconfig)."""
_MAP_PRIVATE, _MAP_ANONYMOUS, _MAP_NORESERVE, _MAP_FIXED_NOREPLACE = 0x2, 0x20, 0x4000, 0x10_0000  # asm-generic/mman.h
_TAG_SHIFT = 56  # of the byte that arm64 ignores in addresses of users


def host() -> str:
    """Return the name of this host, as in the ``host`` column; see `kernel_text.host`."""
    return kernel_text.shown(kernel_text.host())


@functools.cache
def machine() -> str:
    """Return the architecture of the running kernel: ``"x86_64"``, ``"x86_32"`` or ``"arm64"``.

    Not the architecture of this process, which may be a 32-bit one, and for which uname(2) is wrong after ``setarch``.
    The sysctl is always right; it exists since 6.1 (bfca3dd3d068 "kernel/utsname_sysctl.c: print kernel arch").

    Raises:
        PteMagicError: It is another architecture.

    """
    try:
        name = kernel_text.text("/proc/sys/kernel/arch").strip()
    except OSError:
        name = os.uname().machine
    if re.fullmatch("i.86", name):
        return "x86_32"
    known = {"x86_64": "x86_64", "aarch64": "arm64"}
    if name not in known:
        message = f"the page tables of {name} are not known; those of x86_64, i686 and aarch64 are"
        raise PteMagicError(message)
    return known[name]


@functools.cache
def encoding() -> str:
    """Return the name of the format of the running kernel's page-table entries, a key of `geometry.GEOMETRIES`.

    arm64's granule is the page size, and it has LPA2's layout if and only if virtual addresses have 52 bits (TCR.DS,
    arch/arm64/mm/proc.S); entries for pages of 64 KiB are the same with and without 52 bits.
    """
    architecture = machine()
    if architecture == "x86_32":
        return "x86_pae" if _has_pae() else "x86_32"
    if architecture != "arm64":
        return architecture
    large = _arm64_bits() == _ARM64_BITS[0] and PAGE_SIZE < 1 << 16
    return f"arm64_{PAGE_SIZE >> 10}k{'_lpa2' if large else ''}"


@functools.cache
def shifts() -> dict[str, int]:
    """Return the number of address bits below the index of each level, top down.

    It has only levels in use: ``{"pgd": 39, "pud": 30, "pmd": 21, "pte": 12}`` with four.
    """
    return geometry.shifts(encoding(), levels())


@functools.cache
def levels() -> int:
    """Return the number of levels of the page tables, 2 to 5.

    On x86-64, the kernel clears the CPU's ``la57`` flag when it runs with four levels (``early_identify_cpu()``,
    arch/x86/kernel/cpu/common.c), so the flag shows what is in use, not what the CPU could do. Without
    /proc/cpuinfo, a mapping above 2**47 is tried, which needs an address hint (``task_size_max()``).
    """
    format_ = encoding()
    if format_ == "x86_64":
        five = has_cpu_flag("la57")
        return FIVE_LEVELS if five or (five is None and _mapped_at(1 << 47) >> 47) else 4
    found = geometry.GEOMETRIES[format_]
    if machine() == "arm64":
        return -((found.page_shift - _arm64_bits()) // found.index_bits)  # rounded up
    return found.levels


def has_cpu_flag(name: str) -> bool | None:
    """Tell whether an x86 CPU has a flag that the kernel lets it use; None where /proc/cpuinfo has no flags."""
    flags = re.search(r"^flags\s*:(.*)$", _cpuinfo(), re.MULTILINE)
    return name in flags[1].split() if flags else None


@functools.cache
def physical_bits() -> int:
    """Return the width of a physical address, without the bit of memory encryption; else the limit of the format.

    On x86, /proc/cpuinfo shows ``x86_phys_bits``, which the kernel reduces where the C-bit takes address bits
    (``early_detect_mem_encrypt()``, arch/x86/kernel/cpu/amd.c). Without PAE, entries have room for 32; with it, the
    kernel uses 44 (``__PHYSICAL_MASK_SHIFT``, arch/x86/include/asm/page_32_types.h). arm64 does not show it to users.
    """
    limits = {"x86_64": 52, "x86_32": 32, "x86_pae": 44, "arm64_4k": 48, "arm64_16k": 48}
    limit = limits.get(encoding(), 52)
    found = re.search(r"address sizes\s*:\s*(\d+) bits physical", _cpuinfo())
    return min(int(found[1]), limit) if found else limit


@functools.cache
def user_limit() -> int:
    """Return the first address above all user addresses: 2**47 with four levels of x86-64, 2**56 with five.

    On arm64 it follows from the width of an address, such as 2**48; on 32-bit x86 it is configured, such as 3 GiB.
    """
    architecture = machine()
    if architecture == "arm64":
        return 1 << _arm64_bits()
    if architecture == "x86_32":
        return next((limit for limit in _X86_32_LIMITS if _is_users(limit - PAGE_SIZE)), _X86_32_LIMITS[0])
    return 1 << (56 if levels() == FIVE_LEVELS else 47)


def untagged(address: int) -> int:
    """Return an address without the tag that arm64 allows in its highest byte, and does not translate.

    Memory tagging (MTE) puts one there, and a tagging allocator returns such pointers. Bit 55 is set in kernel
    addresses, which are not changed (Documentation/arch/arm64/tagged-pointers.rst).
    """
    if machine() != "arm64":
        return address
    is_users = 0 <= address < 1 << 64 and not address >> (_TAG_SHIFT - 1) & 1
    return address & ((1 << _TAG_SHIFT) - 1) if is_users else address


@functools.cache
def _cpuinfo() -> str:
    """Return the first processor's part of /proc/cpuinfo; empty where /proc has only processes (``subset=pid``)."""
    try:
        return kernel_text.text("/proc/cpuinfo").split("\n\n", 1)[0]
    except OSError:
        return ""


def _has_pae() -> bool:
    """Tell whether a 32-bit x86 kernel uses PAE; the CPU's flag does not show it.

    The kernel shows the size of large pages in its direct map, which is 4 MiB without PAE
    (``arch_report_meminfo()``, arch/x86/mm/pat/set_memory.c).

    Raises:
        PteMagicError: /proc/meminfo cannot be read.

    """
    try:
        return "DirectMap4M" not in kernel_text.fields(kernel_text.read("/proc/meminfo"))
    except OSError as error:
        message = f"/proc/meminfo shows whether this kernel uses PAE, and cannot be read: {error.strerror}"
        raise PteMagicError(message) from error


@functools.cache
def _arm64_bits() -> int:
    """Return the number of bits of a virtual address on arm64.

    The kernel follows an address hint for a mapping if there is such an address; above 48 bits it maps nothing without
    one (``arch_get_mmap_end()``, arch/arm64/include/asm/processor.h). A 32-bit process cannot
    ask for such addresses: it gets 48.
    """
    if ctypes.sizeof(ctypes.c_void_p) == 4:  # noqa: PLR2004  (bytes)
        return 48
    return next((bits for bits in _ARM64_BITS if _mapped_at(1 << (bits - 1)) >> (bits - 1)), 48)


def _mapped_at(address: int) -> int:
    """Return where the kernel maps a page with the hint `address`; 0 if nowhere. It is unmapped at once."""
    try:
        return _mapped(address)
    except OSError:
        return 0


def _mapped(address: int, flags: int = 0) -> int:
    kind = _MAP_PRIVATE | _MAP_ANONYMOUS | _MAP_NORESERVE | flags
    place = libc.mmap(address, PAGE_SIZE, 0, kind)
    libc.call("munmap", place, PAGE_SIZE)
    return place


def _is_users(address: int) -> bool:
    """Tell whether something may be mapped at `address`, or is."""
    try:
        return _mapped(address, _MAP_FIXED_NOREPLACE) == address
    except FileExistsError:
        return True
    except OSError:
        return False
