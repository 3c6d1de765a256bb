"""Writes the entries of one process to a file, which is there when it is complete."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from pte_magic import hardware, kernel_text
from pte_magic.snapshots import checks, rows
from pte_magic.snapshots.checks import Group
from pte_magic.snapshots.facts import KEY, Facts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pte_magic.space import AddressSpace
    from pte_magic.walkers import Walker
    from pte_magic.walkers.entries import Entries

NAME = "part-0.parquet"
_LONGEST = 200  # NAME_MAX is 255


class Stopped(Exception):  # noqa: N818  (no error)
    """It was told to stop; nothing was written."""


def of_host(path: Path) -> Path:
    """Return where this machine's files lie in a data set.

    The name is as it is shown, which every reader of such a data set takes for text. It has 64 bytes at most, and if an
    escape for each of them makes it too long for a file, it is the bytes themselves: `load` makes the same of both.
    """
    name = quote(hardware.host(), safe="")
    return path / f"host={name if len(name) <= _LONGEST else quote(kernel_text.host(), safe='')}"


def write(
    walker: Walker, space: AddressSpace, directory: Path, went_on: Callable[[int], bool], *, private: bool = True
) -> int:
    """Write the file of one process.

    Args:
        walker: What reads its entries.
        space: Its address space.
        directory: This machine's.
        went_on: Called with the number of entries read since the last call; tells whether to go on.
        private: Nobody else may read it, else who may is as the umask says.

    Returns:
        How many bytes the file has.

    Raises:
        Stopped: It was told to stop.
        PteMagicError: The process has ended, or its tables do not hold still.
        OSError: Of the file system.

    """
    temporary = directory / f".{space.pid}.tmp"  # names with a dot belong to no data set
    try:
        temporary.touch(mode=0o600 if private else 0o666)
        _write(walker, space, temporary, went_on)
        place = directory / f"pid={space.pid}" / NAME
        place.parent.mkdir(exist_ok=True)
        temporary.rename(place)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    return place.stat().st_size


def _write(walker: Walker, space: AddressSpace, file: Path, went_on: Callable[[int], bool]) -> None:
    chunks = walker.chunks(space, 0, hardware.user_limit())
    first: Entries = next(chunks)
    facts = Facts.of(first, space.pid)
    told, of = facts.metadata(), facts.kernel.format
    schema, groups = rows.SCHEMA.with_metadata(told), []
    with pa.OSFile(str(file), "wb") as sink, pq.ParquetWriter(sink, schema, **rows.OPTIONS) as writer:
        for chunk in itertools.chain([first], chunks):
            found = rows.of_entries(chunk, of)
            writer.write_table(rows.table(found))
            end = int(found.vaddr[-1] + found.size[-1])
            groups.append(Group(int(found.vaddr[0]), end, len(found.vaddr), found.checksum()))
            if not went_on(len(chunk)):
                raise Stopped
        writer.add_key_value_metadata(checks.packed(groups, told[KEY]))
