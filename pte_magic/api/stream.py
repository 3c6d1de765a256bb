"""`stream`: the entries of a target as frames of bounded size, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic import walkers
from pte_magic.api import walk
from pte_magic.errors import arguments
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.walkers.entries import Entries, join
from pte_magic.walkers.several_ranges import each_once

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pte_magic.api.pte_frame import PteFrame
    from pte_magic.targets.target import Target
    from pte_magic.walkers.walker import Walker

ROWS = 1 << 18
"""Rows of a frame: 25 MB, or 1 GiB in pages of 4 KiB."""


def stream(
    target: object, end: int | None = None, *, pid: int | None = None, walker: str = "auto", rows: int = ROWS
) -> Iterator[PteFrame]:
    """Yield the page-table entries behind a target as frames of bounded size, in ascending order of address.

    Together they are the result of `walk`, without what that reads from pagemap. Each is read when the loop gets to it:
    later frames show changes that happened meanwhile, earlier ones do not. The loop's body may walk, too. In a forked
    child, the stream goes on with the address space of the parent.

    Args:
        target: As for `walk`.
        end: As for `walk`.
        pid: As for `walk`.
        walker: As for `walk`.
        rows: The most rows of a frame; a row takes about 100 bytes.

    Returns:
        A generator. Closing it, or leaving it to itself, closes the address space.

    Raises:
        PteMagicError: Says in one line what is wrong, and what to type. Errors in the arguments are raised at once;
            later ones, such as the end of the process, where the loop goes on.

    Example:
        >>> for frame in pte_magic.stream("all", pid=1234):
        ...     print(frame.summary())

    """
    rows = arguments.rows(rows)
    reader = walkers.get(walker)
    space = own().copy() if pid is None else AddressSpace(pid)  # of its own, whatever becomes of this process'
    try:
        meant = walk.meant_by(target, end, space)
    except BaseException:
        space.close()
        raise
    return _frames(reader, meant, space, rows, target)


def _frames(reader: Walker, meant: Target, space: AddressSpace, rows: int, held: object) -> Iterator[PteFrame]:
    """Yield the frames. The object whose memory it is stays with this generator, or its memory would be free again."""
    try:
        chunks = each_once(meant.ranges, lambda start, end: walkers.chunks(reader, space, start, end))
        for part in regrouped(chunks, rows):
            yield walk.built(part, meant, space)
    finally:
        del held
        space.close()


def regrouped(chunks: Iterable[Entries], rows: int) -> Iterator[Entries]:
    """Yield the same entries, `rows` at a time and the rest in the end."""
    kept: list[Entries] = []
    count = 0
    for chunk in chunks:
        kept.append(chunk)
        count += len(chunk)
        while count >= rows:
            whole = join(kept)
            yield whole.part(0, rows)
            kept = [whole.part(rows, count)]
            count -= rows
    if count:
        yield join(kept)
