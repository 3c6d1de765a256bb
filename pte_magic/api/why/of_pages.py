"""Checks of the small pages that are in the way, and of khugepaged, which would make huge pages of them.

Source: ``hpage_collapse_scan_pmd()`` and ``__collapse_huge_page_isolate()``, mm/khugepaged.c; newer kernels have these
under other names. MADV_COLLAPSE (6.1, 7d8faaf15545) does not heed the three limits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pte_magic.api.why.facts import ANONYMOUS, SHMEM
from pte_magic.api.why.rows import Row, against, as_root, part
from pte_magic.linux import free_memory
from pte_magic.linux.hardware import PAGE_SIZE
from pte_magic.linux.transparent_hugepages import DIRECTORY
from pte_magic.text.units import counted, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pte_magic.api.why.facts import Facts
    from pte_magic.linux.transparent_hugepages import Settings

    Bools = NDArray[np.bool_]
    Counts = NDArray[np.int64]

_KHUGEPAGED = DIRECTORY / "khugepaged"


def rows(facts: Facts) -> Iterator[Row]:
    """Yield the results of the checks."""
    if facts.measured.bytes.unsure:
        yield Row("small pages", "which of its pages are huge is not readable: needs root, or Linux 6.7", None)
    of = _khugepaged_looks(facts)
    pages = facts.measured.places
    yield _zeros(facts)
    limits = facts.settings.khugepaged if facts.settings else {}
    populated = of & (pages.present > 0)
    yield from _limited(facts, "swapped pages", "swapped out", pages.swapped, of, limits, "max_ptes_swap")
    yield from _limited(facts, "holes", "empty", pages.empty + pages.zero, populated, limits, "max_ptes_none")
    yield from _limited(
        facts, "shared pages", "shared with another process", pages.shared, of, limits, "max_ptes_shared"
    )
    yield from _others(facts)
    yield from _pinned(facts)
    if facts.settings:
        yield from _pace(facts, facts.settings)


def _khugepaged_looks(facts: Facts) -> Bools:
    kinds = np.array([one.kind in {ANONYMOUS, SHMEM} for one in facts.parts], np.bool_)
    found: Bools = kinds[facts.measured.places.area] if len(kinds) else np.zeros(0, np.bool_)
    return found


def _zeros(facts: Facts) -> Row:
    zero, pages = facts.measured.bytes.zero, facts.measured.places
    found = f"{part(zero, facts)} only read so far" if zero else "none"
    only = int(pages.bytes[(pages.zero > 0) & (pages.present + pages.swapped == 0)].sum())
    line = f"{size(zero)} have only been read: they are the kernel's page of zeros"
    left = max(only, zero) if zero == facts.rest else only
    return Row(
        "pages of zeros", found, left > 0, left, "write to it; what was only read takes no memory" * (left > 0), line
    )


def _limited(  # noqa: PLR0913, PLR0917  (a row of a table)
    facts: Facts, check: str, what: str, count: Counts, of: Bools, limits: dict[str, int], name: str
) -> Iterator[Row]:
    """Yield how many pages of a kind are in places, and whether these are too many for khugepaged."""
    pages = facts.measured.places
    most = limits.get(name)
    where = of & (count > 0)
    if not where.any() or most is None:
        limit = "" if most is None else f"; khugepaged takes up to {most}"
        yield Row(check, f"none in the way{limit}")
        return
    found = f"up to {counted(int(count[where].max()), 'page')} {what} of {facts.huge // PAGE_SIZE} in one place, "
    found += f"{counted(int(where.sum()), 'place')}; khugepaged takes up to {most}"
    too_many = of & (count > most)
    left = int(pages.bytes[too_many].sum())
    line = (
        f"up to {int(count[where].max())} of {facts.huge // PAGE_SIZE} pages are {what}, and khugepaged takes {most} "
    )
    line += f"({name})"
    yield Row(check, found, left > 0, left, facts.again if left else "", line)


def _others(facts: Facts) -> Iterator[Row]:
    pages = facts.measured.places
    if len(other := pages.bytes[pages.other > 0]):
        line = "guards, marks of userfaultfd, or pages that are being moved are in the way"
        yield against("other entries", f"{line}, in {counted(len(other), 'place')}", int(other.sum()), "", line)
    # "mm: enable khugepaged to operate on non-writable VMAs", 6.18: MADV_COLLAPSE as well.
    locked = (pages.writable == 0) & (pages.present > 0) & _khugepaged_looks(facts)
    if locked.any():
        found = f"no page may be written in {counted(int(locked.sum()), 'place')}: forbids it in kernels before 6.18"
        yield Row("read-only pages", found, None, int(pages.bytes[locked].sum()))


def _pinned(facts: Facts) -> Iterator[Row]:
    status = facts.space.status()
    pinned = int(status.get("VmPin", "0 kB").partition(" ")[0]) << 10
    locked = sum(one.mapping.bytes.get("Locked", 0) for one in facts.parts)
    found = f"{size(pinned)} of the process pinned for devices (VmPin), {size(locked)} here locked; "
    yield Row("pinned pages", found + "what I/O holds for a moment, only --try shows", None if pinned else False)


def _pace(facts: Facts, settings: Settings) -> Iterator[Row]:
    numbers = settings.khugepaged
    pages, sleep = numbers.get("pages_to_scan"), numbers.get("scan_sleep_millisecs")
    if not pages or sleep is None:
        return
    at_once = pages * PAGE_SIZE
    seconds = -(-facts.total // at_once) * sleep / 1000
    every = free_memory.meminfo().get("AnonPages", 0)
    round_ = -(-every // at_once) * sleep / 1000
    found = (
        f"looks at {size(at_once)} every {sleep / 1000:g} s, so this takes {seconds:,.0f} s once it is here, and all "
    )
    found += (
        f"anonymous memory of the host up to {round_:,.0f} s; {counted(numbers.get('full_scans', 0), 'round')} so far, "
    )
    found += f"{counted(numbers.get('pages_collapsed', 0), 'huge page')} made"
    yield Row("khugepaged", found)
    if settings.anonymous == "never" or facts.measured.bytes.unsure:
        return
    waiting = facts.measured.places
    left = int(waiting.bytes[_khugepaged_looks(facts) & (waiting.present > 0)].sum())
    if left and not numbers.get("defrag", 1):
        yield Row("khugepaged/defrag", "0: it does not make room", type_this=as_root(f"echo 1 > {_KHUGEPAGED}/defrag"))
