"""`Row`, the result of one check, and words that several checks use."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pte_magic.text.units import size

if TYPE_CHECKING:
    from pte_magic.api.why.facts import Facts

HUGE, SWAP, NODES = QUESTIONS = ("huge pages", "swap", "nodes")
"""The questions that rows answer."""
NOT_READABLE = "not readable: needs root"


class Row(NamedTuple):
    """The result of one check.

    Attributes:
        check: Its name.
        found: The state of things, in words.
        forbids: Whether that forbids huge pages; None if it cannot be known.
        bytes: Bytes of the target to which it does; None if it is not about bytes.
        type_this: The words that take the cause away; empty if there is nothing to type.
        line: The cause in words, for the first line; `found` if it is empty.
        about: One of `QUESTIONS`.

    """

    check: str
    found: str
    forbids: bool | None = False
    bytes: int | None = None
    type_this: str = ""
    line: str = ""
    about: str = HUGE


def against(check: str, found: str, left: int, type_this: str = "", line: str = "") -> Row:
    """Return the row of a check that found a cause, for some bytes of the target; without any, it forbids nothing."""
    return Row(check, found, left > 0, left, type_this if left else "", line)


def as_root(command: str) -> str:
    """Return a command of a shell, and who may run it."""
    return f"as root: {command}"


def advise(facts: Facts, start: int, end: int) -> str:
    """Return what has a process ask for huge pages: madvise(2) with MADV_HUGEPAGE, which Python's mmap has as well."""
    if not facts.is_own:
        return f"in pid {facts.space.pid}: madvise({start:#x}, {end - start:#x}, MADV_HUGEPAGE)"
    call = f"ctypes.c_void_p({start:#x}), ctypes.c_size_t({end - start:#x}), mmap.MADV_HUGEPAGE"
    return f"import ctypes, mmap; ctypes.CDLL(None).madvise({call})"


def part(some: int, facts: Facts) -> str:
    """Return a number of bytes of the target: ``8 MiB of 10 MiB``."""
    return f"{size(some)} of {size(facts.total)}" if some != facts.total else f"all {size(some)}"
