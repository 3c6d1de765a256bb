"""The attempt: a huge page at every place that has small pages, by MADV_COLLAPSE, and what the kernel said."""

from __future__ import annotations

import collections
import errno
from typing import TYPE_CHECKING

from pte_magic.api.why.facts import HUGETLB, SPECIAL
from pte_magic.api.why.rows import Row, against
from pte_magic.linux import collapsing
from pte_magic.text.units import counted

if TYPE_CHECKING:
    from pte_magic.api.why.facts import Facts

CHECK = "MADV_COLLAPSE"
# madvise_collapse_errno(), mm/khugepaged.c; madvise(2), "MADV_COLLAPSE".
_MEANS = {
    errno.EAGAIN: "a page is in use just now, such as by I/O, vmsplice or a device that holds it; type it again later",
    errno.EBUSY: "the memory cgroup has no room for a huge page, or userfaultfd watches holes there",
    errno.ENOMEM: "no huge page could be made of free memory, or nothing is mapped there any more",
    errno.EINVAL: "the kernel forbids it here: by its rules for the region, or a page that cannot be part of one",
    errno.EPERM: "process_madvise(2) of another process needs CAP_SYS_NICE; run it as root",
    errno.EACCES: "the process may not be changed by this user",
    errno.ENOSYS: "the kernel has no process_madvise(2) (5.10), or a filter forbids it",
    errno.ESRCH: "the process has gone",
}
_MOST = 4  # attempts, as a page may be in use for a moment


def collapse(facts: Facts) -> Row:
    """Ask the kernel for huge pages in all places with small pages; return what it said."""
    pages = facts.measured.places
    never = {at for at, one in enumerate(facts.parts) if one.kind in {HUGETLB, SPECIAL}}
    worth = [
        start
        for start, area, some in zip(
            pages.start.tolist(), pages.area.tolist(), (pages.present + pages.swapped).tolist(), strict=True
        )
        if some and area not in never
    ]
    if not worth:
        return Row(CHECK, "nothing was asked: no place has small pages")
    failed: dict[int, int] = dict.fromkeys(worth, errno.EAGAIN)
    try:
        for _ in range(_MOST):
            again = [place for place, why in failed.items() if why == errno.EAGAIN]
            if not again:
                break
            others = {place: why for place, why in failed.items() if why != errno.EAGAIN}
            failed = others | collapsing.collapse(None if facts.is_own else facts.space.pid, again, facts.huge)
    except OSError as error:
        failed = dict.fromkeys(worth, error.errno or errno.ESRCH)
    made = f"{len(worth) - len(failed)} of {counted(len(worth), 'place')} became huge pages"
    if not failed:
        return Row(CHECK, made)
    by_error = collections.Counter(failed.values()).most_common()
    said = "; ".join(f"{count} {errno.errorcode.get(why, str(why))}: {_said(why)}" for why, count in by_error)
    line = f"MADV_COLLAPSE failed with {errno.errorcode.get(by_error[0][0], '?')}: {_said(by_error[0][0])}"
    return against(CHECK, f"{made}; {said}", len(failed) * facts.huge, "", line)


def _said(why: int) -> str:
    return _MEANS.get(why, "the kernel's reason is not known here")
