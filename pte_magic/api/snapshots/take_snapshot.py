"""`snapshot`: writes the entries of many processes to a Parquet data set."""

from __future__ import annotations

import errno
import functools
import os
import resource
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import pandas as pd

from pte_magic import walkers
from pte_magic.api import progress
from pte_magic.api.snapshots import dataset_paths
from pte_magic.api.snapshots.snapshot_result import Written
from pte_magic.dataframes.pandas_compat import TEXT
from pte_magic.errors import (
    MissingPackageError,
    NoAddressSpaceError,
    PteMagicError,
    ResourceError,
    TargetError,
    arguments,
)
from pte_magic.errors.escapes import visible
from pte_magic.linux import descriptors, kernel_text
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.linux.importing import importing
from pte_magic.linux.interrupts import Interrupts
from pte_magic.text.units import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pte_magic.walkers.walker import Walker

ALL = "all"
_MADE = 2  # directories: that of the snapshot, and that of the host in it
_THREADS = 8  # at most: the walker in the kernel is asked by one at a time
_PAUSE = 0.2  # seconds between two looks at how far it came


def snapshot(
    path: str | os.PathLike[str],
    pids: int | Iterable[int] | str | None = None,
    *,
    walker: str = "auto",
    private: bool = True,
) -> pd.DataFrame:
    """Write the page-table entries of whole processes to a Parquet data set, one file per process.

    The files are ``PATH/host=HOST/pid=PID/part-0.parquet``, which pandas, Dask and DuckDB read with ``host`` and
    ``pid`` as columns; `load` gives them back as frames. A row is a run of raw entries, with the columns ``vaddr`` and
    ``size`` (uint64, of the run), ``count`` (uint32, its entries), ``level``, ``entry`` (uint64, the first one; page
    frames ascend from there) and ``protnone`` (bool, of pagemap only). Time, kernel, walker and format are JSON in each
    schema's metadata, under ``pte_magic``. Several hosts may write to the same directory. A file gets its name when it
    is complete, so after an interrupt there are only whole files.

    Args:
        path: A directory, which is made where its parent is; it must not have a snapshot of this host.
        pids: The processes: this one if None, a pid, several pids, or ``"all"``.
        walker: As for `walk`.
        private: Only this user may read the files (mode 0600, in directories of 0700): addresses and page frames help
            attackers of a process or a host. Otherwise the umask decides; an existing directory stays as it is.

    Returns:
        One row per process, by ``pid``: ``rows`` (int64, entries), ``bytes`` (int64, of its file), ``seconds``
        (float64) and ``error`` (str, missing if there was none). Of ``"all"``, kernel threads and zombies have no row.

    Raises:
        PteMagicError: Says in one line what is wrong, and what to type. If one of several processes cannot be read,
            its row says so.
        KeyboardInterrupt: Says how many processes were written.

    Example:
        >>> pte_magic.snapshot("before", "all")

    """
    try:
        with importing():
            from pte_magic.api.snapshots import parquet_writer  # noqa: PLC0415  (pyarrow is an extra)
    except ModuleNotFoundError as error:
        raise MissingPackageError from error
    wanted = _wanted(pids)
    reader = walkers.get(walker)
    directory = dataset_paths.of_host(Path(arguments.path(path)))
    write = functools.partial(parquet_writer.write, private=private)
    work = _Work(reader, directory, write, skips=isinstance(pids, str))
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # as in a job that a shell has started with `&`
    with Interrupts() as interrupts:  # an exception between any two lines would leave something behind
        made: list[Path] = []
        try:
            _make(directory, 0o700 if private else 0o777, made)
            if not ignored:
                interrupts.call(work.stop)
            done = work.all_of(wanted)
        finally:
            with suppress(OSError):  # there are files in it
                for one in reversed(made):
                    one.rmdir()
    if interrupts.count and not ignored:
        written = sum(not process.error for process in done)
        where = f"were written to {visible(str(directory))} and can be loaded" if written else "were written"
        message = f"{counted(written, 'process', 'processes')} of {counted(len(wanted), 'pid')} {where}"
        raise KeyboardInterrupt(message)
    if len(done) == 1 and not isinstance(pids, str) and isinstance(done[0].error, PteMagicError):
        raise done[0].error
    return _table(done)


def _make(directory: Path, mode: int, made: list[Path]) -> None:
    """Make a directory, and the one of the snapshot above it, as mkdir does; each that was made is appended to `made`.

    Raises:
        TargetError: It is there, or cannot be made, or what it would be in is not there.

    """
    try:
        missing = [directory, *takewhile(lambda parent: not parent.exists(), directory.parents)]
        if len(missing) > _MADE:
            message = f"{dataset_paths.shown(missing[_MADE])} does not exist; make it first, or check the path"
            raise TargetError(message)
        for one in reversed(missing):
            one.mkdir(mode, exist_ok=one != directory)
            made.append(one)
    except FileExistsError:
        where = dataset_paths.shown(directory)
        message = f"{where} exists; name a directory without a snapshot of this host, or remove that one"
        raise TargetError(message) from None
    except OSError as error:
        message = (
            f"{dataset_paths.shown(directory)} cannot be made: {error.strerror}; name a directory that you may write to"
        )
        raise TargetError(message) from error


def _wanted(pids: int | Iterable[int] | str | None) -> list[int]:
    if pids is None:
        return [own().pid]
    if isinstance(pids, str) and pids == ALL:
        return kernel_text.pids()
    what = f"type a pid, a list of pids, or {ALL!r}"
    several = None if isinstance(pids, (str, bytes)) else _several(pids, what)
    if several is not None:
        return [*dict.fromkeys(arguments.integer(pid, "pids", what) for pid in several)]
    return [arguments.integer(pids, "pids", what)]


def _several(pids: Any, what: str) -> list[Any] | None:
    """Return the items of an iterable; None if it is not one, such as an array without dimensions.

    Raises:
        TargetError: It raises while it is gone through, or does not end.

    """
    try:
        each = iter(pids)
    except Exception:  # noqa: BLE001  (it is somebody else's)
        return None
    try:
        found = [*islice(each, kernel_text.MOST_PIDS + 1)]
    except Exception as error:  # as above: it may raise at any of its items
        message = f"pids={arguments.shown(pids)} raises {type(error).__name__}; {what}"
        raise TargetError(message) from error
    if len(found) > kernel_text.MOST_PIDS:
        message = f"pids={arguments.shown(pids)} has more than {kernel_text.MOST_PIDS:,} pids, "
        message += f"and no host has so many; {what}"
        raise TargetError(message)
    return found


@dataclass(frozen=True, slots=True)
class _Done:
    """The result for one process."""

    pid: int
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    error: Exception | None = None
    skipped: bool = False


class _Work:
    """The threads that write, and their progress."""

    def __init__(self, reader: Walker, directory: Path, write: Callable[..., int], *, skips: bool) -> None:
        self._reader = reader
        self._directory = directory
        self._write = write
        self._skips = skips
        self._told_to_stop = False
        self._stopped = threading.Event()
        self._done: SimpleQueue[_Done | None] = SimpleQueue()
        self._rows = 0  # of all threads, and only shown: a count that is lost does no harm

    def all_of(self, pids: list[int]) -> list[_Done]:
        """Write a file for each process; return the results, without processes that have no address space."""
        done: list[_Done] = []
        pool = ThreadPoolExecutor(min(_THREADS, len(os.sched_getaffinity(0))))
        try:
            with progress.bar("snapshot", len(pids), "process") as bar:
                self._begin(pool, pids)
                while len(done) < len(pids) and not self._told_to_stop:
                    with suppress(Empty):
                        if process := self._done.get(timeout=_PAUSE):
                            done.append(process)
                            _raise_if_fatal(process)
                            bar.update()
                    bar.set_postfix_str(f"{self._rows:,} rows")
        finally:
            # The threads end after their current piece.
            self._stopped.set()
            pool.shutdown(cancel_futures=True)
        while not self._done.empty():  # what they wrote before they ended
            if process := self._done.get():
                done.append(process)
        return [process for process in done if not process.skipped]

    def _begin(self, pool: ThreadPoolExecutor, pids: list[int]) -> None:
        try:
            for pid in pids:
                pool.submit(self._one, pid)
        except RuntimeError as error:
            raise descriptors.no_thread(what="the snapshot") from error

    def stop(self) -> None:
        """Let `all_of` return soon, with the files written until then. A signal handler may call it."""
        self._told_to_stop = True
        self._done.put(None)  # which may be done at any moment, as no lock of Python's can be taken

    def _one(self, pid: int) -> None:
        """Write one process; this is a thread's task, and it always returns a result."""
        rows, size, skipped = 0, 0, self._skips
        error: Exception | None = None
        began = time.perf_counter()

        def went_on(count: int) -> bool:
            nonlocal rows
            rows += count
            self._rows += count
            return not self._stopped.is_set()

        try:
            with AddressSpace(pid) as space:
                skipped = False
                size = self._write(self._reader, space, self._directory, went_on)
        except Exception as caught:  # noqa: BLE001  (the main thread raises it, or tells it)
            error = caught
        skipped = skipped and isinstance(error, NoAddressSpaceError)
        self._done.put(_Done(pid, rows if size else 0, size, time.perf_counter() - began, error, skipped))


def _raise_if_fatal(done: _Done) -> None:
    """Raise errors that every other process would meet, too, such as a full disk."""
    if done.error and not isinstance(done.error, PteMagicError):
        if isinstance(done.error, OSError):
            message = f"pid {done.pid} cannot be written: {_in_words(done.error)}"
            raise ResourceError(message) from done.error
        raise done.error


def _in_words(error: OSError) -> str:
    """Return an error of files or descriptors in words, whichever library raised it."""
    code = error.errno or 0
    if code == errno.EFBIG:
        return f"a file may have {resource.getrlimit(resource.RLIMIT_FSIZE)[0]:,} bytes (`ulimit -f`)"
    return os.strerror(code) if code else " ".join(str(error).split())


def _table(done: list[_Done]) -> pd.DataFrame:
    done = sorted(done, key=lambda process: process.pid)
    columns = {name: [getattr(process, name) for process in done] for name in ("rows", "bytes", "seconds")}
    errors = pd.array([str(process.error) if process.error else None for process in done], dtype=TEXT)
    index = pd.Index([process.pid for process in done], dtype="int64", name="pid")
    return Written({**columns, "error": errors}, index).astype(
        {"rows": "int64", "bytes": "int64", "seconds": "float64"}
    )
