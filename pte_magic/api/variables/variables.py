"""`variables`: the resident memory of a process by variable, and of all else in it by owner."""

from __future__ import annotations

import time
import traceback
from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from pte_magic.api import progress
from pte_magic.api.frame_base_class import OwnFrame
from pte_magic.api.variables import children, remarks
from pte_magic.api.variables.pages import STATES, Pages
from pte_magic.api.variables.rest_of_process import Areas, Owner
from pte_magic.api.variables.sums import Sums
from pte_magic.dataframes.pandas_compat import TEXT
from pte_magic.linux import hardware, malloc
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.targets import namespaces, owners
from pte_magic.targets.disjoint import Disjoint
from pte_magic.targets.freed_by_del import ENDS, SHARED
from pte_magic.text.units import size
from pte_magic.views import frame_text, frame_view, variables_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pte_magic.api.variables.remarks import Facts
    from pte_magic.linux.regions import Region

_PATIENCE = 1.0  # seconds before a bar is made
_NUMBERS = ("bytes", "resident", "huge", "swapped", "shared", "frees", "also")
_READINGS, _NEAR = 3, 256 << 10  # how often pages are read, and bytes that do not matter


class Variables(OwnFrame):
    """Variables with their memory, the largest resident first, and then all else by owner; made by `variables`.

    =============  ======  =============================================================================================
    ``name``       str     name of the variable; ``Out[12]``, ``sys.last_value`` and the like for what IPython and
                           Python hold; empty for the rest of the process
    ``type``       str     its class; of the rest, the owner: ``malloc, in use``, ``libraries``, …
    ``bytes``      uint64  bytes that it leads to, in memory or not, and that no name before it leads to
    ``resident``   uint64  of these, bytes in memory. The sum of all rows is the kernel's resident size (Rss)
    ``huge``       uint64  of these, bytes on pages larger than the smallest; 0 where they cannot be told: without
                           PAGEMAP_SCAN, before 6.7
    ``swapped``    uint64  bytes that are swapped out
    ``shared``     uint64  resident bytes that other processes map, too, or may; of huge pages that are shared in part,
                           as many as smaps says of the region
    ``frees``      uint64  resident bytes that end with the name, if it is deleted, and nobody else holds them
    ``also``       uint64  resident bytes that other names lead to, too
    ``says``       str     dtype and shape, or how many items; of which variable it is a view
    ``remark``     str     why a ``del`` frees less, who else holds it, and what to type
    =============  ======  =============================================================================================

    A byte that several names lead to counts for the one from which the way is the shortest, or else for the first.
    Freed objects of less than 512 bytes stay with Python, and of others what the C library keeps: see `trim`.
    `attrs` has the kernel's ``rss`` at that moment, and the process, ``pid``.
    """

    __module__ = "pte_magic"

    _TYPES: ClassVar[Mapping[str, Any]] = dict.fromkeys(_NUMBERS, np.dtype(np.uint64))
    _SAYS = frozenset({"frees", "also"})
    _WHOLE = frozenset({"name", "type", "resident", "frees"})
    _MADE_BY = "pte_magic.variables()"

    def __repr__(self) -> str:
        return variables_table.text(self) if variables_table.is_whole(self) else frame_text.text(self)

    def _repr_html_(self) -> str | None:
        if not variables_table.is_whole(self) or not pd.get_option("display.notebook_repr_html"):
            return frame_view.html(self)
        return variables_table.html(self)


def variables(namespace: dict[str, Any] | None = None, *, pid: int | None = None) -> Variables:
    """Return whose memory the resident memory is: a row per variable, and rows for all else of the process.

    Nothing of an object runs, and nothing is copied or kept: objects are followed as Python's garbage collector does
    (``gc.get_referents``), and page tables say what of them is in memory (/proc/self/pagemap). Every user may do this.

    Args:
        namespace: Objects by name; by default those of the notebook, or of ``__main__``, and what IPython and Python
            hold: the output history, and the last error with the variables of its frames.
        pid: A child that this process forked: its memory by this process' names, which are at the same addresses.

    Raises:
        TargetError: `namespace` is not a dictionary, or `pid` is not a forked child.
        PteMagicError: That process has gone, or this user may not look at it.

    Example:
        >>> a = numpy.ones(10_000_000)
        >>> pte_magic.variables()

    """
    if namespace is None:
        return of_held(*namespaces.of_notebook(), pid)
    return of_held(namespaces.of_dictionary(namespace), {id(namespace)}, pid)


def of_held(held: list[namespaces.Held], beyond: set[int], pid: int | None) -> Variables:
    """Return what `variables` describes, of named objects; the list is emptied, as it would keep them."""
    try:
        with nullcontext(own()) if pid is None else AddressSpace(pid) as space:
            if space.pid != own().pid:
                children.check(space)
            return _made(held, beyond, space)
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)  # or it would keep all objects
        raise
    finally:
        held.clear()


def _made(held: list[namespaces.Held], beyond: set[int], space: AddressSpace) -> Variables:
    is_own = space.pid == own().pid
    known = remarks.facts(held)
    with ExitStack() as stack:
        found = owners.of_held(held, beyond, _ticking(stack))
    regions, pages, rss = _read(space)
    info = malloc.info() if is_own else None
    memory = Disjoint(found.start, found.end, found.owner, found.state)
    areas = Areas(space, regions, memory, pages, own=is_own)
    sums = Sums(memory, len(known), areas, pages)
    rest = [*areas.rest(pages, sums.by_use, info), *_uncounted(space)]
    made = _rows(known, found, sums)
    others = pd.DataFrame([_row(one) for one in rest], columns=made.columns)
    frame = pd.concat([made, others.sort_values("resident", ascending=False, kind="stable")], ignore_index=True)
    frame = frame.astype(dict.fromkeys(_NUMBERS, np.uint64) | dict.fromkeys(("name", "type", "says", "remark"), TEXT))
    result = Variables(frame)
    result.attrs.update(rss=rss, pid=space.pid, own=is_own)
    return result


def _read(space: AddressSpace) -> tuple[list[Region], Pages, int]:
    """Return regions, pages, and the resident size: read again if they differ, as reading needs memory, too."""
    for _ in range(_READINGS):
        regions = [region for region in space.regions() if region.start < hardware.user_limit()]
        pages, rss = Pages(space, regions), space.rss()
        if abs(pages.total("resident") - rss) <= _NEAR:
            break
    return regions, pages, rss


def _ticking(stack: ExitStack) -> Callable[[int], object]:
    """Return what is called with the number of new objects; after a second, it moves a bar."""
    begin, bars = time.monotonic(), list[progress.Bar]()

    def tick(count: int) -> None:
        if not bars and time.monotonic() - begin > _PATIENCE:
            bars.append(stack.enter_context(progress.bar("objects", float("inf"), "")))
        for bar in bars:
            bar.update(count)

    return tick


def _rows(known: list[Facts], found: owners.Owners, sums: Sums) -> pd.DataFrame:
    made = pd.DataFrame(
        {
            "name": [one.name for one in known],
            "type": [one.type for one in known],
            "bytes": sums.by_owner["bytes"],
            **{name: sums.by_owner[name] for name in STATES[:-1]},
            "frees": sums.fates[:, ENDS],
            "also": sums.fates[:, SHARED],
            "says": [one.says for one in known],
            "remark": remarks.remarks(known, found, sums.fates),
        }
    )
    made["remark"] = [
        "; ".join(filter(None, (_of_hugetlb(bytes_), remark)))
        for bytes_, remark in zip(sums.by_owner["hugetlb"].tolist(), made["remark"], strict=True)
    ]
    twice = np.array([bool(one.keeper) for one in known], np.bool_) & (found.same != np.arange(len(known)))
    kept: pd.DataFrame = made.loc[~twice]
    return kept.sort_values(["resident", "bytes"], ascending=False, kind="stable")


def _row(one: Owner) -> tuple[Any, ...]:
    states = [one.sums[name] for name in STATES[:-1]]
    return ("", one.type, one.bytes, *states, 0, 0, one.says, _of_hugetlb(one.sums["hugetlb"]))


def _of_hugetlb(bytes_: int) -> str:
    return f"{size(bytes_)} on pages of hugetlb, which the kernel counts elsewhere" if bytes_ else ""


def _uncounted(space: AddressSpace) -> Iterator[Owner]:
    """Yield memory of the process that is in none of its pages."""
    status = space.status()
    tables = int(status.get("VmPTE", "0 kB").split()[0]) << 10
    yield Owner("page tables", "not resident, of the kernel", tables, dict.fromkeys(STATES, 0))
    for name, what in (("VmLck", "locked"), ("VmPin", "pinned")):
        if bytes_ := int(status.get(name, "0 kB").split()[0]) << 10:
            yield Owner(f"{what} memory", "counted above", bytes_, dict.fromkeys(STATES, 0))
