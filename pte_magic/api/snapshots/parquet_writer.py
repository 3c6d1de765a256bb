"""The writer of a process' file, which gets its name when it is complete."""

from __future__ import annotations

import itertools
import os
from contextlib import suppress
from typing import IO, TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pte_magic.api.snapshots import checks, dataset_paths, parquet_footer, parquet_rows
from pte_magic.api.snapshots.checks import Group
from pte_magic.api.snapshots.origin_of_entries import Facts
from pte_magic.linux import hardware

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pte_magic.linux.address_space import AddressSpace
    from pte_magic.walkers.entries import Entries
    from pte_magic.walkers.walker import Walker


class Stopped(Exception):  # noqa: N818  (no error)
    """It was stopped; nothing was written."""


def write(
    walker: Walker, space: AddressSpace, directory: Path, went_on: Callable[[int], bool], *, private: bool = True
) -> int:
    """Write the file of one process.

    Args:
        walker: The walker that reads its entries.
        space: Its address space.
        directory: The directory of this host.
        went_on: Called with the number of entries read since the last call; returns whether to go on.
        private: Only this user may read it; else the umask decides.

    Returns:
        The size of the file in bytes.

    Raises:
        Stopped: It was stopped.
        PteMagicError: The process has ended, or its page tables change all the time.
        OSError: Of the file system.

    """
    temporary = directory / f".{space.pid}.tmp"  # names with a dot belong to no data set
    place = dataset_paths.of_process(directory, space.pid)
    try:
        temporary.touch(mode=0o600 if private else 0o666)
        with temporary.open("r+b") as file:
            _write(walker, space, file, went_on)
            size = file.seek(0, os.SEEK_END)
        place.parent.mkdir(exist_ok=True)
        temporary.rename(place)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        with suppress(OSError):
            place.parent.rmdir()
        raise
    return size


def _write(walker: Walker, space: AddressSpace, file: IO[bytes], went_on: Callable[[int], bool]) -> None:
    chunks = walker.chunks(space, 0, hardware.user_limit())
    first: Entries = next(chunks)
    facts = Facts.of(first, space.pid)
    told, of = facts.metadata(), facts.kernel.format
    schema, groups = parquet_rows.SCHEMA.with_metadata(told), []
    # pyarrow counts what goes through its own file, and opens none whose name is not text.
    sink = pa.PythonFile(file, "w")
    with pq.ParquetWriter(sink, schema, **parquet_rows.OPTIONS) as writer:
        parquet_footer.reserve(sink)
        for chunk in itertools.chain([first], chunks):
            found = parquet_rows.of_entries(chunk, of)
            writer.write_table(parquet_rows.table(found))
            end = int(found.vaddr[-1] + found.size[-1])
            groups.append(Group(int(found.vaddr[0]), end, len(found.vaddr), found.checksum()))
            if not went_on(len(chunk)):
                raise Stopped
        writer.add_key_value_metadata(checks.packed(groups))
    parquet_footer.seal(file)
