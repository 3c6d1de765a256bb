"""Progress bars: on a terminal or in a notebook, for what takes more than a second, and gone when it is done."""

from __future__ import annotations

from typing import Any

_DELAY = 1.0  # seconds before a bar is shown


def bar(what: str, total: int, unit: str) -> Any:
    """Return a bar of tqdm, to be used as a context manager. In a pipe or a file it prints nothing.

    Args:
        what: Stands before the bar.
        total: How many there are.
        unit: Of what.

    """
    from tqdm.auto import tqdm  # noqa: PLC0415  (in a notebook it imports the widgets)

    class Bar(tqdm):  # type: ignore[misc]  # of which class it is depends on where this runs
        monitor_interval = 0  # no thread that watches bars, and stays: forking warns of threads

    return Bar(total=total, desc=what, unit=unit, delay=_DELAY, disable=None, leave=False)
