"""`shared`: the memory that processes share since a fork, and what each of them has copied."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from pte_magic.api.frame_base_class import OwnFrame
from pte_magic.api.sharing import targets_or_regions
from pte_magic.api.sharing.members import Members, members
from pte_magic.api.sharing.request import Wanted
from pte_magic.api.sharing.sums import Counted, Table, selected
from pte_magic.dataframes.pandas_compat import TEXT
from pte_magic.dataframes.shared_pages import EITHER, HERE, NEVER, SHARED, SWAPPED, THERE
from pte_magic.errors import TargetError, arguments
from pte_magic.linux import hardware
from pte_magic.text import screen
from pte_magic.text.units import counted, size
from pte_magic.views import shared_table
from pte_magic.views.shared_strips import Strip, Strips
from pte_magic.views.shared_table import BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pte_magic.api.sharing.targets_or_regions import Parts

FRAMES, BIT, BOTH = "page frames", "the exclusive bit", "page frames, and the exclusive bit"
"""How the pages of two processes were compared."""
_COPIED = (int(HERE), int(THERE), int(EITHER))


class Shared(OwnFrame):
    """Memory of processes that were forked from one, by part and process; made by `shared`.

    ``here`` is the process that the others were forked from, ``there`` the one of the row. Each page counts once in a
    row, so the columns from ``shared`` to ``swapped`` never add up to more than ``bytes``.

    =================  ========  ===================================================================================
    ``name``           str       the variable, target or region; empty for regions without a name
    ``type``           str       its class, or what kind of region it is
    ``pid``            int64     the other process, in the pid namespace of /proc
    ``process``        str       its name, as in /proc/PID/comm, as printable text
    ``bytes``          uint64    size of the part in bytes
    ``resident``       uint64    bytes of it that the other process has in memory
    ``shared``         uint64    bytes in page frames that both map
    ``copied_here``    uint64    bytes of which each has its own page, as ``here`` wrote to it since the fork
    ``copied_there``   uint64    likewise, as the other process wrote to it
    ``copied_either``  uint64    likewise, where entries do not tell which of them made the copy: both have written, or
                                 raw entries are not visible; memory that both touched first after the fork, too
    ``never_shared``   uint64    bytes that only one of the two has in memory, or both in different mappings
    ``swapped``        uint64    bytes that are swapped out in one of the two, unless both have the same place
    ``vaddr``          uint64    first address of the part
    ``compared_by``    category  ``page frames``; or ``the exclusive bit``, where page frames are not visible; or both
    ``host``           category  name of the host
    =================  ========  ===================================================================================

    ``attrs["here"]`` is the pid of ``here``; ``attrs["copies"]`` and ``attrs["more"]`` are the bytes that the copies of
    all processes take, and would take in addition if all private memory that is shared was copied;
    ``attrs["left_out"]`` says for each pid that was not compared why.

    Source: ``do_wp_page()`` and ``copy_present_ptes()``, mm/memory.c; Documentation/admin-guide/mm/pagemap.rst.
    """

    __module__ = "pte_magic"

    _TYPES: ClassVar[Mapping[str, Any]] = {
        **dict.fromkeys((*BYTES, "vaddr"), np.dtype(np.uint64)),
        "pid": np.dtype(np.int64),
    }
    _SAYS = frozenset({"copied_here", "copied_there", "copied_either", "never_shared"})
    _WHOLE = frozenset({"name", "pid", "shared"})
    _MADE_BY = "pte_magic.shared()"
    _strips: Strips | None = None

    def __repr__(self) -> str:
        return shared_table.text(self, self._above(), self._below(), self._strips)

    def _repr_html_(self) -> str | None:
        return shared_table.html(self, self._above(), self._below(), self._strips)

    def _above(self) -> list[str]:
        if not shared_table.is_whole(self) or self._strips is None:
            return []
        here, others = self.attrs["here"], self["pid"].nunique()
        by = ", ".join(sorted(set(self["compared_by"])))
        lines = [
            f"pid {here} and {counted(others, 'process', 'processes')} forked from it, compared by {by}",
            shared_table.totals(self),
        ]
        more = f"; if all is copied, {size(self.attrs['more'])} more" if self.attrs["more"] else ""
        copies = self.attrs["copies"]
        once = ""
        if others > 1 and copies < shared_table.copied(self):
            once = " (a copy beside several processes is in the rows of each, and here once)"
        return [*lines, f"copies take {size(copies)}{once}{more}" if copies or more else ""]

    def _below(self) -> list[str]:
        notes = [*self.attrs.get("notes", ()), *shared_table.left_out(self.attrs.get("left_out", {}))]
        return [note for note in notes if note]


def shared(targets: object = None, pids: Any = None, *, walker: str = "auto") -> Shared:
    """Return which memory processes still share since a fork, and which they have copied, by writing to it.

    Nothing is stopped: a page that changes meanwhile is counted as it was in one of the two readings.

    Where page frames are visible, as to root, pages are compared by these. Else by what pagemap shows of each page to
    every user who may look at the process: whether it is mapped anywhere else. With more than two processes that is
    not always by the other one of the row, so ``shared`` may be too high. Raw entries tell who wrote (``rw``);
    without them it is known only where a third process still has the page that was there before.
    Memory that a process got by exec is not a copy: such a process is left out.

    Args:
        targets: The memory to count: a target as for `pte_magic.walk`; several in a list or tuple; several with names
            in a dict. Of an object whose data is elsewhere, as of a list, all that it leads to; to find that, each
            object is looked at, after its pages were compared. Python counts references in the objects, so this copies
            their pages. None for all memory: of arrays and buffers by their names in ``__main__``, which are a
            notebook's, and the rest by region; of other processes than this one and its children, by region only.
        pids: The processes: one pid, or several. If they were forked from this process, they are compared with it. Else
            with that one of them, or that other process, from which all were forked; a single one that has
            children is compared with these. None for the children of this process.
        walker: ``"auto"`` for the best that works here, or a name (see `doctor`).

    Returns:
        One row for each target, or variable and region with a resident page, and process; those with most copies first.

    Raises:
        PteMagicError: Says in one line what is wrong, and what to type.

    Example:
        >>> a = numpy.ones(1 << 20)
        >>> with pte_magic.workloads.fork_with(a) as child:
        ...     child.write(0)
        ...     pte_magic.shared({"a": a})

    """
    with members(_pids(pids)) as found:
        if targets is None:
            return of_members(found, Wanted("", None, None, sys.modules["__main__"].__dict__), walker)
        return of_members(found, Wanted("", None, targets_or_regions.named(targets, found.here)), walker)


def of_members(found: Members, wanted: Wanted, walker: str) -> Shared:
    """Return the sums of processes that are open, of what somebody asked for; raises as `shared`."""
    table = Table(found, wanted.ranges(found), walker)
    of = wanted.parts(found)
    counts = table.sums(of)
    made = _table(found, of, counts, only_used=wanted.is_everything)
    made.attrs["notes"] = [*wanted.notes, *_hints(counts)]
    places = zip(of.names, counts.first.tolist(), counts.last.tolist(), strict=True)
    here = Strip(_label(found, found.here.pid), counts.here, is_here=True)
    others = [Strip(_label(found, one.pid), one.bins, is_here=False) for one in counts.others]
    made._strips = Strips([here, *others], counts.pages, [place for place in places if place[2] >= 0])  # noqa: SLF001  (a part of it)
    return made


def _pids(pids: Any) -> list[int] | None:
    if pids is None:
        return None
    if (one := arguments.index(pids)) is not None:
        return [one]
    is_text = issubclass(type(pids), (str, bytes, bytearray, memoryview))  # each byte of which would be a pid
    several: Any = None if is_text else pids
    try:
        return [arguments.process(pid) for pid in several]
    except TypeError:
        message = f"pids={arguments.shown(pids)} is not a pid, nor several; type 1234, or [1234, 1235]"
        raise TargetError(message) from None


def _label(found: Members, pid: int) -> str:
    return f"pid {pid} {found.names.get(pid, '')}".rstrip()


def _table(found: Members, of: Parts, counts: Counted, *, only_used: bool) -> Shared:
    n, p = len(counts.others), len(of.names)
    kinds = {
        "shared": (int(SHARED),),
        "copied_here": (int(HERE),),
        "copied_there": (int(THERE),),
        "copied_either": (int(EITHER),),
        "never_shared": NEVER,
        "swapped": (int(SWAPPED),),
    }
    pids = [one.pid for one in counts.others]
    made = pd.DataFrame(
        {
            "name": pd.array(of.names * n, TEXT),
            "type": pd.array(of.types * n, TEXT),
            "pid": np.repeat(np.array(pids, np.int64), p),
            "process": pd.array([found.names.get(pid, "") for pid in pids for _ in range(p)], TEXT),
            "bytes": np.tile(of.bytes, n),
            "resident": np.concatenate([one.resident for one in counts.others]),
            **{name: selected(counts, codes).ravel() for name, codes in kinds.items()},
            "vaddr": np.tile(of.vaddr, n),
            "compared_by": pd.Categorical(
                [_by(one.by_frames, one.by_bit) for one in counts.others for _ in range(p)], [FRAMES, BIT, BOTH]
            ),
            "host": pd.Categorical([hardware.host()] * (n * p), [hardware.host()]),
        }
    )
    copied = np.tile(selected(counts, _COPIED).sum(axis=0), n)
    shares = np.tile(selected(counts, (int(SHARED),)).sum(axis=0), n)
    order = np.lexsort((made["pid"], np.tile(np.arange(p), n), -shares.astype(np.int64), -copied.astype(np.int64)))
    made = made.iloc[order]
    if only_used:
        made = made.iloc[np.flatnonzero(made[[*kinds, "resident"]].to_numpy().any(axis=1))]
    result = Shared(made.reset_index(drop=True))
    result.attrs |= {
        "here": found.here.pid,
        "copies": int(counts.copies.sum()),
        "more": int(counts.more.sum()),
        "left_out": dict(found.left_out),
    }
    return result


def _by(frames: int, bit: int) -> str:
    if frames and bit:
        return BOTH
    return BIT if bit else FRAMES


def _hints(counts: Counted) -> list[str]:
    """Return the lines about what entries do not tell here."""
    lines = []
    if any(one.by_bit for one in counts.others) and len(counts.others) > 1:
        lines.append("by the exclusive bit, a page is shared if any process has it, too")
    if not counts.raw and selected(counts, (int(EITHER),)).any():
        lines.append(f"who wrote is in raw entries; {screen.doctor()} says how to see these")
    return lines
