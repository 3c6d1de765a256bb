"""`walk` and `entries`: from a target to a frame of its entries."""

from __future__ import annotations

import warnings
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from pte_magic import walkers
from pte_magic.api import pte_frame
from pte_magic.dataframes import by_region
from pte_magic.errors import PteMagicError, TargetError, arguments
from pte_magic.formats import kernel
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.targets import target as targets
from pte_magic.targets.target import Target
from pte_magic.walkers.entries import Entries, join
from pte_magic.walkers.several_ranges import each_once

if TYPE_CHECKING:
    from pte_magic.api.pte_frame import PteFrame
    from pte_magic.walkers.walker import Walker

_FEW = 16  # ranges that a frame keeps in its attrs, which pandas copies with each result


def walk(
    target: object, end: int | None = None, *, pid: int | None = None, walker: str = "auto", tables: bool | None = None
) -> PteFrame:
    """Return the page-table entries behind a target.

    Args:
        target: An address (int), an object (its memory: anything with the buffer protocol, ``__array_interface__``,
            DLPack or Arrow, itself or in public attributes; else the object at ``id()``, and a warning says so if its
            data may be elsewhere), or a text: an address, ``"START-END"``, a region's name from
            /proc/PID/maps such as ``"[heap]"`` or ``"libc"``, or ``"all"``.
        end: First address after the range, if `target` is the first address of a range.
        pid: The process, by its number in /proc; this process if None.
        walker: ``"auto"`` for the best that works here, or a name (see `doctor`).
        tables: Also return the entries on the way, which point to page tables. By default only for a single address.

    Returns:
        One row for each entry at which the walk ends. An empty entry is one row, at whatever level it was met.
        The frame of ``"all"`` shows itself by region: see `PteFrame.regions`.

    Raises:
        PteMagicError: Says in one line what is wrong, and what to type.

    Example:
        >>> a = numpy.ones(1000)
        >>> pte_magic.walk(a)

    """
    if tables is not None:
        tables = arguments.flag(tables, "tables", "type tables=True to see the entries on the way, or leave it out")
    with nullcontext(own()) if pid is None else AddressSpace(pid) as space:
        return walk_target(meant_by(target, end, space), space, walker=walker, tables=tables)


def entries(target: object, end: int | None = None, *, pid: int | None = None, walker: str = "auto") -> Entries:
    """Return the raw entries behind a target, without pandas and without decoding; the fast way.

    Args:
        target: As for `walk`.
        end: As for `walk`.
        pid: As for `walk`.
        walker: As for `walk`.

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


def resolve(target: Any, end: int | None, space: AddressSpace) -> Target:
    """Return the addresses that a target stands for in `space`."""
    kind = type(target)  # never __class__, which may be anything
    if kind is int or (issubclass(kind, (int, np.integer)) and kind is not bool):
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
    """Resolve a target, and warn the caller of the public function if it was changed."""
    meant = resolve(target, end, space)
    if meant.note:
        warnings.warn(meant.note, stacklevel=3)
    return meant


def walk_target(meant: Target, space: AddressSpace, *, walker: str = "auto", tables: bool | None = None) -> PteFrame:
    """Walk addresses that were resolved, in an address space that is open; of ranges, read what pagemap adds.

    A whole address space without a word about page tables is shown by region.
    """
    is_one, whole = meant.address is not None, meant.ranges == targets.whole().ranges and tables is None
    found = read(meant, space, walker, tables=is_one if tables is None else tables)
    also = None if is_one else space
    made = _about(pte_frame.build(found, kernel.running(found.address_bits), pid=space.pid, space=also), meant)
    if whole:
        with suppress(PteMagicError):  # it has gone meanwhile, or is another user's: its entries are there
            made._layout = by_region.layout(space, raw=found.protnone is None)  # noqa: SLF001  (a part of it)
    return made


def built(found: Entries, meant: Target, space: AddressSpace) -> PteFrame:
    """Make the frame of entries that were `read`, and of nothing else."""
    return _about(pte_frame.build(found, kernel.running(found.address_bits), pid=space.pid), meant)


def _about(made: PteFrame, meant: Target) -> PteFrame:
    if meant.address is not None:
        made.attrs["address"] = meant.address
    elif len(meant.ranges) <= _FEW:
        made.attrs["ranges"] = [list(range_) for range_ in meant.ranges]  # as it comes back from a file
    if meant.items is not None:
        made.attrs["items"] = meant.items
    return made


def read(meant: Target, space: AddressSpace, walker: str, *, tables: bool) -> Entries:
    """Return the raw entries of addresses that were resolved, in an address space that is open."""

    def found(reader: Walker) -> Entries:
        if len(meant.ranges) == 1:
            return reader.walk(space, *meant.ranges[0], tables=tables)
        return join(list(each_once(meant.ranges, lambda start, end: [reader.walk(space, start, end, tables=tables)])))

    return walkers.reading(walker, found)
