"""The text of one address, as `walk` shows it, without pandas: a command has to answer at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic import walkers
from pte_magic.api import decoded_columns
from pte_magic.errors import TargetError
from pte_magic.formats import kernel
from pte_magic.formats.describe import describe
from pte_magic.formats.hidden import taken
from pte_magic.text import screen
from pte_magic.views import one_address

if TYPE_CHECKING:
    from pte_magic.linux.address_space import AddressSpace
    from pte_magic.targets.target import Target


def text(meant: Target, space: AddressSpace, walker: str = walkers.AUTO) -> str:
    """Return what ``str(walk(ADDRESS, pid=PID))`` is.

    Args:
        meant: The address.
        space: Its address space, open.
        walker: Name of the walker.

    Raises:
        TargetError: The target is not one address.
        PteMagicError: It cannot be walked.

    """
    if meant.address is None:
        message = f"{len(meant.ranges)} ranges are not one address; type pte_magic.walk() to see them"
        raise TargetError(message)
    found = walkers.reading(walker, lambda reader: reader.walk(space, *meant.ranges[0], tables=True))
    columns, of = decoded_columns.of_walk(found, kernel.running(found.address_bits))
    values = decoded_columns.values(found, columns, of, space.pid)
    level, entry, size = (values[name][-1] for name in ("level", "entry", "size"))
    leaf = None if entry is None else describe(entry, level, of, covers=size)
    hidden = taken(found.entry, found.level, of).tolist() if of.frames_hidden else None
    return one_address.text(values, leaf, screen.width(), hidden)
