"""`load`: opens what `snapshot` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pte_magic.api.snapshots.saved_snapshot import Snapshot
from pte_magic.errors import MissingPackageError, arguments
from pte_magic.linux.importing import importing

if TYPE_CHECKING:
    import os


def load(path: str | os.PathLike[str]) -> Snapshot:
    """Open the data set that `snapshot` wrote, of one host or of several. Rows are read only when they are needed.

    Args:
        path: The directory.

    Returns:
        `Snapshot.frame` gives entries as `walk` does, all or a part of them, `Snapshot.stream` in frames of bounded
        size, and `Snapshot.processes` lists the processes.

    Raises:
        TargetError: There is no snapshot.
        MissingPackageError: pyarrow is not installed.

    Example:
        >>> saved = pte_magic.load("before")
        >>> saved.frame(pid=1234).summary()

    """
    try:
        with importing():
            import pyarrow as pa  # noqa: F401, PLC0415  (an extra)
    except ModuleNotFoundError as error:
        raise MissingPackageError from error
    return Snapshot(Path(arguments.path(path)))
