"""`load`: opens what `snapshot` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pte_magic.api.snapshots.saved import Snapshot
from pte_magic.errors import MissingPackageError, arguments
from pte_magic.linux.interrupts import deferred

if TYPE_CHECKING:
    import os


def load(path: str | os.PathLike[str]) -> Snapshot:
    """Open what `snapshot` wrote, of one machine or of several. No rows are read before they are asked for.

    Args:
        path: The directory.

    Returns:
        `Snapshot.frame` gives entries as `walk` does, of all or of a part, `Snapshot.stream` in frames of bounded
        size, and `Snapshot.processes` tells what there is.

    Raises:
        TargetError: There is no snapshot.
        MissingPackageError: pyarrow is not installed.

    Example:
        >>> saved = pte_magic.load("before")  # doctest: +SKIP
        >>> saved.frame(pid=1234).summary()  # doctest: +SKIP

    """
    try:
        with deferred():
            import pyarrow as pa  # noqa: F401, PLC0415  (an extra)
    except ModuleNotFoundError as error:
        raise MissingPackageError from error
    return Snapshot(Path(arguments.path(path)))
