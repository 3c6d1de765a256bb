"""Access to the address space of one process after the other, while processes start and end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pte_magic.api.machine.mapped import mapped
from pte_magic.errors import AccessDeniedError, NoAddressSpaceError, NoSuchProcessError, UnstableError
from pte_magic.linux import hardware, pagemap_scan, system_calls
from pte_magic.linux.address_space import AddressSpace, own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pte_magic.api.machine.mapped import Mapped
    from pte_magic.walkers.walker import Walker

_T = TypeVar("_T")
_KCMP_VM = 1  # linux/kcmp.h
_TRIES = 3  # to look at a process that calls exec meanwhile


def sees_frames(reader: Walker) -> bool:
    """Tell whether a walker sees page frames here."""
    here = np.ones(1)
    page = here.ctypes.data & -hardware.PAGE_SIZE
    return mapped(reader.walk(own(), page, page + hardware.PAGE_SIZE)).framed


def with_space(pid: int, left_out: dict[int, str], do: Callable[[AddressSpace], _T]) -> _T | None:
    """Call a function with the address space of a process; None if it has none. `left_out` gets errors.

    A process that calls exec meanwhile has another address space, so it is tried again.
    """
    why = ""
    for _ in range(_TRIES):
        try:
            space = AddressSpace(pid)
        except (NoSuchProcessError, NoAddressSpaceError):
            return None
        except AccessDeniedError as error:
            why = str(error)
            break
        with space:
            try:
                return do(space)
            except NoSuchProcessError:
                return None
            except NoAddressSpaceError as error:
                why = str(error)
            except (AccessDeniedError, UnstableError) as error:
                why = str(error)
                break
    left_out[pid] = why
    return None


def pieces(space: AddressSpace, reader: Walker) -> Iterator[Mapped]:
    """Yield the memory that an address space maps, a bounded number of entries at once."""
    end = hardware.user_limit()
    zeros = pagemap_scan.zeros(space) if reader.encoding == "pagemap" else None
    for entries in reader.chunks(space, 0, end, tables=True):
        yield mapped(entries, zeros)


def borrowed(space: AddressSpace) -> bool:
    """Tell whether a process still uses the address space of its parent, as between vfork and exec.

    False for pids of another pid namespace, which kcmp(2) does not know, or takes for another process.
    """
    return same_memory(space, int(space.status()["PPid"]))


def same_memory(space: AddressSpace, thread: int) -> bool:
    """Tell whether a process has the address space of another one, by one of its threads; false as `borrowed`."""
    if own().pid != os.getpid():
        return False
    try:
        return system_calls.call("kcmp", int(space.thread), thread, _KCMP_VM, 0, 0) == 0
    except OSError:
        return False
