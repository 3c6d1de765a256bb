"""Numbers with their units, or with the noun that they count."""

from __future__ import annotations

_RATIO = 1024  # of each unit to the one before
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 entry``, ``1,024 entries``; `many` is `one` with an s by default."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def size(count: int) -> str:
    """Return a number of bytes with its unit: ``2 MiB``, ``1.5 GiB``."""
    unit = 0
    value = float(count)
    while value >= _RATIO and unit < len(_UNITS) - 1:
        value /= _RATIO
        unit += 1
    return f"{value:.4g} {_UNITS[unit]}"
