"""The reader of a process' file: opens it, checks it, and reads all or a part of it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from pte_magic.api.snapshots import checks, origin_of_entries, parquet_footer, parquet_rows
from pte_magic.api.snapshots.checks import Group, must
from pte_magic.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pte_magic.api.snapshots.origin_of_entries import Facts
    from pte_magic.walkers.entries import Entries

_LIMITS = {"thrift_string_size_limit": 64 << 20, "thrift_container_size_limit": 1 << 20}
"""Bytes of a file's metadata: far above those of any snapshot."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The file of one process.

    Attributes:
        facts: The origin of its entries.
        size: Its size in bytes.

    """

    facts: Facts
    size: int
    _path: Path
    _file: Any
    _groups: list[Group] | None

    def chunks(self, start: int, end: int) -> Iterator[Entries]:
        """Yield the entries in ``[start, end)``, one row group at a time; the others are not read.

        Raises:
            TargetError: The file is damaged.

        """
        for at in self._wanted(start, end):
            with checks.explained(self._path):
                checks.bounded(self._file.metadata.row_group(at))
                found = parquet_rows.columns(self._file.read_row_group(at, use_threads=False), self.facts)
                if self._groups:
                    must(found.checksum() == self._groups[at].crc, "a row group is not what was written")
                part = parquet_rows.entries(found, self.facts, start, end)
            if len(part):
                yield part

    def _wanted(self, start: int, end: int) -> list[int]:
        """Return the row groups that can have entries in ``[start, end)``."""
        if self._groups is not None:
            return [at for at, group in enumerate(self._groups) if group.first < end and group.end > start]
        # Before version 3 of the layout only pyarrow's statistics tell, and pyarrow must not be asked for: `bounded`.
        return list(range(self._file.metadata.num_row_groups))


@contextmanager
def opened(path: Path, pid: int) -> Iterator[Opened]:
    """Open the file of a process, and return it with the origin of its entries.

    Raises:
        TargetError: It is not one of a snapshot, or of another process, or damaged.

    """
    with checks.readable(path) as source:
        with checks.explained(path):
            sealed = parquet_footer.sealed(source)
            source.seek(0)
            file = pq.ParquetFile(source, **_LIMITS)
            metadata = dict(file.metadata.metadata or {})
            if origin_of_entries.KEY not in metadata:
                message = f"{path} is not a file of a snapshot; name a directory that pte_magic.snapshot() has written"
                raise TargetError(message)
            told = origin_of_entries.Facts.read(metadata[origin_of_entries.KEY], path)
            must(file.schema_arrow.equals(parquet_rows.SCHEMA), "its columns are not those of a snapshot")
            groups = None
            if told.pid != pid:
                message = f"{path} is of pid {told.pid}, and its directory is not; name that pid={told.pid}"
                raise TargetError(message)
            if sealed or told.version >= origin_of_entries.CHECKED or checks.KEY in metadata:
                must(sealed, "the checksum of its footer is missing")
                groups = checks.unpacked(metadata)
                must(len(groups) == file.metadata.num_row_groups, "some of its row groups are missing")
        yield Opened(told, os.fstat(source.fileno()).st_size, path, file, groups)
