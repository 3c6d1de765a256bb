"""`PteFrame`: page-table entries as a pandas DataFrame that prints addresses and entries in hex."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pandas as pd

from pte_magic import walkers
from pte_magic.api.own_frames import OwnFrame
from pte_magic.api.pte_diff import compare
from pte_magic.dataframes import columns, restored_dtypes, row_kernels, runs
from pte_magic.dataframes.pandas_compat import from_blocks
from pte_magic.errors import TargetError
from pte_magic.errors.arguments import index, shown
from pte_magic.formats import decode, pagemap_words
from pte_magic.formats import kernel as kernels
from pte_magic.linux import hardware
from pte_magic.linux.interrupts import deferred

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pte_magic.api.pte_diff import PteDiff
    from pte_magic.formats.kernel import Kernel
    from pte_magic.views.bits import BitField
    from pte_magic.views.translation import Translation
    from pte_magic.walkers.entries import Entries

_WALKERS: Any = pd.CategoricalDtype(list(walkers.NAMES))  # the same for all, so that concat keeps the dtype


class PteFrame(OwnFrame):
    """Page-table entries, one row an entry, in ascending order of address.

    A frame is a DataFrame: select, group, join and save it like any other. What is made of it is a `PteFrame` as long
    as its rows are entries and its columns have these dtypes; counts, sums and the like are plain DataFrames. Of what
    came back from a file, `PteFrame(found)` makes one again. Columns, in this order:

    ==================  ================  ==========================================================================
    ``vaddr``           uint64            first address that the entry covers
    ``size``            uint64            bytes that it covers
    ``level``           ordered category  pgd, p4d, pud, pmd or pte
    ``entry``           UInt64            the raw entry; missing if the walker cannot read it
    ``state``           category          none, table, present, protnone, swap, migration, device, hwpoison or marker
    ``kind``            category          what exactly a special entry is, such as migration_write or guard
    ``pfn``             UInt64            page frame number (units of the smallest page), L1TF inversion undone
    `columns.BOOLEANS`  boolean           bits of the entry; missing where it has no such bit or nobody can know
    ``mapped``          UInt64            bytes that the hardware may hold as one translation (arm64's contiguous bit)
    ``cache``           category          memory type: what the PAT index selects, assuming Linux' full PAT; arm64: MAIR
    ``pkey``            UInt8             protection key
    ``swap_type``       UInt8             number of the swap device or of the special entry
    ``swap_offset``     UInt64            where on the swap device, in pages; the content of a special entry
    ``host``            category          name of the machine
    ``pid``             int64             process, in the pid namespace of the walk
    ``walker``          category          what read the entry
    ``format``          category          what its kernel does with bits, and all else that is needed to decode it
    ==================  ================  ==========================================================================

    What an architecture does not have is no column: arm64 has ``uxn``, ``pxn`` and ``cont`` where x86-64 has ``nx`` and
    ``soft_dirty``.

    `pandas.concat` of frames of several hosts makes ``host`` a column of text; with ``union_categories=True`` (pandas
    3.1) it remains a category, which takes a byte a row instead of twenty.

    `decode` makes frames without the columns that a mere value does not have. `attrs` of a frame of a single address
    hold this ``address``, and of raw entries, their ``format`` and what their kernel does with it. The column
    ``format`` says the same of each row, and more; so frames of several machines may be one, and what cannot be known
    of rows of several kernels, or of unknown ones, is refused.
    """

    __module__ = "pte_magic"

    _TYPES = columns.TYPES
    _SAYS = frozenset({"vaddr", "level", "entry", "state", "pfn", *columns.BOOLEANS})
    _WHOLE = frozenset({"vaddr", "size", "state"})
    _MADE_BY = "pte_magic.walk()"

    def __init__(self, data: Any = None, *args: Any, **options: Any) -> None:
        """Make a frame of entries of what pandas takes; columns get the dtypes that they had, where nothing was lost.

        Args:
            data: As of pandas, such as what `pandas.read_parquet` or `pandas.read_csv` returned.
            args: As of pandas.
            options: As of pandas.

        """
        plain = pd.DataFrame(data, *args, **options)
        make: Any = super()  # the stubs have __new__ only
        make.__init__(restored_dtypes.restored(plain, columns.TYPES))
        self.attrs = restored_dtypes.attrs(data, self)

    def runs(self) -> PteFrame:
        """Merge neighbours that differ in nothing but their address and in frames that follow each other.

        Returns:
            The first entry of each run, with two columns more after ``size``: ``entries`` (int64), how many it stands
            for, and ``bytes`` (uint64), how much they cover. Runs that continue each other are one.

        Raises:
            TargetError: The frame lacks ``vaddr`` or ``size``, or a column has not the dtype that it was made with.

        """
        self._need("runs()", *columns.WHERE)
        found: PteFrame = runs.merged(self, runs.starts(self))
        return found

    def summary(self) -> pd.DataFrame:
        """Count entries and bytes by state and page size.

        Returns:
            Index ``state`` and ``size`` (bytes that an entry covers; of contiguous ones the whole block, ``mapped``; 0
            for states that map nothing), columns ``entries`` (int64) and ``bytes`` (uint64). Entries that point to
            tables cover nothing themselves, and a run counts as all that it stands for.

        Raises:
            TargetError: The frame lacks ``state`` or ``size``, or a column has not the dtype that it was made with.

        """
        self._need("summary()", "state", "size")
        return runs.summary(self)

    def frames(self) -> PteFrame:
        """Join each entry with what the kernel knows of its page frame, and with the region in which it lies.

        Both are asked for now: of a frame that the kernel has moved or freed since the walk, the columns say what it is
        now, and regions are those of the process that has this pid now. An entry that maps more than a page is told of
        its first frame.

        Returns:
            The same rows, with these columns more (or anew) at the end:

            ===============  ========  ==============================================================================
            ``map_count``    UInt64    how many page-table entries map the frame: see `page_frames.map_count`
            ``node``         UInt16    NUMA node: see `page_frames.node`
            ``cgroup``       category  path of the memory cgroup that is charged for it, as in /proc/PID/cgroup; its
                                       inode if it has no path here: see `page_frames.cgroup`
            ``region``       category  name of the region in /proc/PID/maps, empty if it has none; missing outside of
                                       regions, where an empty entry covers several, and of a process that has gone
            ``permissions``  category  the region's, such as ``rw-p``
            ``page_flags``   UInt64    what /proc/kpageflags says: see `page_frames.flags`
            ``kpf_…``        boolean   flags that are often asked for, ``kpf_anon`` for KPF_ANON; ``kpf_ksm`` is
                                       missing where the kernel tells it wrong: see `page_frames.tells_ksm`
            ===============  ========  ==============================================================================

            Without a frame's number they are missing; all but ``node`` and the region also without the right to read
            /proc/kpageflags, which is root's.

        Raises:
            TargetError: The frame lacks addresses or frames, has runs for rows, or is of another host.

        Example:
            >>> pte_magic.walk("all").frames().groupby("region", observed=True)["kpf_thp"].mean()  # doctest: +SKIP

        """
        with deferred():
            from pte_magic.dataframes.page_frame_columns import join  # noqa: PLC0415  (this module is to its left)

        self._need("frames()", *columns.WHERE, "pfn", "host", "pid")
        found: PteFrame = join(self)
        return found

    def bits(self, row: int | None = None) -> BitField:
        """Return a picture of one raw entry, which decodes whatever its bits are changed to.

        Args:
            row: Which entry, counted from 0; from the end if negative. By default the first one at which a translation
                ends, or else the first.

        Raises:
            TargetError: There is no such row, or it has no raw entry.

        """
        with deferred():
            from pte_magic.views.bits import BitField  # noqa: PLC0415  (widgets take as long to import as all else)

        self._need("bits()", "entry", "level")
        at = self._place(row)
        entry = self["entry"].iloc[at]
        if pd.isna(entry):
            walker = self["walker"].iloc[at] if "walker" in self.columns else "its origin"
            message = f"row {row if row is not None else at} has no raw entry: {walker} shows none; "
            message += "pte_magic.doctor() says which walker does"
            raise TargetError(message)
        return BitField(int(entry), str(self["level"].iloc[at]), kernel=row_kernels.of_all(self.iloc[[at]]))

    def _place(self, row: Any) -> int:
        """Return which row is meant, counted from either end; by default the first at which a translation ends."""
        if row is None:
            row = int((self["state"] != "table").to_numpy().argmax()) if len(self) and "state" in self.columns else 0
        at = index(row)
        if at is None:
            message = f"row {shown(row)} is not a number of a row; type one from 0 to {len(self) - 1}"
            raise TargetError(message)
        if not -len(self) <= at < len(self):
            message = f"row {shown(at)} does not exist; the frame has {len(self)}"
            raise TargetError(message)
        return at

    def map(  # type: ignore[override]  # without a function, it is ours
        self, func: Callable[[Any], Any] | str | None = None, na_action: Any = None, **options: Any
    ) -> Any:
        """Return a picture of all entries, a cell an entry; with a function, do as `pandas.DataFrame.map` does.

        Args:
            func: What pandas is to call with each value; of the picture the same as ``color``.
            na_action: Of pandas.
            options: Of pandas; of the picture ``color``: what its colours mean, ``"state"`` (the default), ``"size"``,
                ``"contiguity"`` of page frames, or the name of a boolean column.

        Raises:
            TargetError: There is no such column, or the entries have no addresses.

        """
        if callable(func):
            return super().map(func, na_action=na_action, **options)
        with deferred():
            from pte_magic.views.page_map.page_map import PageMap  # noqa: PLC0415  (widgets take as long to import as all else)

        self._need("map()", *columns.WHERE, "state")
        return PageMap(self, **({"color": func} | options if func is not None else options))

    def translation(self) -> Translation:
        """Return a picture of how one address is translated, table by table.

        Raises:
            TargetError: The frame is not that of a single address, or has no raw entries.

        """
        with deferred():
            from pte_magic.views.translation import Translation  # noqa: PLC0415  (this module is to its left)

        self._need("translation()", *columns.WHERE, "level", "entry", "state")
        return Translation(self, self.attrs.get("address"))

    @overload
    def diff(self, periods: pd.DataFrame) -> PteDiff: ...
    @overload
    def diff(self, periods: int = 1, axis: Any = 0) -> PteFrame: ...
    def diff(self, periods: Any = 1, axis: Any = 0) -> Any:
        """Tell what changed from this frame to another one, walked later or in another process.

        Args:
            periods: The frame after, also one that came back from a file. With a number, this is
                `pandas.DataFrame.diff`.
            axis: Of `pandas.DataFrame.diff`.

        Returns:
            One row an entry that changed, with the flipped bits and words: see `PteDiff`.

        Raises:
            TargetError: A frame lacks addresses or states, has runs for rows, or covers an address twice.

        Example:
            >>> before = pte_magic.walk(a)  # doctest: +SKIP
            >>> a[:] = 1  # doctest: +SKIP
            >>> before.diff(pte_magic.walk(a))  # doctest: +SKIP

        """
        if not isinstance(periods, pd.DataFrame):
            return super().diff(periods, axis)
        return compare(self, periods if isinstance(periods, PteFrame) else PteFrame(periods))


def build(
    entries: Entries, kernel: Kernel, *, pid: int, host: str | None = None, hosts: tuple[str, ...] = ()
) -> PteFrame:
    """Make a frame of what a walker found.

    Args:
        entries: What it found.
        kernel: What the kernel that they come from does with their bits.
        pid: Whose they are.
        host: Of which machine; of this one if None.
        hosts: Of which machines others are that this frame will be joined with, so that all are of one dtype.

    """
    host = host or hardware.host()
    hosts = hosts or (host,)
    n = len(entries)
    where = np.empty((2, n), np.uint64)
    where[0], where[1] = entries.vaddr, entries.size
    level = entries.level
    if entries.protnone is None and entries.encoding != kernel.format.name:
        kernel = kernels.reading(entries.encoding, entries.address_bits)
    kernel = kernel.also(entries.address_bits)
    if entries.protnone is not None:
        found = pagemap_words.columns(entries.entry, entries.protnone, kernel)
    else:
        found = decode.columns(entries.entry, level, kernel)
    found["level"] = decode.Column(level)
    blocks: list[tuple[Any, NDArray[np.intp]]] = [(where, np.array([0, 1]))]
    places = columns.places(kernel)
    blocks += [(array, places[name]) for name, array in columns.arrays(found, n, kernel).items()]
    for name, dtype, code in (
        ("host", _categories(hosts), hosts.index(host)),
        ("walker", _WALKERS, walkers.NAMES.index(entries.walker)),
    ):
        codes = np.full(n, code, np.min_scalar_type(-len(dtype.categories)))
        blocks.append((pd.Categorical.from_codes(codes, dtype=dtype, validate=False), places[name]))
    blocks.append((np.full((1, n), pid, np.int64), places["pid"]))
    blocks.append((row_kernels.column(kernel, n), places[row_kernels.COLUMN]))
    plain = from_blocks(blocks, index=pd.RangeIndex(n), columns=columns.index(kernel))
    take: Any = PteFrame  # the stubs do not know how pandas' subclasses take the columns of a frame over
    made: PteFrame = take._from_mgr(plain._mgr, axes=plain.axes)  # noqa: SLF001  (PteFrame(plain) is a third of a small frame's time)
    made.attrs = row_kernels.attrs(kernel)
    if entries.protnone is not None:
        del made.attrs["format"]
    return made


def of_columns(found: dict[str, decode.Column], level: NDArray[np.int8], kernel: Kernel) -> PteFrame:
    """Make a frame of decoded entries of a kernel that were found nowhere."""
    found = {**found, "level": decode.Column(level)}
    told = row_kernels.column(kernel, len(level))
    plain = pd.DataFrame(columns.arrays(found, len(level), kernel) | {row_kernels.COLUMN: told})
    made: PteFrame = PteFrame._own(plain)  # noqa: SLF001  (PteFrame(plain) would look for what is to be restored)
    made.attrs = row_kernels.attrs(kernel)
    return made


@functools.cache
def _categories(names: tuple[str, ...]) -> Any:
    return pd.CategoricalDtype(list(names))
