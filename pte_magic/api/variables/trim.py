"""`trim`: give memory that malloc keeps back to the kernel."""

from __future__ import annotations

from typing import NamedTuple

from pte_magic.linux import malloc
from pte_magic.linux.address_space import own
from pte_magic.text.units import size


class Trimmed(NamedTuple):
    """The resident memory of this process before and after `trim`, in bytes; it shows itself as a sentence.

    Attributes:
        before: Resident before.
        after: Resident after it.

    """

    before: int
    after: int

    @property
    def given_back(self) -> int:
        """The difference; 0 if other threads took more meanwhile."""
        return max(0, self.before - self.after)

    def __repr__(self) -> str:
        if not self.given_back:
            return f"malloc had nothing to give back: {size(self.after)} resident"
        return f"{size(self.given_back)} given back: {size(self.before)} resident before, {size(self.after)} now"


Trimmed.__module__ = "pte_magic"


def trim() -> Trimmed:
    """Give memory that was freed, and that malloc keeps, back to the kernel: malloc_trim(3), of the GNU C library.

    Memory in use is not touched. Memory of Python's small objects is not malloc's, and stays.

    Returns:
        The resident memory before and after.

    """
    before = own().rss()
    malloc.trim()
    return Trimmed(before, own().rss())
