"""`Wanted`: the processes and targets that somebody asked for, to be compared again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pte_magic.api.sharing.parts import Parts


class Wanted(NamedTuple):
    """What to compare. It holds references to the objects, so their memory is not freed.

    Attributes:
        text: The words that name it.
        pids: The processes, as of `members.members`.
        parts: The targets; None for all memory, by region.
        notes: Notes about them.
        held: The objects.

    """

    text: str
    pids: list[int] | None
    parts: Parts | None
    notes: list[str]
    held: list[object]
