"""`why`: why memory is not on huge pages, and why it is swapped out or on several nodes, if it is."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from pte_magic.api import walk
from pte_magic.api.frame_base_class import OwnFrame
from pte_magic.api.why import (
    attempt,
    of_allocators,
    of_host,
    of_pages,
    of_regions,
    of_settings,
    swap_and_nodes,
    verdict,
)
from pte_magic.api.why.facts import gather
from pte_magic.api.why.rows import HUGE, QUESTIONS, Row
from pte_magic.dataframes.pandas_compat import TEXT
from pte_magic.errors import arguments
from pte_magic.linux import hardware
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.views import why_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pte_magic.api.why.facts import Facts
    from pte_magic.targets.target import Target

_COLUMNS = ("check", "found", "forbids", "type_this", "bytes", "about")


class Why(OwnFrame):
    """The checks that say why memory is not on huge pages; made by `why`. Its text begins with the line that matters.

    =============  ========  =======================================================================================
    ``check``      str       what was looked at
    ``found``      str       what there is, in words; "not readable: needs root" if this user may not look
    ``forbids``    boolean   whether that forbids huge pages; for ``about`` swap, to be in memory; for nodes, to be on
                             others. Missing if it cannot be known
    ``type_this``  str       what takes the cause away: Python, or a command of a shell after ``as root:``
    ``bytes``      UInt64    bytes of the target that this is about; missing if it is not about bytes
    ``about``      category  ``huge pages``, ``swap`` or ``nodes``: the last two only if something is swapped out, or on
                             several nodes
    ``pid``        int64     process, in the pid namespace of /proc
    ``host``       category  name of the host
    =============  ========  =======================================================================================

    `attrs` has the line for huge pages as ``line``, what to type as ``type_this``, and the others as ``also``.
    """

    __module__ = "pte_magic"

    _TYPES: ClassVar[Mapping[str, Any]] = {
        "forbids": pd.BooleanDtype(),
        "bytes": pd.UInt64Dtype(),
        "pid": np.dtype(np.int64),
    }
    _SAYS = frozenset({"check", "found"})
    _WHOLE = frozenset({"check", "found", "forbids"})
    _MADE_BY = "pte_magic.why()"

    def __repr__(self) -> str:
        return why_table.text(self)

    def _repr_html_(self) -> str | None:
        return why_table.html(self)


def why(
    target: object,
    end: int | None = None,
    *,
    pid: int | None = None,
    collapse: bool = False,
    walker: str = "auto",
) -> Why:
    """Return why a target is not on huge pages; also why it is swapped out, or on several nodes, if it is.

    It looks at the regions (``/proc/PID/smaps``), their entries, the kernel's settings
    (``/sys/kernel/mm/transparent_hugepage``), the memory cgroup, and free memory. All of it works without root, but for
    the rows that say so. The rules: ``__thp_vma_allowable_orders()`` in mm/huge_memory.c, and mm/khugepaged.c.

    Args:
        target: As for `walk`.
        end: As for `walk`.
        pid: As for `walk`.
        collapse: Also have the kernel make huge pages now, in each place that has small pages: madvise(2) with
            MADV_COLLAPSE (Linux 6.1), which does not heed ``enabled`` and the limits of khugepaged. A row explains what
            it said, and the others are of the time after.
        walker: As for `walk`.

    Returns:
        One row per check. The text of the frame begins with the line that matters, in words.

    Raises:
        PteMagicError: Says in one line what is wrong, and what to type.

    Example:
        >>> a = numpy.ones(1000)
        >>> pte_magic.why(a)

    """
    collapse = arguments.flag(collapse, "collapse", "type collapse=True to have the kernel make huge pages now")
    with nullcontext(own()) if pid is None else AddressSpace(pid) as space:
        meant = walk.meant_by(target, end, space)
        first, last = (meant.ranges[0][0], meant.ranges[-1][1]) if meant.ranges else (0, 0)
        other = "" if pid is None else f", pid={space.pid}"
        again = f"pte_magic.why({first:#x}, {last:#x}{other}, collapse=True)"
        return of_target(
            meant,
            space,
            value=None if issubclass(type(target), (int, np.integer, str)) else target,
            again=again,
            collapses=collapse,
            walker=walker,
        )


def of_target(  # noqa: PLR0913  (options by name)
    meant: Target, space: AddressSpace, *, value: object, again: str, collapses: bool = False, walker: str = "auto"
) -> Why:
    """Return the checks of addresses that were resolved, in an address space that is open; raises as `why`."""

    def facts() -> Facts:
        return gather(meant, space, value=value, again=again, walker=walker)

    found = facts()
    tried = attempt.collapse(found) if collapses else None
    if tried is not None:
        found = facts()
    rows = _checks(found, tried)
    frame = _framed(rows, space.pid)
    frame.attrs |= verdict.lines(found, rows)
    return frame


def _checks(facts: Facts, tried: Row | None) -> list[Row]:
    if not facts.parts:
        return [Row("size and alignment", "nothing is mapped there", forbids=True)]
    rows = [*of_regions.rows(facts), *of_settings.rows(facts), *of_pages.rows(facts)]
    rows += [] if tried is None else [tried]
    rows += of_host.rows(facts)
    explained = any(row.forbids and row.about == HUGE for row in rows)
    rows += of_regions.eligible(facts, explained=explained)
    return [*rows, *of_allocators.rows(facts), *swap_and_nodes.swap(facts), *swap_and_nodes.nodes(facts)]


def _framed(rows: Iterable[Row], pid: int) -> Why:
    table = [(row.check, row.found, row.forbids, row.type_this, row.bytes, row.about) for row in rows]
    plain = pd.DataFrame(table, columns=list(_COLUMNS)).astype(
        {**dict.fromkeys(("check", "found", "type_this"), TEXT), "forbids": "boolean", "bytes": "UInt64"}
    )
    plain["about"] = pd.Categorical(plain["about"], list(QUESTIONS))
    plain["pid"] = np.int64(pid)
    plain["host"] = pd.Categorical([hardware.host()] * len(plain), [hardware.host()])
    return Why(plain)
