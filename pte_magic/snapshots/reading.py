"""Reads the file of one process, or a part of it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from pte_magic.errors import TargetError
from pte_magic.snapshots import checks, facts, rows
from pte_magic.snapshots.checks import Group, must

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pte_magic.snapshots.facts import Facts
    from pte_magic.walkers.entries import Entries

_LIMITS = {"thrift_string_size_limit": 64 << 20, "thrift_container_size_limit": 1 << 20}
"""Of what describes a file: far above that of any snapshot."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The file of one process.

    Attributes:
        facts: Where its entries come from.

    """

    facts: Facts
    _path: Path
    _file: Any
    _groups: list[Group] | None

    def chunks(self, start: int, end: int) -> Iterator[Entries]:
        """Yield the entries in ``[start, end)``, a row group at a time; the others are not read.

        Raises:
            TargetError: The file is damaged.

        """
        for at in self._wanted(start, end):
            with checks.explained(self._path):
                checks.bounded(self._file.metadata.row_group(at))
                found = rows.columns(self._file.read_row_group(at, use_threads=False), self.facts)
                if self._groups:
                    must(found.checksum() == self._groups[at].crc, "a row group is not what was written")
                part = rows.entries(found, self.facts, start, end)
            if len(part):
                yield part

    def _wanted(self, start: int, end: int) -> list[int]:
        """Return the row groups that can have entries in ``[start, end)``."""
        if self._groups is not None:
            return [at for at, group in enumerate(self._groups) if group.first < end and group.end > start]
        # Before version 3 of the layout: each goes on to where the next one begins.
        metadata = self._file.metadata
        with checks.explained(self._path):
            told = [metadata.row_group(group).column(0).statistics for group in range(metadata.num_row_groups)]
            nexts = [statistics.min for statistics in told[1:]] + [end + 1]
            return [
                group
                for group, (statistics, following) in enumerate(zip(told, nexts, strict=True))
                if statistics.min < end and max(following, statistics.max + 1) > start
            ]


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Open a file, and tell where its entries come from.

    Raises:
        TargetError: It is not one of a snapshot, or damaged.

    """
    with checks.readable(path) as source:
        with checks.explained(path):
            file = pq.ParquetFile(source, **_LIMITS)
            metadata = dict(file.metadata.metadata or {})
            if facts.KEY not in metadata:
                message = f"{path} is not a file of a snapshot; name a directory that pte_magic.snapshot() has written"
                raise TargetError(message)
            told = facts.Facts.read(metadata[facts.KEY], path)
            must(file.schema_arrow.equals(rows.SCHEMA), "its columns are not those of a snapshot")
            groups = None
            if told.version >= facts.CHECKED or checks.KEY in metadata:
                groups = checks.unpacked(metadata, metadata[facts.KEY])
                must(len(groups) == file.metadata.num_row_groups, "some of its row groups are missing")
        yield Opened(told, path, file, groups)
