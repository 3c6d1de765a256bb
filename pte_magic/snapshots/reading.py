"""Reads the file of one process, or a part of it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pte_magic.errors import TargetError
from pte_magic.snapshots import rows
from pte_magic.snapshots.facts import Facts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pte_magic.walkers.entries import Entries


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Facts]]:
    """Open a file, a `pyarrow.parquet.ParquetFile`, and tell where its entries come from.

    Raises:
        TargetError: It is not one of a snapshot.

    """
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        message = f"{path} is damaged: {error}"
        raise TargetError(message) from error
    with file:
        yield file, Facts.read(file.schema_arrow.metadata, path)


def chunks(file: Any, facts: Facts, start: int, end: int) -> Iterator[Entries]:
    """Yield the entries in ``[start, end)``, a row group at a time; the others are not read."""
    for group in _groups(file.metadata, start, end):
        found = rows.entries(file.read_row_group(group, use_threads=False), facts, start, end)
        if len(found):
            yield found


def _groups(metadata: Any, start: int, end: int) -> list[int]:
    """Return the row groups that can have entries in ``[start, end)``: each goes on to where the next one begins."""
    told = [metadata.row_group(group).column(0).statistics for group in range(metadata.num_row_groups)]
    nexts = [statistics.min for statistics in told[1:]] + [end + 1]
    return [
        group
        for group, (statistics, following) in enumerate(zip(told, nexts, strict=True))
        if statistics.min < end and max(following, statistics.max + 1) > start
    ]
