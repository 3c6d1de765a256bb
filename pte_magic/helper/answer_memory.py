"""The memory for the answers to one client: it belongs to the helper, and the client reads it."""

from __future__ import annotations

import fcntl
import itertools
import mmap
import os
from typing import TYPE_CHECKING, Any, Self

from pte_magic.walkers.helper_protocol import AREAS, MEMORY
from pte_magic.walkers.shared_memory import views

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class AnswerMemory:
    """A memfd of a fixed size that only the helper can write to; a context manager.

    The client gets a descriptor that was opened for reading, so the kernel lets it neither write, nor map it writable
    (``do_mmap()``, mm/mmap.c), nor make holes. It cannot open it again for writing: it belongs to the helper's user,
    mode 0400. Its size is sealed, so reading never causes SIGBUS.

    It belongs to the helper, not to the client: memory of a client's control group can be taken away while the helper
    uses it (``memory.max`` = 0 sends it to swap and never lets it come back), and the helper would wait for ever in a
    page fault. All of it is allocated at once, so that the client's reading does not allocate it.

    Attributes:
        at: The beginning of the area of the last answer.

    """

    def __init__(self) -> None:
        fd = os.memfd_create("pte-magic-answers", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.fchmod(fd, 0o400)
            os.posix_fallocate(fd, 0, MEMORY)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            # This thread's descriptors are its own: /proc/self has those of the process' first one.
            self._theirs = os.open(f"/proc/thread-self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
            self._map = mmap.mmap(fd, MEMORY)
        finally:
            os.close(fd)
        self._areas = itertools.cycle([(at, *views(self._map, at)) for at in AREAS])
        self.at = 0

    def hand_over(self) -> int:
        """Return the descriptor to read it; the caller closes it."""
        fd, self._theirs = self._theirs, -1
        return fd

    def put(self, entry: NDArray[np.uint64], spans: NDArray[Any]) -> None:
        """Write an answer to the area that the last one did not use."""
        self.at, to_spans, to_entry = next(self._areas)
        to_entry[: len(entry)] = entry
        to_spans[: len(spans)] = spans

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Free the memory, even if the client keeps its descriptor for ever."""
        if self._theirs >= 0:
            os.close(self._theirs)
        del self._areas
        self._map.madvise(mmap.MADV_REMOVE)
        self._map.close()
