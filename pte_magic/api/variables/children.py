"""Children that were forked, and still have the addresses of this process' objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pte_magic.errors import PteMagicError, TargetError
from pte_magic.linux.address_space import AddressSpace, own

if TYPE_CHECKING:
    from pte_magic.linux.regions import Region

_MOST = 64  # generations


def check(space: AddressSpace) -> None:
    """Make sure that a process has the objects of this one at the same addresses.

    Raises:
        TargetError: It is not a forked child, or it has called exec.

    """
    if _descends(space) and _landmarks(space) == _landmarks(own()):
        return
    message = f"pid {space.pid} is not a forked child of this process, so its names are not known; "
    raise TargetError(message + f"type %pte {space.pid} for its memory by region")


def _descends(space: AddressSpace) -> bool:
    parent = int(space.status()["PPid"])
    for _ in range(_MOST):
        if parent in {own().pid, 0}:
            return bool(parent)
        try:
            with AddressSpace(parent) as above:
                parent = int(above.status()["PPid"])
        except PteMagicError:
            return False
    return False


def _landmarks(space: AddressSpace) -> list[tuple[int, bytes]]:
    """Return what exec would have moved: where the stack ends, and where the class of all classes lies."""
    return [
        _mark(region)
        for region in space.regions()
        if region.path == b"[stack]" or region.start <= id(type) < region.end
    ]


def _mark(region: Region) -> tuple[int, bytes]:
    return (region.end if region.path == b"[stack]" else region.start), region.path
