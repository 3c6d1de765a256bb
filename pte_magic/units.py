"""Numbers with their units, as people write them."""

from __future__ import annotations

_RATIO = 1024  # of each unit to the one before
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size(count: int) -> str:
    """Return a number of bytes with its unit: ``2 MiB``, ``1.5 GiB``."""
    unit = 0
    value = float(count)
    while value >= _RATIO and unit < len(_UNITS) - 1:
        value /= _RATIO
        unit += 1
    return f"{value:.4g} {_UNITS[unit]}"
