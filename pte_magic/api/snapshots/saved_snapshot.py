"""`Snapshot`: a saved data set, whose entries are read only when they are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from pte_magic.api import progress, pte_frame
from pte_magic.api.snapshots import dataset_paths
from pte_magic.api.stream import ROWS, regrouped
from pte_magic.errors import TargetError, arguments
from pte_magic.errors.escapes import visible
from pte_magic.linux.importing import importing
from pte_magic.text.units import counted
from pte_magic.walkers.entries import join

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pte_magic.api.pte_frame import PteFrame
    from pte_magic.api.snapshots.dataset_paths import File
    from pte_magic.api.snapshots.origin_of_entries import Facts
    from pte_magic.api.snapshots.parquet_reader import Opened
    from pte_magic.walkers.entries import Entries

_EVERYTHING = 1 << 57


class Snapshot:
    """Saved entries of many processes; made by `load`.

    Attributes:
        path: The directory of the data set.

    """

    __module__ = "pte_magic"

    def __init__(self, path: Path) -> None:
        """List the files.

        Raises:
            TargetError: None, or some that `snapshot` never writes.

        """
        self.path = path
        self._files = dataset_paths.files(path)

    def processes(self) -> pd.DataFrame:
        """List the processes, without reading entries.

        Returns:
            One row per process, by ``host`` and ``pid``: ``time`` (datetime64, UTC) at which it was read, ``kernel``
            (its release), ``walker``, ``bytes`` (int64, of its file).

        """
        told, sizes = [], []
        with progress.bar("processes", len(self._files), "process") as bar:
            for process in self._files:
                with _opened(process) as file:
                    told.append(file.facts)
                    sizes.append(file.size)
                bar.update()
        index = pd.MultiIndex.from_tuples([(file.host, file.pid) for file in self._files], names=["host", "pid"])
        columns = {
            "time": pd.to_datetime([facts.time for facts in told], utc=True),
            "kernel": [visible(facts.release) for facts in told],
            "walker": [facts.walker for facts in told],
            "bytes": sizes,
        }
        return pd.DataFrame(columns, index)

    def frame(
        self, *, host: str | None = None, pid: int | None = None, start: int | None = None, end: int | None = None
    ) -> PteFrame:
        """Return entries as `walk` would have at that time, on that host.

        Args:
            host: Only entries of this host.
            pid: Only entries of this process.
            start: First address.
            end: First address after the range.

        Raises:
            TargetError: There is no such host or process.

        """
        files, asked = self._of(host, pid), _range(start, end)
        made = []
        with progress.bar("load", len(files), "process") as bar:
            for file in files:
                with _opened(file) as parquet:
                    found = list(parquet.chunks(*asked))
                if found:
                    made.append(_built(join(found), parquet.facts, file, _hosts(files)))
                bar.update()
        if not made:
            message = f"no entries of {self.path} lie in {asked[0]:#x}-{asked[1]:#x}"
            raise TargetError(message)
        whole: Any = made[0] if len(made) == 1 else pd.concat(made, ignore_index=True)
        return whole  # type: ignore[no-any-return]  # the stubs call it a DataFrame

    def stream(
        self,
        *,
        host: str | None = None,
        pid: int | None = None,
        start: int | None = None,
        end: int | None = None,
        rows: int = ROWS,
    ) -> Iterator[PteFrame]:
        """Yield the same as frames of bounded size, each of one process, for data that does not fit in memory.

        Args:
            host: As for `frame`.
            pid: As for `frame`.
            start: As for `frame`.
            end: As for `frame`.
            rows: The most rows of a frame; a row takes about 100 bytes.

        Raises:
            TargetError: As for `frame`, at once.

        """
        rows = arguments.rows(rows)
        return _streamed(self._of(host, pid), *_range(start, end), rows)

    def _of(self, host: str | None, pid: int | None) -> list[File]:
        host = None if host is None else arguments.text(host, "host", "type the name of a host")
        pid = None if pid is None else arguments.process(pid)
        found = [file for file in self._files if host in (None, file.host) and pid in (None, file.pid)]
        if not found:
            asked = " ".join(f"{name} {value!r}" for name, value in (("host", host), ("pid", pid)) if value is not None)
            message = f"{asked} is not in {self.path}; type .processes() to see who is"
            raise TargetError(message)
        return found

    def __repr__(self) -> str:
        n = counted(len(self._files), "process", "processes")
        return f"<Snapshot {str(self.path)!r}: {n} of {', '.join(_hosts(self._files))}>"


def _range(start: int | None, end: int | None) -> tuple[int, int]:
    first = 0 if start is None else arguments.address(start, "start")
    last = _EVERYTHING if end is None else arguments.address(end, "end")
    if not 0 <= first < last:
        message = f"{first:#x}-{last:#x}: the end lies before the start"
        raise TargetError(message)
    return first, min(last, _EVERYTHING)


def _streamed(files: list[File], start: int, end: int, rows: int) -> Iterator[PteFrame]:
    for file in files:
        with _opened(file) as parquet:
            for part in regrouped(parquet.chunks(start, end), rows):
                yield _built(part, parquet.facts, file, _hosts(files))


def _built(found: Entries, facts: Facts, file: File, hosts: tuple[str, ...]) -> PteFrame:
    return pte_frame.build(found, facts.kernel, pid=file.pid, host=file.host, hosts=hosts)


def _hosts(files: Iterable[File]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(file.host for file in files))


def _opened(file: File) -> AbstractContextManager[Opened]:
    with importing():
        from pte_magic.api.snapshots.parquet_reader import opened  # noqa: PLC0415  (pyarrow is an extra)

    return opened(file.path, file.pid)
