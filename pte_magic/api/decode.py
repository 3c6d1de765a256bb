"""`decode`: raw entries, wherever they come from, as a frame."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

import pandas as pd

from pte_magic.api import pte_frame
from pte_magic.formats import decode as decoding
from pte_magic.formats import given, kernel, registry
from pte_magic.linux import hardware, memory_encryption
from pte_magic.linux.address_bits import AddressBits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from pte_magic.formats.kernel import Kernel


def decode(
    entry: ArrayLike,
    *,
    level: str | ArrayLike = "pte",
    arch: str | None = None,
    release: str | None = None,
    encryption_mask: int | None = None,
) -> pte_frame.PteFrame:
    """Decode raw entries; no process is needed.

    A column of a frame, such as ``frame.entry``, has the frame's `attrs`, and is read as these say that it has to be,
    unless `arch`, `release` or `encryption_mask` is named.

    Args:
        entry: One raw entry, or an array of them.
        level: The level at which they were found: ``"pgd"``, ``"p4d"``, ``"pud"``, ``"pmd"`` or ``"pte"``, as far as
            the format has it; or a level for each, such as ``frame.level``.
        arch: The format, by default the running kernel's: ``"x86_64"``, ``"x86_32"`` (also ``"i386"``), ``"x86_pae"``,
            ``"arm64_4k"`` (also ``"arm64"``), ``"arm64_4k_lpa2"``, ``"arm64_16k"``, ``"arm64_16k_lpa2"`` or
            ``"arm64_64k"``.
        release: The kernel that they come from, such as ``"6.1"``, or all that ``uname -r`` prints there: that may tell
            how the kernel is configured.
        encryption_mask: Of x86-64, the bit by which entries of that machine say that memory is encrypted (AMD's C-bit),
            such as ``1 << 51``; 0 if there is none. By default the bit that walkers find on this machine, and none if
            the entries come from another.

    Returns:
        One row an entry, without the columns of where it was found. Bits whose meaning depends on the kernel are read
        as the running kernel does. If a release is named, or another format than its own, they are read as a kernel of
        that release, or of the newest known, that is configured as distributions do. Where these differ, ``state`` is
        missing, unless the release tells whose it is. It is also missing in entries that Linux makes for no process;
        ``kind`` is then ``not_present``, as the kernel's own pages are like that if it made them not present.

    Raises:
        TargetError: No entry of that format, no such level, no such format, no release that is known, or no such bit.

    """
    is_named = not (arch is None and release is None and encryption_mask is None)
    if not is_named and isinstance(entry, pd.Series) and entry.attrs.get("format") is not None:
        of = kernel.of_frame(entry.attrs)
        raw = given.entries(entry, of.format.bits)
    else:
        name = hardware.encoding() if arch is None else registry.of(arch).name
        raw = given.entries(entry, registry.of(name).bits)
        of = _meant_kernel(name, release, raw, encryption_mask)
    codes = given.levels(level, len(raw), of.format.levels)
    return pte_frame.of_columns(decoding.columns(raw, codes, of), codes, of)


def _meant_kernel(name: str, release: Any, raw: NDArray[np.uint64], encryption_mask: object) -> Kernel:
    """Return what is to be known of the kernel that somebody names by format and release."""
    named_here = release is None or (issubclass(type(release), str) and str.strip(release) == platform.release())
    here = named_here and name == hardware.encoding()
    if encryption_mask is None:
        bits = AddressBits(memory_encryption.mask(raw) if here else 0)
    else:
        bits = AddressBits(kernel.encryption_bit(name, encryption_mask))
    if here:
        return kernel.running(bits)
    if release is None:
        return kernel.of_release(name, address_bits=bits)
    return kernel.of_name(name, release, bits)
