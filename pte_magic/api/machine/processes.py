"""`machine`: all processes of this host, one row per process: memory by page size, shared and swapped memory."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from pte_magic import walkers
from pte_magic.api import progress
from pte_magic.api.frame_base_class import OwnFrame
from pte_magic.api.machine import measure, visiting
from pte_magic.api.machine.mapped import MapCounts
from pte_magic.api.machine.owners import owners
from pte_magic.dataframes.pandas_compat import TEXT
from pte_magic.errors import TargetError
from pte_magic.errors.cut import cut
from pte_magic.formats import kernel
from pte_magic.linux import hardware, kernel_text, sizes
from pte_magic.linux.importing import importing
from pte_magic.text import screen, units
from pte_magic.views import frame_view, pandas_table
from pte_magic.views.markup import escape
from pte_magic.views.text_table import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


_COMMAND = 48  # characters of a command line that are shown: pandas cuts longer ones in HTML only
_LONGEST = 1000  # of those that the mouse shows
_MARK = "\ue000"  # in what pandas escapes, to become an element of HTML: a character that has no meaning of its own
_SEE = ", see attrs['left_out']"
_TOLD = {"swapped": "swapped out", "page_tables": "of page tables"}
_NEEDED = {"pid", "resident", "swapped", "page_tables", "pss"}


class Processes(OwnFrame):
    """Processes with their memory, the largest first; made by `machine`.

    ================  ========  ====================================================================================
    ``pid``           int64     process, in the pid namespace of /proc
    ``name``          str       its own, as in /proc/PID/comm, as printable text
    ``user``          str       effective user; its number if it has no name
    ``resident``      UInt64    bytes of the pages that it maps
    ``resident_4k``   UInt64    of these, bytes on pages of 4 KiB, whatever the size of their folio
    ``resident_2m``   UInt64    on pages of 2 MiB, one entry per page
    ``resident_1g``   UInt64    on pages of 1 GiB, likewise
    ``contiguous``    UInt64    arm64 only: bytes on pages of any size whose entries have the contiguous bit: the
                                hardware may hold several of them as one translation
    ``huge_share``    Float64   share of the resident bytes on pages larger than the smallest, from 0 to 1
    ``swapped``       UInt64    bytes that its entries say are swapped out
    ``page_tables``   UInt64    bytes of its page tables of the levels pte, pmd and pud
    ``pss``           UInt64    proportional set size: each page divided by the number of entries that map it
    ``uss``           UInt64    unique set size: bytes of page frames that no other entry maps
    ``command``       str       its arguments, as in /proc/PID/cmdline, as printable text; empty if it has none
    ``host``          category  name of the host
    ``walker``        category  the walker that read the entries
    ================  ========  ====================================================================================

    The names of the size columns follow the host's page sizes: ``resident_16k`` and ``resident_32m`` where the smallest
    page has 16 KiB. Values that the walker cannot see are missing: without page frames ``pss`` and ``uss``, without raw
    entries ``page_tables`` and ``contiguous``. ``attrs["left_out"]`` says for each pid without a row why it has none:
    this user may not look at it, or its page tables changed again and again.
    """

    __module__ = "pte_magic"

    _TYPES: ClassVar[Mapping[str, Any]] = {
        "pid": np.dtype(np.int64),
        **dict.fromkeys((*sorted(_NEEDED - {"pid"}), measure.CONTIGUOUS, "uss"), pd.UInt64Dtype()),
        "huge_share": pd.Float64Dtype(),
    }
    _SAYS = frozenset({*_NEEDED - {"pid"}, "uss"})  # whatever is counted, pid is a number
    _WHOLE = frozenset({"pid", "name", "resident"})
    _MADE_BY = "pte_magic.machine()"

    @classmethod
    def _wanted(cls, name: Any) -> Any:
        return pd.UInt64Dtype() if str(name).startswith(measure.RESIDENT) else super()._wanted(name)

    def map(  # type: ignore[override]  # without a function, it is ours
        self, func: Callable[[Any], Any] | None = None, na_action: Any = None, **options: Any
    ) -> Any:
        """Return a picture of physical memory by owner, as it is now; with a function, do as `pandas.DataFrame.map`.

        A square is some page frames, in the colours of their owners by their shares: one of the first processes of this
        frame, another process, several processes, the page cache, the kernel, or nobody.

        Args:
            func: The function that pandas calls with each value.
            na_action: Of pandas.
            options: Of pandas.

        Raises:
            TargetError: This user does not see page frames, or the processes are not of this host.

        """
        if callable(func):
            return super().map(func, na_action=na_action, **options)
        if func is not None:
            message = f"{func!r} is not a function; type .map() for the picture of physical memory"
            raise TargetError(message)
        self._need("map()", "pid", "name", "host", "walker")
        with importing():
            from pte_magic.views import palette  # noqa: PLC0415  (widgets take as long to import as all else)
            from pte_magic.views.page_map import physical_map  # noqa: PLC0415  (widgets take as long to import as all else)

        if set(self["host"]) != {hardware.host()}:
            message = "these are not the processes of this host; type pte_magic.machine().map()"
            raise TargetError(message)
        first = self.iloc[: len(palette.PROCESSES)]
        names = [f"{name} (pid {pid})" for name, pid in zip(first["name"], first["pid"], strict=True)]
        return physical_map.PhysicalMap(*owners(self["pid"].tolist(), names, walkers.get(self["walker"].iloc[0])))

    def _wanted_sizes(self) -> list[Any]:
        return [name for name in self.columns if self._wanted(name) in {pd.UInt64Dtype(), pd.Float64Dtype()}]

    def __repr__(self) -> str:
        shown, limit, notes = self._shown()
        if "command" in shown.columns:
            shown = shown.assign(command=[cut(str(command), _COMMAND) for command in shown["command"]])
        found = pandas_table.fitted(frame_view.words(shown), limit, self._rules())
        first = pandas_table.sentences(_headline(self), screen.BOLD)
        return "\n".join([*first, *found.lines, *pandas_table.sentences(found.notes(notes))])

    def _rules(self) -> Rules:
        """Return what gives way in a narrow terminal; other columns say most of it, too."""
        by_size = [name for name in self.columns if str(name).startswith(measure.RESIDENT)]
        leave = ["page_tables", *by_size[:1], measure.CONTIGUOUS, *by_size[1:], "uss", "name", "user", "huge_share"]
        return Rules(leave, ("pid", "resident", "pss", "command"), cut=("command",), last=("pss",))

    def _repr_html_(self) -> str | None:
        if not pd.get_option("display.notebook_repr_html"):
            return None
        shown, limit, notes = self._shown()
        words = frame_view.words(shown)
        if "command" in words.columns:
            words["command"] = [f"{_MARK}{at}{_MARK}" for at in range(len(words))]
        table = frame_view.html_table(words, limit, "table of processes")
        if "command" in words.columns:
            cells = [_in_one_line(str(command)) for command in shown["command"]]
            table = re.sub(f"{_MARK}([0-9]+){_MARK}", lambda found: cells[int(found[1])], table)
        return "".join([frame_view.paragraph(_headline(self)), table, frame_view.paragraph(notes)])

    def _shown(self) -> tuple[pd.DataFrame, int | None, list[str]]:
        shown, notes = frame_view.telling(self, frame_view.shape_of(self), ("host", "walker"))
        zero = [name for name in shown.columns if name in self._wanted_sizes() and (shown[name].fillna(0) == 0).all()]
        if zero and len(shown):
            shown, notes = shown.drop(columns=zero), [*notes, f"0 in all rows: {', '.join(zero)}"]
        shown, limit = frame_view.ends(shown)
        return shown, limit, [*notes, *_left_out(self.attrs.get("left_out", {}))]


def _in_one_line(command: str) -> str:
    """Return the beginning of a command as HTML, with more of it where the mouse rests."""
    whole = escape(cut(command, _LONGEST))
    return f'<span style="white-space: nowrap" title="{whole}">{escape(cut(command, _COMMAND))}</span>'


def machine(*, walker: str = "auto") -> Processes:
    """Return the memory of every process of this host, from its page-table entries.

    Each process is walked twice, piece by piece: first to count the entries that map each page frame, then for its row.
    So a row is of one walk, and the memory needed is one piece, and four bytes for each mapped page frame: at most a
    thousandth of the host's memory.

    ``resident`` is what the kernel calls Rss, plus pages of hugetlb, which the kernel counts elsewhere. ``pss`` is
    computed as the kernel computes Pss, but mappings of invisible processes, such as those outside of this pid
    namespace, do not count as shared. The kernel's ``Swap`` of smaps also counts shared memory, which entries do not
    show. Its ``VmPTE`` also counts the page table that it keeps ready for each anonymous huge page, which maps nothing.

    Args:
        walker: ``"auto"`` for the best that works here, or a name (see `doctor`).

    Returns:
        One row per process with an address space: kernel threads, and processes that ended meanwhile, have none.

    Raises:
        PteMagicError: The walker does not exist, or cannot work here.

    Example:
        >>> pte_magic.machine().groupby("user")["pss"].sum()

    """
    reader = walkers.get(walker)
    counts = MapCounts() if visiting.sees_frames(reader) else None
    pids = kernel_text.pids()
    left_out: dict[int, str] = {}
    rows = []
    with progress.bar("machine", len(pids) * (2 if counts else 1), "process") as bar:
        if counts:
            for pid in pids:
                visiting.with_space(pid, {}, functools.partial(measure.count, reader=reader, counts=counts))
                bar.update()
        for pid in pids:
            row = visiting.with_space(pid, left_out, functools.partial(measure.row, reader=reader, counts=counts))
            rows += [row] if row else []
            bar.update()
    return _table(rows, reader.name, left_out)


def _types() -> dict[str, Any]:
    blocks = (measure.CONTIGUOUS,) if kernel.running().format.contiguous else ()
    by_size = measure.size_columns().values()
    names = ("resident", *by_size, *blocks, "huge_share", "swapped", "page_tables", "pss", "uss")
    found = {"pid": np.dtype(np.int64), "name": TEXT, "user": TEXT, **dict.fromkeys(names, "UInt64")}
    return found | {"huge_share": "Float64", "command": TEXT}


def _table(rows: list[dict[str, Any]], walker: str, left_out: dict[int, str]) -> Processes:
    types = _types()
    made = Processes(rows, columns=list(types)).astype(types)
    made["host"] = pd.Categorical([hardware.host()] * len(rows), [hardware.host()])
    made["walker"] = pd.Categorical([walker] * len(rows), list(walkers.NAMES))
    made = made.sort_values(["resident", "pss"], ascending=False, kind="stable", ignore_index=True)
    made.attrs["left_out"] = left_out
    return made


def _headline(table: Processes) -> list[str]:
    """Return the line above the table, if the columns for it are there."""
    if not set(table.columns) >= _NEEDED or not table.columns.is_unique or table._unfit():  # noqa: SLF001  (a part of it)
        return []
    by = "pss" if table["pss"].notna().all() else "resident"
    by_size = [name for name in table.columns if str(name).startswith(measure.RESIDENT)]
    huge = {name: f"on pages of {sizes.words(name.removeprefix(measure.RESIDENT))}" for name in by_size[1:2]}
    total = "shared pages counted once" if by == "pss" else "shared pages counted for each process"
    parts = [
        units.counted(len(table), "process", "processes"),
        f"{units.size(int(table[by].sum()))} resident ({total})",
    ]
    parts += [
        f"{units.size(int(table[name].sum()))} {words}"
        for name, words in (huge | _TOLD).items()
        if table[name].notna().all()
    ]
    return ["; ".join(parts)]


def _left_out(why: dict[int, str]) -> list[str]:
    if not why:
        return []
    pid = min(why)
    more = f" (and {len(why) - 1:,} more{screen.either(_SEE, '')})" if len(why) > 1 else ""
    return [f"left out: {why[pid]}{more}"]
