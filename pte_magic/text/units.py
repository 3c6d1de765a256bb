"""Numbers with their units, or with the noun that they count."""

from __future__ import annotations

_RATIO = 1024  # of each unit to the one before
_LEAST = 0.1  # percent that are told, and that are missing from the whole
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


def share(part: int, whole: int) -> str:
    """Return a part in percent: ``99.6 %``; never 0 % or 100 % unless it is nothing or all."""
    if part in {0, whole}:
        return "100 %" if part else "0 %"
    percent = 100 * part / whole
    if percent < _LEAST:
        return f"less than {_LEAST:g} %"
    return f"more than {100 - _LEAST:g} %" if percent > 100 - _LEAST else f"{percent:.3g} %"
