"""Checks of the regions: their size and alignment, what was advised, their flags, and what the kernel says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.api.why.facts import ANONYMOUS, HUGETLB, SPECIAL
from pte_magic.api.why.rows import Row, advise, against, part
from pte_magic.linux import transparent_hugepages
from pte_magic.linux.transparent_hugepages import COMPLETELY, EXCEPT_ADVISED
from pte_magic.text.units import counted, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pte_magic.api.why.facts import Facts, Part

_FLAGS = {
    "lo": "locked into memory (lo)",
    "wf": "wiped in forked children (wf)",
    "dc": "not copied to forked children (dc)",
    "mt": "with memory tags (mt)",
    "mg": "shared by KSM where equal (mg)",
    "nr": "without reserved swap space (nr)",
    "um": "watched by userfaultfd, missing pages (um)",
    "uw": "watched by userfaultfd, writes (uw)",
    "ui": "watched by userfaultfd, minor faults (ui)",
    "io": "memory of a device (io)",
    "pf": "page frames without struct page (pf)",
    "mm": "mixed page frames (mm)",
    "de": "may not grow (de)",
    "ss": "a shadow stack (ss)",
}
"""Flags of Documentation/filesystems/proc.rst that matter to those who ask for huge pages."""
_WATCHED = {"um", "uw", "ui"}
_PRCTL = "import ctypes; ctypes.CDLL(None).prctl(41, 0, 0, 0, 0)"  # PR_SET_THP_DISABLE
_SETS = "prctl(PR_SET_THP_DISABLE)"


def rows(facts: Facts) -> Iterator[Row]:
    """Yield the results of the checks."""
    yield _fit(facts)
    yield _special(facts)
    yield _not_advised(facts)
    yield _prctl(facts)


def _fit(facts: Facts) -> Row:
    huge, beside = facts.huge, int(facts.measured.beside.sum())
    fit = facts.total - beside
    found = f"{part(fit, facts)} in places for huge pages ({size(huge)}, aligned, within a region)"
    count = counted(len(facts.parts), "region")
    if not beside:
        return Row("size and alignment", f"{found}; {count}")
    longest = max(facts.parts, key=lambda one: one.mapping.region.end - one.mapping.region.start).mapping.region
    length = longest.end - longest.start
    of_them = "regions" if len(facts.parts) > 1 else "region"
    line = f"{size(beside)} lie at the ends of its {of_them}, where a page of {size(huge)} does not fit"
    make = f"pte_magic.workloads.huge_array({-(-facts.total // huge)})" if facts.value is not None else ""
    if not fit and length < huge:
        line = f"its region has {size(length)}, and a huge page needs {size(huge)}"
        if len(facts.parts) > 1:
            line = f"the largest of its {count} has {size(length)}, and a huge page needs {size(huge)}"
    elif not fit:
        line = f"no {size(huge)} of it begin at a multiple of {size(huge)} and lie in one region"
    return against("size and alignment", f"{found}; {size(beside)} beside them; {count}", beside, make, line)


def _special(facts: Facts) -> Row:
    special = [one for one in facts.parts if one.kind == SPECIAL]
    watched = facts.of(lambda one: one.mapping.flags & _WATCHED)
    flags = sorted({flag for one in facts.parts for flag in one.mapping.flags} & _FLAGS.keys(), key=list(_FLAGS).index)
    found = "; ".join(_FLAGS[flag] for flag in flags) or "none that matters"
    if special:
        name = special[0].mapping.region.name or "a device"
        return against("flags", found, facts.of(lambda one: one.kind == SPECIAL), "", f"it is the kernel's: {name}")
    if watched:
        line = "userfaultfd watches it: the kernel fills no holes there, and moves no page"
        return against("flags", found, watched, "unregister the range from userfaultfd", line)
    return Row("flags", found)


def _not_advised(facts: Facts) -> Row:
    def refuses(one: Part) -> bool:
        return "nh" in one.mapping.flags

    refused, asked = facts.of(refuses), facts.of(lambda one: "hg" in one.mapping.flags)
    if any(map(refuses, facts.parts)):
        line = f"{part(refused, facts)} has the advice MADV_NOHUGEPAGE"
        return against("advice", f"{line} (flag nh)", refused, advise(facts, *facts.first(refuses)), line)
    words = f"MADV_HUGEPAGE for {part(asked, facts)} (flag hg)" if asked else "no advice for huge pages, none against"
    if not facts.rest and any("hg" in one.mapping.flags for one in facts.parts):
        words = "MADV_HUGEPAGE (flag hg)"
    return Row("advice", words)


def _prctl(facts: Facts) -> Row:
    in_status = facts.space.status().get("THP_enabled", "")  # since 5.0: Documentation/filesystems/proc.rst
    set_to = transparent_hugepages.disabled() if facts.is_own else 0
    undo = _PRCTL if facts.is_own else f"in pid {facts.space.pid}: prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0)"
    everything = facts.of(lambda one: one.kind != HUGETLB)
    if facts.settings and (in_status == "0" or set_to == COMPLETELY):
        line = f"{_SETS} has disabled huge pages for this process, which children inherit"
        return against("prctl", line, everything, undo, line)
    if set_to == EXCEPT_ADVISED:
        without = facts.of(lambda one: one.kind != HUGETLB and "hg" not in one.mapping.flags)
        line = f"{_SETS} has disabled huge pages for this process, but where it asks for them"
        return Row("prctl", f"{line} (PR_THP_DISABLE_EXCEPT_ADVISED)", without > 0, without, undo, line)
    found = "huge pages are not disabled for the process"
    if not facts.is_own:
        found += "; only the process itself can see whether they are disabled where it does not ask for them"
    return Row("prctl", found)


def eligible(facts: Facts, *, explained: bool) -> Iterator[Row]:
    """Yield what the kernel itself says of each region, which forbids something only if no other check says why."""

    def refused(one: Part) -> bool:
        return one.mapping.eligible is False and one.kind == ANONYMOUS

    said = [one.mapping.eligible for one in facts.parts if one.mapping.eligible is not None]
    if not said:
        return
    left = facts.of(refused)
    found = f"{said.count(True)} of {counted(len(said), 'region')} may have huge pages, says smaps"
    if left and not explained:
        line = "the kernel says that its regions may not have huge pages, and no check here says why"
        if not facts.is_own:
            line += "; perhaps PR_THP_DISABLE_EXCEPT_ADVISED, which only that process can see"
        yield against("THPeligible", found, left, "", line)
    else:
        yield Row("THPeligible", found)
