"""`PteFrame`: page-table entries as a pandas DataFrame that prints addresses and entries in hex."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import pandas as pd

from pte_magic.api import decoded_frames
from pte_magic.api.frame_base_class import OwnFrame
from pte_magic.api.pte_diff import compare
from pte_magic.api.raw_entry import raw_entry
from pte_magic.api.regions import of_frame, whole_space, within
from pte_magic.api.summary import Summary
from pte_magic.dataframes import column_names, columns, row_kernels, runs
from pte_magic.linux.importing import importing
from pte_magic.views import region_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pte_magic.api.pte_diff import PteDiff
    from pte_magic.api.regions import Regions
    from pte_magic.dataframes.by_region import Layout
    from pte_magic.formats.decode import Column
    from pte_magic.formats.kernel import Kernel
    from pte_magic.linux.address_space import AddressSpace
    from pte_magic.views.bits import BitField
    from pte_magic.views.translation import Translation
    from pte_magic.walkers.entries import Entries


class PteFrame(OwnFrame):
    """Page-table entries, one row per entry, in ascending order of address.

    A frame is a DataFrame: select, group, join and save it like any other. A result is a `PteFrame` as long as its rows
    are entries and its columns have these dtypes; counts, sums and the like are plain DataFrames. `PteFrame(data)`
    makes a frame of data that came back from a file. Columns, in this order:

    ==================  ================  ==========================================================================
    ``vaddr``           uint64            first address that the entry covers
    ``size``            uint64            bytes that it covers
    ``level``           ordered category  pgd, p4d, pud, pmd or pte
    ``entry``           UInt64            the raw entry; missing if the walker cannot read it
    ``state``           category          none, table, present, protnone, swap, migration, device, hwpoison or marker
    ``kind``            category          kind of a special entry, such as migration_write or guard
    ``pfn``             UInt64            page frame number (units of the smallest page), L1TF inversion undone
    *bits, see below*   boolean           bits of the entry; missing if it has no such bit or the walker cannot read it
    ``mapped``          UInt64            bytes that the hardware may hold as one translation (arm64's contiguous bit)
    ``cache``           category          memory type that the PAT index selects in Linux' full PAT; arm64: MAIR
    ``pkey``            UInt8             protection key
    ``swap_type``       UInt8             number of the swap device or of the special entry
    ``swap_offset``     UInt64            where on the swap device, in pages; the content of a special entry
    ``host``            category          name of the host
    ``pid``             int64             process, in the pid namespace of the walk
    ``walker``          category          the walker that read the entry
    ``format``          category          format of the entry and features of its kernel, which decoding needs
    ==================  ================  ==========================================================================

    The bits, for which `bits` shows a picture with their meanings and sources: ``present``, ``rw``, ``user``,
    ``accessed``, ``dirty``, ``global``, ``special``, ``soft_dirty``, ``uffd_wp``, ``nx``, ``saved_dirty``, ``devmap``,
    ``encrypted``, ``swp_exclusive``, ``uxn``, ``pxn``, ``cont``, ``dbm``, ``gp``; of pagemap, ``file`` and
    ``mmap_exclusive``. A frame has only those of its architecture: arm64 has ``uxn``, ``pxn`` and ``cont`` where x86-64
    has ``nx`` and ``soft_dirty``.

    Right after the entries, `walk` reads from /proc/PID/pagemap, for every walker: ``mmap_exclusive`` (mapped only
    here; in swap, nobody knows), ``file`` (a page of a file or of shared memory), and the ``kind`` ``zero_page`` (the
    kernel's page of zeros). They are missing where another page was there by then. Of a huge page, they are what the
    kernel says of its first page. Frames of a single address, of `stream`, of watches and of snapshots have only what
    the entries say.

    `pandas.concat` of frames of several hosts makes ``host`` a column of text; with ``union_categories=True`` (pandas
    3.1) it remains a category, which takes one byte per row instead of twenty.

    `decode` makes frames without the columns of a walk. `attrs` of a frame of a single address hold this ``address``,
    of a few ranges these ``ranges``, and of raw entries, their ``format`` and the features of their kernel. The column
    ``format`` says the same for each row, and more. So frames of several hosts can be joined; methods that need one
    known kernel refuse such frames.
    """

    __module__ = "pte_magic"

    _TYPES = columns.TYPES
    _SAYS = frozenset({"vaddr", "level", "entry", "state", "pfn", *column_names.BOOLEANS})
    _WHOLE = frozenset({"vaddr", "size", "state"})
    _MADE_BY = "pte_magic.walk()"

    # Of a whole address space when it was walked. pandas does not hand it on to results: these are other rows.
    _layout: Layout | None = None

    def __repr__(self) -> str:
        return whole_space(self, self._layout, region_table.text) or super().__repr__()

    def _repr_html_(self) -> str | None:
        return whole_space(self, self._layout, region_table.html) or super()._repr_html_()

    def runs(self) -> PteFrame:
        """Merge neighbours that differ only in address and consecutive page frames.

        Returns:
            The first entry of each run, with two more columns after ``size``: ``entries`` (int64), the number of
            entries in the run, and ``bytes`` (uint64), the bytes that they cover. Runs that continue each other are
            merged.

        Raises:
            TargetError: The frame lacks ``vaddr`` or ``size``, or a column has another dtype than `walk` gave it.

        """
        self._need("runs()", *column_names.WHERE)
        found: PteFrame = runs.merged(self, runs.starts(self))
        return found

    def summary(self, by: Sequence[str] = ()) -> Summary:
        """Count entries and bytes by state and page size.

        Args:
            by: Further columns to count by, such as ``["region"]`` of what `frames` returns.

        Returns:
            Index these, ``state`` and ``size`` (bytes that an entry covers; of contiguous ones the whole block,
            ``mapped``; 0 for states that map nothing), columns ``entries`` (int64) and ``bytes`` (uint64). Entries that
            point to page tables cover nothing themselves, and a run counts as all its entries.

        Raises:
            TargetError: The frame lacks one of these columns, or one has another dtype than `walk` gave it.

        """
        self._need("summary()", *by, "state", "size")
        return Summary(runs.summary(self, by))

    def regions(self) -> Regions:
        """Sum up resident, huge, swapped and shared memory, and page tables by region, as pmap does.

        The regions are those at the moment of the walk for the result of ``walk("all")`` itself, and else those of the
        process that has this pid now. Memory outside of them is in no row.

        Returns:
            One row per region, the largest resident first: see `Regions`.

        Raises:
            TargetError: The frame lacks a column, has one row per run, or is of another host.
            NoSuchProcessError: The process has gone.

        """
        return of_frame(self, self._layout)

    def frames(self) -> PteFrame:
        """Join each entry with the kernel's data about its page frame, and with its region.

        Both are read now: for a page frame that the kernel has moved or freed since the walk, the columns show what it
        is now, and regions are those of the process that has this pid now. For an entry that maps more than a page,
        they show its first page frame.

        Returns:
            The same rows, with these columns (added or replaced) at the end:

            ===============  ========  ==============================================================================
            ``map_count``    UInt64    page-table entries that map the page frame, of /proc/kpagecount; with
                                       CONFIG_NO_PAGE_MAPCOUNT (since 6.15) the average of a larger folio's pages
            ``node``         UInt16    NUMA node, of sysfs; missing where a block of memory belongs to several
            ``cgroup``       category  path of the memory cgroup that is charged for it, as in /proc/PID/cgroup; its
                                       inode if it has no path here
            ``region``       category  name of the region in /proc/PID/maps, empty if it has none; missing outside of
                                       regions, where an empty entry covers several, and of a process that has gone
            ``permissions``  category  the region's, such as ``rw-p``
            ``page_flags``   UInt64    the word of /proc/kpageflags (include/uapi/linux/kernel-page-flags.h)
            ``kpf_…``        boolean   flags that are often needed, ``kpf_anon`` for KPF_ANON; ``kpf_ksm`` is missing
                                       where the kernel sets it for all anonymous pages, as 6.12 does
            ===============  ========  ==============================================================================

            Without a page frame number they are missing. All but ``node`` and the region also need the right to read
            /proc/kpageflags, which only root has.

        Raises:
            TargetError: The frame lacks addresses or page frames, has one row per run, or is of another host.

        Example:
            >>> pte_magic.walk("all").frames().groupby("region", observed=True)["kpf_thp"].mean()

        """
        with importing():
            from pte_magic.dataframes.page_frame_columns import join  # noqa: PLC0415  (this module is to its left)

        self._need("frames()", *column_names.WHERE, "pfn", "host", "pid")
        found: PteFrame = join(self)
        return found

    def bits(self, row: int | None = None) -> BitField:
        """Return a picture of one raw entry; click a bit to change it, and the decoding follows.

        Args:
            row: The number of the row, from 0; from the end if negative. By default the first entry at which a
                translation ends, or else the first.

        Raises:
            TargetError: There is no such row, or it has no raw entry.

        """
        with importing():
            from pte_magic.views.bits import BitField  # noqa: PLC0415  (widgets take as long to import as all else)

        self._need("bits()", "entry", "level")
        of, entry = raw_entry(self, row)
        return BitField(entry, str(of["level"].iloc[0]), kernel=row_kernels.of_all(of))

    def map(  # type: ignore[override]  # without a function, it is ours
        self, func: Callable[[Any], Any] | str | PteFrame | None = None, na_action: Any = None, **options: Any
    ) -> Any:
        """Return a picture of all entries; with a function, do as `pandas.DataFrame.map` does.

        Args:
            func: The function that pandas calls with each value; for the picture the same as ``color``. With another
                frame, this one and that are two maps beside each other, and the squares that changed are outlined.
            na_action: Of pandas.
            options: Of pandas; for the picture ``color``, the meaning of its colours: ``"state"``, ``"size"``,
                ``"contiguity"`` of page frames, or the name of a boolean column, by default the first of them that
                distinguishes something; and ``by``: squares of as many ``"bytes"`` (the default) or ``"entries"``.

        Raises:
            TargetError: There is no such column or measure, or the entries have no addresses.

        """
        if callable(func):
            return super().map(func, na_action=na_action, **options)
        if isinstance(func, PteFrame):
            return self.diff(func).map(**options)
        with importing():
            from pte_magic.views.page_map.page_map import PageMap  # noqa: PLC0415  (widgets take as long to import as all else)

        self._need("map()", *column_names.WHERE, "state")
        return PageMap(within(self, self._layout), **({"color": func} | options if func is not None else options))

    def translation(self) -> Translation:
        """Return a picture of the translation of one address, page table by page table.

        Raises:
            TargetError: The frame is not that of a single address, or has no raw entries.

        """
        with importing():
            from pte_magic.views.translation import Translation  # noqa: PLC0415  (this module is to its left)

        self._need("translation()", *column_names.WHERE, "level", "entry", "state")
        return Translation(self, self.attrs.get("address"))

    @overload
    def diff(self, periods: pd.DataFrame) -> PteDiff: ...
    @overload
    def diff(self, periods: int = 1, axis: Any = 0) -> PteFrame: ...
    def diff(self, periods: Any = 1, axis: Any = 0) -> Any:
        """Return the changes from this frame to another one, walked later or in another process.

        Args:
            periods: The frame after, also one that came back from a file. With a number, this is
                `pandas.DataFrame.diff`.
            axis: Of `pandas.DataFrame.diff`.

        Returns:
            One row per changed entry, with the flipped bits and words: see `PteDiff`.

        Raises:
            TargetError: A frame lacks addresses or states, has one row per run, or covers an address twice.

        """
        if not isinstance(periods, pd.DataFrame):
            return super().diff(periods, axis)
        return compare(self, periods if isinstance(periods, PteFrame) else PteFrame(periods))


def build(  # noqa: PLR0913  (what goes into a frame)
    entries: Entries,
    kernel: Kernel,
    *,
    pid: int,
    host: str | None = None,
    hosts: tuple[str, ...] = (),
    space: AddressSpace | None = None,
) -> PteFrame:
    """Return `decoded_frames.of_walk`, of the same arguments, as a `PteFrame`."""
    plain = decoded_frames.of_walk(entries, kernel, pid, host, hosts, space)
    take: Any = PteFrame  # the stubs do not know how pandas' subclasses take the columns of a frame over
    made: PteFrame = take._from_mgr(plain._mgr, axes=plain.axes)  # noqa: SLF001  (PteFrame(plain) is a third of a small frame's time)
    made.attrs = plain.attrs
    return made


def of_columns(found: dict[str, Column], level: NDArray[np.int8], kernel: Kernel) -> PteFrame:
    """Make a frame of decoded entries without addresses."""
    plain = decoded_frames.without_addresses(found, level, kernel)
    made: PteFrame = PteFrame._own(plain)  # noqa: SLF001  (PteFrame(plain) would look for what is to be restored)
    made.attrs = plain.attrs
    return made
