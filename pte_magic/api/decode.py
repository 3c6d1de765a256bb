"""`decode`: raw entries, wherever they come from, as a frame."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

import pandas as pd

from pte_magic.api import pte_frame
from pte_magic.formats import decode as decoding
from pte_magic.formats import entry_arguments, kernel, registry
from pte_magic.linux import hardware, memory_encryption
from pte_magic.linux.address_bits import AddressBits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from pte_magic.api.pte_frame import PteFrame
    from pte_magic.formats.kernel import Kernel


def decode(
    entry: ArrayLike,
    *,
    level: str | ArrayLike = "pte",
    arch: str | None = None,
    release: str | None = None,
    encryption_mask: int | None = None,
) -> PteFrame:
    """Decode raw entries; no process is needed.

    A column of a frame, such as ``frame.entry``, is decoded as the frame's ``attrs`` say, unless `arch`, `release` or
    `encryption_mask` is named.

    Args:
        entry: One raw entry, or an array of them.
        level: Their level: ``"pgd"``, ``"p4d"``, ``"pud"``, ``"pmd"`` or ``"pte"``, if the format has it; or one level
            for each entry, such as ``frame.level``.
        arch: The format of the entries, by default the running kernel's: ``"x86_64"``, ``"x86_32"`` (also ``"i386"``),
            ``"x86_pae"``, ``"arm64_4k"`` (also ``"arm64"``), ``"arm64_4k_lpa2"``, ``"arm64_16k"``,
            ``"arm64_16k_lpa2"`` or ``"arm64_64k"``.
        release: The kernel that they come from, such as ``"6.1"``, or the output of ``uname -r`` there, which may also
            name the distribution, and so the configuration.
        encryption_mask: For x86-64, the bit of memory encryption (AMD's C-bit) in entries of that host, such as
            ``1 << 51``; 0 without encryption. By default the bit that walkers find on this host, and 0 if the entries
            come from another host.

    Returns:
        One row per entry, without addresses and other columns of a walk. Bits whose meaning depends on the kernel are
        decoded as for the running kernel. If `release` or another format is named, they are decoded as for a kernel of
        that release, or of the newest known one, with the configuration of distributions. Where distributions differ,
        ``state`` is missing, unless the release names the distribution. It is also missing for entries that Linux never
        makes for a process; ``kind`` is then ``not_present``, as the kernel makes such entries for its own pages.

    Raises:
        TargetError: The entry, level, format, release or bit does not exist or is not known.

    """
    is_named = not (arch is None and release is None and encryption_mask is None)
    if not is_named and isinstance(entry, pd.Series) and entry.attrs.get("format") is not None:
        of = kernel.of_frame(entry.attrs)
        raw = entry_arguments.entries(entry, of.format.bits)
    else:
        name = hardware.encoding() if arch is None else registry.of(arch).name
        raw = entry_arguments.entries(entry, registry.of(name).bits)
        of = _meant_kernel(name, release, raw, encryption_mask)
    codes = entry_arguments.levels(level, len(raw), of.format.levels)
    return pte_frame.of_columns(decoding.columns(raw, codes, of), codes, of)


def _meant_kernel(name: str, release: Any, raw: NDArray[np.uint64], encryption_mask: object) -> Kernel:
    """Return the kernel that a user names by format and release."""
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
