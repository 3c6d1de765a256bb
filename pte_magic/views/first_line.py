"""The first line of a frame in words: how much is resident, on which pages, in swap, and shared.

A fact that the frame does not have is left out: entries of a snapshot, for example, do not tell what is shared.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from pte_magic.dataframes import row_kernels
from pte_magic.dataframes.frame_kinds import can_be_counted, is_translation
from pte_magic.dataframes.pagemap_columns import HUGETLB, KSM, MAPPED, PARTLY, ZEROS_UNKNOWN
from pte_magic.errors import TargetError
from pte_magic.errors.escapes import visible
from pte_magic.linux import mapped_files, sizes
from pte_magic.text.units import counted, share, size
from pte_magic.views.computed_once import once
from pte_magic.views.page_stretches import portions, ranges_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pte_magic.formats.kernel import Kernel
    from pte_magic.views.page_stretches import Portions

    Bools = NDArray[np.bool_]

MOST_PROCESSES = 8
"""The most processes that have a line of their own."""

_MANY_PAGES = 10_000  # from here on, bytes say more than a number of pages
_ELSEWHERE = (("migration", "being moved"), ("device", "in a device's memory"), ("hwpoison", "in memory that failed"))


class Facts(NamedTuple):
    """The facts about a range of one process, for its line.

    Attributes:
        found: Its portions.
        resident: Which of them are in memory, and not the page of zeros, ``bool[m]``.
        zero: Which of them are the page of zeros, ``bool[m]``.
        sizes: The bytes of pages that entries map, ascending; empty if the kernel of the entries is not known.
        ranges: First addresses, and first addresses after, of what was asked for; empty if that is not known.
        attrs: The `attrs` of the frame.

    """

    found: Portions
    resident: Bools
    zero: Bools
    sizes: tuple[int, ...]
    ranges: tuple[tuple[int, int], ...]
    attrs: dict[Any, Any]


class Line(NamedTuple):
    """A line, and the portions of its process."""

    words: str
    found: Portions


@once
def lines(frame: pd.DataFrame) -> list[Line]:
    """Return the line about a range, or the lines of its first processes.

    There is none about a single address, or if a column is missing.
    """
    if not is_range(frame):
        return []
    of_each = islice(((name, _facts(part)) for name, part in _processes(frame)), MOST_PROCESSES)
    return [Line(name + _sentence(facts), facts.found) for name, facts in of_each if len(facts.found.bytes)]


def is_range(frame: pd.DataFrame) -> bool:
    """Tell whether the rows of a frame are the entries of a range, and not those on the way to one address."""
    if not can_be_counted(frame):
        return False
    return not is_translation(frame) or ("ranges" in frame.attrs and "address" not in frame.attrs)


def _processes(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows of each process, and the words before its line if there are several."""
    key, keys = _keys(frame)
    if len(keys) < 2:  # noqa: PLR2004  (with one, there is nothing to tell apart)
        yield "", frame
        return
    several_hosts = len({host for host, _ in keys}) > 1
    for number, (host, pid) in enumerate(keys):
        where = f"{visible(str(host))}, " if several_hosts else ""
        yield f"{where}pid {pid}: ", frame[key == number]


def _keys(frame: pd.DataFrame) -> tuple[NDArray[np.intp], list[tuple[Any, Any]]]:
    """Return the process of each row, ``intp[n]``, and host and pid of each process; none without these columns."""
    if not {"host", "pid"} <= set(frame.columns):
        return np.zeros(len(frame), np.intp), []
    host, pid = frame["host"], frame["pid"]
    if (pid.iloc[0] == pid).all() and _is_one(host):
        return np.zeros(len(frame), np.intp), [(host.iloc[0], pid.iloc[0])]
    groups = frame.groupby(["host", "pid"], observed=True, dropna=False, sort=False)
    keys: list[Any] = list(groups.groups)
    return groups.ngroup().to_numpy().astype(np.intp), keys


def _is_one(host: pd.Series[Any]) -> bool:
    codes = host.array.codes if isinstance(host.array, pd.Categorical) else pd.factorize(host)[0]
    return bool((codes == codes[0]).all())


def _facts(frame: pd.DataFrame) -> Facts:
    found = portions(frame)
    in_memory = found.having("present") | found.having("protnone")
    zero = in_memory & found.called("zero_page")
    try:
        sizes = _sizes(row_kernels.of_all(frame))
    except TargetError:  # of several kernels, or of an unknown one
        sizes = ()
    return Facts(found, in_memory & ~zero, zero, sizes, ranges_of(frame), frame.attrs)


def _sizes(kernel: Kernel) -> tuple[int, ...]:
    return tuple(sorted(1 << shift for shift in kernel.shifts.values()))


def _sentence(facts: Facts) -> str:
    found, total = facts.found, facts.found.total()
    for rows, says in (
        (found.having("none"), "nothing there: untouched, or given back"),
        (facts.zero, "all of it is the page of zeros: read, and never written"),
        (found.having("swap"), "all swapped out"),
    ):
        if rows.all():
            return f"{size(total)}: {says}"
    clauses = [_residency(facts, total), _pages(facts, total), _swapped(facts), *_shared(facts)]
    return f"{size(total)}: {'; '.join(filter(None, clauses))}"


def _residency(facts: Facts, total: int) -> str:
    found, resident = facts.found, facts.found.total(facts.resident)
    parts = ["all resident" if resident == total else f"{size(resident) if resident else 'nothing'} resident"]
    if without := found.total(facts.resident & found.having("protnone")):
        parts[0] += f" ({'all' if without == resident else size(without)} without access)"
    guard, marker, of_file = found.called("guard"), found.having("marker"), found.file[facts.resident] != 0
    others = (
        (facts.zero, "of the page of zeros (read, never written)"),
        (found.having("none"), "without pages" + ("" if of_file.any() else " (untouched, or given back)")),
        *((found.having(state), says) for state, says in _ELSEWHERE),
        (marker & guard, "guarded"),
        (marker & ~guard, "marked, and not there"),
    )
    parts += [f"{size(found.total(rows))} {says}" for rows, says in others if rows.any()]
    return ", ".join(parts)


def _pages(facts: Facts, total: int) -> str:
    """Return the sizes of pages in memory, and where small ones are for want of alignment."""
    found = facts.found.of(facts.resident)
    resident = found.total()
    if not resident or (found.level < 0).any():
        return ""
    sizes = sorted(set(found.page.tolist()), reverse=True)
    large = f" of {mapped_files.HUGETLB}" if facts.attrs.get(HUGETLB) is True else ""
    names = [_called(each, facts.sizes) + (large if each > min(facts.sizes, default=each) else "") for each in sizes]
    reason, explained = _unaligned(facts)
    if len(sizes) == 1:
        return f"all on {names[0]}" + reason
    parts = [
        f"{share(found.total(found.page == each), resident)} on {name}"
        for each, name in zip(sizes[:-1], names, strict=False)
    ]
    parts[-1] += reason
    if not explained:
        parts.append(f"the rest on {names[-1]}")
    return ("of that, " if resident < total else "") + ", ".join(parts)


def _called(page: int, sizes: tuple[int, ...]) -> str:
    return f"contiguous blocks of {size(page)}" if sizes and page not in sizes else f"{size(page)} pages"


def _unaligned(facts: Facts) -> tuple[str, bool]:
    """Return in words what of the small pages fills no huge page because of its place, and whether these are all."""
    if len(facts.sizes) < 2 or len(facts.ranges) != 1:  # noqa: PLR2004  (the smallest page, and a huge one)
        return "", False
    page, huge = facts.sizes[:2]
    (start, end), small = facts.ranges[0], facts.found.of(facts.resident & (facts.found.page < huge))
    first, last = -(-start // huge) * huge, end // huge * huge
    if first >= last:
        is_small = small.total() == facts.found.total(facts.resident)
        why = f"less than {size(huge)}" if end - start < huge else f"no aligned {size(huge)} in it"
        return (f" ({why})", True) if is_small else ("", False)
    if small.total() == facts.found.total(facts.resident):  # not because of its place
        return "", False
    edges = [(small.within(start, first), "start"), (small.within(last, end), "end")]
    said = [f"{size(part)} at the {where}" for part, where in edges if part]
    if not said:
        return "", False
    several = {page} != set(small.page.tolist())  # blocks, of which not all is explained so
    explained = not several and sum(part for part, _ in edges) == small.total()
    return f" ({' and '.join(said)} {'is' if len(said) == 1 else 'are'} not aligned)", explained


def _swapped(facts: Facts) -> str:
    """Return how much is in swap: of shared memory, entries do not tell it."""
    found = facts.found
    if swapped := found.total(found.having("swap")):
        return f"{size(swapped)} swapped out"
    may_be = found.having("none").any() and (found.file[facts.resident] != 0).any()
    return "no private memory swapped" if may_be else "nothing swapped"


def _shared(facts: Facts) -> list[str]:
    """Return the clauses about files and sharing; none if pagemap was not read."""
    found = facts.found.of(facts.resident)
    resident, of_file, shared = found.total(), found.file == 1, found.exclusive == 0
    clauses = []
    if of_file.any():
        kind = facts.attrs.get(MAPPED)
        what = kind if kind in mapped_files.KINDS else "files or shared memory"
        if kind != mapped_files.HUGETLB or facts.attrs.get(HUGETLB) is not True:  # which the sizes of pages say
            clauses.append(f"{_part(found, of_file, resident)} of {what}")
    if not shared.any():
        if len(shared) and (found.exclusive == 1).all():
            clauses.append("mapped nowhere else" if of_file.any() else "shared with nobody")
        return clauses
    some = "" if (found.exclusive >= 0).all() else "at least "
    others = "other processes" + (", or merged by KSM" if facts.attrs.get(KSM) is True else "")
    others += ", or the page of zeros" if facts.attrs.get(ZEROS_UNKNOWN) is True else ""
    anonymous = shared & (found.file == 0)
    for rows, says in (
        (anonymous, f"shared with {others} (copy-on-write)"),
        (shared & ~anonymous, "also mapped elsewhere"),
    ):
        if rows.any() and facts.attrs.get(PARTLY) is True and (found.page[rows] >= sizes.huge()).any():
            clauses.append(f"{_up_to(found, rows, resident)} {says}")
        elif rows.any():
            clauses.append(f"{some}{_part(found, rows, resident)} {says}")
    return clauses


def _up_to(found: Portions, rows: Bools, whole: int) -> str:
    """Return the part that may be shared, where of a huge page it may be no more than the first small one."""
    part = _part(found, rows | (found.exclusive < 0), whole)
    return "some of it" if part == "all" else f"up to {part}"


def _part(found: Portions, rows: Bools, whole: int) -> str:
    """Return a part of what is resident: all, pages of one size, or bytes."""
    part, page = found.total(rows), int(found.page[0])
    if part == whole:
        return "all"
    if (found.page == page).all() and part % page == whole % page == 0 and whole // page < _MANY_PAGES:
        return f"{part // page:,} of {counted(whole // page, 'page')}"
    return f"{size(part)} of {size(whole)}"
