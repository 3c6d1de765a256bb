"""`Shown`: the parts of a display of page faults, which its text, its HTML and its pictures are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pte_magic.text.units import counted, share, size
from pte_magic.views.faults_timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pte_magic.views.faults_timeline import Marks

PHRASES = {
    "first touch: fresh page": ("first touch", "first touches"),
    "first touch: fresh huge page": ("fresh huge page", "fresh huge pages"),
    "first touch: page of zeros": ("read of an untouched page", "reads of untouched pages"),
    "copy-on-write": ("copy-on-write", "copies-on-write"),
    "copy-on-write of the page of zeros": ("write after a read", "writes after a read"),
    "page of shared memory": ("page of shared memory", "pages of shared memory"),
    "page cache": ("page from the page cache", "pages from the page cache"),
    "page cache, read from disk": ("page read from disk", "pages read from disk"),
    "swap-in": ("swap-in", "swap-ins"),
    "made writable": ("page made writable", "pages made writable"),
    "NUMA hint": ("NUMA hint", "NUMA hints"),
    "page was being moved": ("wait for a page that was moved", "waits for pages that were moved"),
    "userfaultfd": ("userfaultfd", "userfaultfd"),
    "page table only": ("page table", "page tables"),
    "spurious": ("spurious fault", "spurious faults"),
    "refused": ("refused fault", "refused faults"),
    "unfinished": ("unfinished fault", "unfinished faults"),
    "major": ("major fault", "major faults"),
    "minor": ("fault", "faults"),
}
"""The nouns for each kind of fault, for one and for several."""

_NS_PER = ((10**9, "s"), (10**6, "ms"), (10**3, "us"), (1, "ns"))
_GROUPS = 3  # in the sentence
_OF = ("first touch: fresh page", "copy-on-write", "swap-in")  # of a variable; others are in it


class LineRow(NamedTuple):
    """A line of Python, or no line if its number is 0, with its faults."""

    number: int
    code: str
    faults: int
    bytes: int
    ns: int


class SourceRows(NamedTuple):
    """The lines of one file or cell that are shown, and its title."""

    title: str
    rows: Sequence[LineRow]


class Group(NamedTuple):
    """Faults of one kind, in one memory, by one line; no memory or line if it is empty."""

    faults: int
    kind: str
    memory: str
    line: str


class MemoryRow(NamedTuple):
    """A variable, or other memory, with its faults, and these by their kinds."""

    name: str
    is_variable: bool
    faults: int
    bytes: int
    ns: int
    groups: Sequence[Group]

    @property
    def kinds(self) -> str:
        """The kinds in words, the most frequent first."""
        return ", ".join(map(_words, self.groups))


class Shown(NamedTuple):
    """A display of faults.

    Attributes:
        sentence: The first line.
        sources: Lines with their faults.
        memory: Memory with its faults.
        knows: Of the columns bytes and ns those that the source knows.
        notes: Sentences below.
        marks: The faults of the timeline; None if there are no addresses.

    """

    sentence: str
    sources: Sequence[SourceRows]
    memory: Sequence[MemoryRow]
    knows: frozenset[str]
    notes: Sequence[str]
    marks: Marks | None

    def timeline(self) -> Timeline:
        """Return the picture of the faults."""
        return Timeline(self.marks)


def duration(ns: int) -> str:
    """Return a time with its unit: ``3.1 ms``."""
    unit, name = next((pair for pair in _NS_PER if ns >= pair[0]), _NS_PER[-1])
    return f"{ns / unit:.3g} {name}"


def sentence(  # noqa: PLR0913  (what it says)
    faults: int, major: int, ns: int, seconds: float, groups: Sequence[Group], *, lost: int = 0
) -> str:
    """Return the first line of a display.

    Args:
        faults: All faults.
        major: Major ones of them.
        ns: Their time; 0 if it is not known.
        seconds: The time of the block.
        groups: Their groups, the largest first.
        lost: Further faults, for which there was no room.

    """
    whole = max(round(seconds * 1e9), 1)
    said = counted(faults, "page fault")
    if major:
        said += f" ({major:,} major)"
    said += (
        f" took {duration(ns)} of {duration(whole)} ({share(min(ns, whole), whole)})"
        if ns
        else f" in {duration(whole)}"
    )
    some = [_words(group) for group in groups[:_GROUPS]]
    rest = faults - sum(group.faults for group in groups[:_GROUPS])
    if rest > 0 and some:
        some.append(f"{rest:,} others")
    said += f"; {lost:,} more were lost" if lost else ""
    return f"{said}: {'; '.join(some)}" if some else said


def _words(group: Group) -> str:
    one, many = PHRASES[group.kind]
    said = counted(group.faults, one, many)
    if group.memory:
        said += f" {'of' if group.kind.startswith(_OF) else 'in'} {group.memory}"
    return f"{said} by {group.line}" if group.line else said


def bytes_or_nothing(count: int) -> str:
    """Return bytes with their unit; nothing if there are none."""
    return size(count) if count else ""


def time_or_nothing(ns: int) -> str:
    """Return a time with its unit; nothing if it is not known."""
    return duration(ns) if ns else ""
