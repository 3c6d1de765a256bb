"""`load`: opens what `snapshot` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pte_magic import arguments
from pte_magic.errors import MissingPackageError
from pte_magic.linux.interrupts import deferred

if TYPE_CHECKING:
    import os

    from pte_magic.api.snapshots.saved import Snapshot


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
            from pte_magic.api.snapshots.saved import Snapshot  # noqa: PLC0415  (pyarrow is an extra)
    except ModuleNotFoundError as error:
        raise MissingPackageError from error
    return Snapshot(Path(arguments.path(path)))
