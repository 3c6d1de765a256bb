"""The errors of the kernel about a process, as those of the package."""

from __future__ import annotations

from pte_magic.errors import AccessDeniedError, NoAddressSpaceError, NoSuchProcessError, PteMagicError
from pte_magic.linux import descriptors


def as_ours(error: OSError, pid: int) -> PteMagicError:
    """Return the error of the package for what the kernel said of the process `pid`."""
    if descriptors.missing(error):
        return descriptors.none_free()
    if isinstance(error, PermissionError):
        return AccessDeniedError(pid)
    if isinstance(error, (FileNotFoundError, ProcessLookupError)):
        return NoSuchProcessError(pid)
    return NoAddressSpaceError(pid, f"/proc/{pid}: {error.strerror}")
