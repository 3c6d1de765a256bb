"""The way through everything: target, address space, walker, format, frame."""

from __future__ import annotations

import platform
import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pte_magic import arguments, walkers
from pte_magic.api import pte_frame
from pte_magic.errors import TargetError
from pte_magic.formats import decode as decoding
from pte_magic.formats import given, kernel
from pte_magic.formats import registry as formats
from pte_magic.linux import hardware
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.targets import target as targets
from pte_magic.targets.target import Target
from pte_magic.walkers import encryption
from pte_magic.walkers.entries import Entries, join
from pte_magic.walkers.ranges import each_once

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from pte_magic.formats.kernel import Kernel
    from pte_magic.walkers import Walker


def walk(
    target: object, end: int | None = None, *, pid: int | None = None, walker: str = "auto", tables: bool | None = None
) -> pte_frame.PteFrame:
    """Return the page-table entries behind a target.

    Args:
        target: An address (int), an object (its memory: anything with the buffer protocol, ``__array_interface__``,
            DLPack or Arrow, and what it has of these in public attributes; else the object at ``id()``, of which a
            warning tells), or a text: an address, ``"START-END"``, a region's name from
            /proc/PID/maps such as ``"[heap]"`` or ``"libc"``, or ``"all"``.
        end: First address not asked for, if `target` is the first one asked for.
        pid: Whose page tables, by its number in /proc; this process' own if None.
        walker: ``"auto"`` for the best that works here, or a name (see `doctor`).
        tables: Also the entries passed on the way. By default only for a single address: its whole translation.

    Returns:
        One row for each entry at which the walk ends. An empty entry is one row, at whatever level it was met.

    Raises:
        PteMagicError: Says in one line what is wrong, and what to type.

    Example:
        >>> a = numpy.ones(1000)
        >>> pte_magic.walk(a)  # doctest: +SKIP

    """
    if tables is not None:
        tables = arguments.flag(tables, "tables", "type tables=True to see the entries on the way, or leave it out")
    with nullcontext(own()) if pid is None else AddressSpace(pid) as space:
        return walk_target(meant_by(target, end, space), space, walker=walker, tables=tables)


def entries(target: object, end: int | None = None, *, pid: int | None = None, walker: str = "auto") -> Entries:
    """Return the raw entries behind a target, without pandas and without decoding; the fast way.

    Args:
        target: As of `walk`.
        end: As of `walk`.
        pid: As of `walk`.
        walker: As of `walk`.

    Returns:
        Their ``entry`` is ``uint64[n]``, in the format that ``encoding`` names; ``vaddr``, ``size`` and ``level`` of
        each are computed when asked.

    Raises:
        PteMagicError: Says in one line what is wrong, and what to type.

    """
    if pid is None:
        return read(meant_by(target, end, own()), own(), walker, tables=False)
    with AddressSpace(pid) as space:
        return read(meant_by(target, end, space), space, walker, tables=False)


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
        name = hardware.encoding() if arch is None else formats.of(arch).name
        raw = given.entries(entry, formats.of(name).bits)
        of = _meant_kernel(name, release, raw, encryption_mask)
    codes = given.levels(level, len(raw), of.format.levels)
    return pte_frame.of_columns(decoding.columns(raw, codes, of), codes, of)


def _meant_kernel(name: str, release: Any, raw: NDArray[np.uint64], encryption_mask: object) -> Kernel:
    """Return what is to be known of the kernel that somebody names by format and release."""
    named_here = release is None or (issubclass(type(release), str) and str.strip(release) == platform.release())
    here = named_here and name == hardware.encoding()
    if encryption_mask is None:
        bit = encryption.mask(raw) if here else 0
    else:
        bit = kernel.encryption_bit(name, encryption_mask)
    if here:
        return kernel.running(bit)
    if release is None:
        return kernel.of_release(name, encryption_mask=bit)
    return kernel.of_name(name, release, bit)


def resolve(target: Any, end: int | None, space: AddressSpace) -> Target:
    """Return the addresses that a target stands for in `space`."""
    kind = type(target)  # never __class__, which may be anything
    if issubclass(kind, (int, np.integer)) and kind is not bool:
        start = arguments.address(target, "target")
        return targets.at(start) if end is None else targets.between(start, arguments.address(end, "end"))
    if issubclass(kind, Target):
        return targets.checked(target)
    if end is not None:
        message = f"`end` needs an integer start address, not {arguments.shown(target)}; leave it out"
        raise TargetError(message)
    if issubclass(kind, str):
        text = str.__str__(target)  # of a subclass, too, which may compare as it likes
        found = targets.parse(text, space)
        if found is None:
            raise targets.unknown(text, space)
        return found
    return targets.of_object(target)


def meant_by(target: object, end: int | None, space: AddressSpace) -> Target:
    """Resolve a target, and tell the caller of the public function what was done to it."""
    meant = resolve(target, end, space)
    if meant.note:
        warnings.warn(meant.note, stacklevel=3)
    return meant


def walk_target(
    meant: Target, space: AddressSpace, *, walker: str = "auto", tables: bool | None = None
) -> pte_frame.PteFrame:
    """Walk addresses that were resolved, in an address space that is open."""
    return built(
        read(meant, space, walker, tables=meant.address is not None if tables is None else tables), meant, space
    )


def built(found: Entries, meant: Target, space: AddressSpace) -> pte_frame.PteFrame:
    """Make the frame of what was `read`."""
    made = pte_frame.build(found, kernel.running(found.encryption_mask, found.frames_hidden), pid=space.pid)
    if meant.address is not None:
        made.attrs["address"] = meant.address
    return made


def read(meant: Target, space: AddressSpace, walker: str, *, tables: bool) -> Entries:
    """Return the raw entries of addresses that were resolved, in an address space that is open."""

    def found(reader: Walker) -> Entries:
        if len(meant.ranges) == 1:
            return reader.walk(space, *meant.ranges[0], tables=tables)
        return join(list(each_once(meant.ranges, lambda start, end: [reader.walk(space, start, end, tables=tables)])))

    return walkers.reading(walker, found)
