"""Requests to the helper's walker, which all clients share, and the entries that each client may see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pte_magic.errors import NoAddressSpaceError, PteMagicError, UnstableError
from pte_magic.formats import hidden, kernel
from pte_magic.helper import journal
from pte_magic.helper.fair_lock import Turns
from pte_magic.linux.address_bits import AddressBits
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.linux.hardware import PAGE_SIZE
from pte_magic.walkers.helper_protocol import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pte_magic.walkers.shared_memory import SharedMemoryWalker

    Take = Callable[[NDArray[np.uint64], NDArray[Any]], object]


class Received(AddressSpace):
    """A descriptor that a client sent as an open pagemap; the kernel checks whether it is."""

    __slots__ = ()

    def __init__(self, fd: int) -> None:  # it is open, and nothing is known of its process
        self.pid, self.fd, self._directory, self._thread = 0, fd, -1, ""

    def gone(self) -> NoAddressSpaceError:
        """Return the error that says that it was torn down."""
        return NoAddressSpaceError(self.pid, "gone")


class Outcome(NamedTuple):
    """The result of a request: status, entries, spans, and the beginning of the next part."""

    status: Status
    n_entries: int = 0
    n_spans: int = 0
    reached: int = 0


class Tables:
    """Page tables, as a walker in the kernel reads them.

    Attributes:
        walker: The walker.
        encryption_mask: The bit of memory encryption in entries, or 0.
        shows_frames: True if it reads page frame numbers and swap locations of all users. SystemTap's module does if
            its file was opened with CAP_SYS_ADMIN.

    """

    def __init__(self, walker: SharedMemoryWalker, rows: int | None = None) -> None:
        """Take a walker; an answer has about `rows` entries at most, or as many as it reads at once."""
        self.walker = walker
        self._rows = rows
        self.encryption_mask = walker.address_bits.encryption_mask
        self._kernel = kernel.running(AddressBits(self.encryption_mask))
        self._turns = Turns()
        walker.walk(own(), 0, PAGE_SIZE)
        self.shows_frames = not walker.address_bits.frames_hidden
        self._hide(np.zeros(1, np.uint64), np.zeros(1, np.int8))  # what it has to look up, it looks up now

    def read(  # noqa: PLR0913  (a request is what it is)
        self, space: Received, origin: int, start: int, end: int, *, tables: bool, frames: bool, put: Take
    ) -> Outcome:
        """Read a part of the walk of ``[origin, end)``, about 131072 entries at most.

        Args:
            space: The address space.
            origin: The beginning of the whole walk.
            start: The beginning of this part.
            end: The end of the whole walk.
            tables: Also read the entries on the way.
            frames: Keep page frame numbers and swap locations; else they are removed before `put` is called.
            put: Called with the entries and spans.

        """
        take = put if frames else self._without_frames(put)
        if self._rows:  # an entry covers a page or more; the client goes on from where this part ended
            end = min(end, start + self._rows * PAGE_SIZE)
        try:
            with self._turns:
                reached, n, m = self.walker.once(space, origin, start, end, tables, take)
        except NoAddressSpaceError:
            return Outcome(Status.GONE)
        except UnstableError as error:
            return Outcome(Status.UNSTABLE, reached=error.address)
        except ValueError:
            return Outcome(Status.NOT_PAGEMAP)
        except (OSError, PteMagicError) as error:
            journal.say(f"walker {self.walker.name}: {error}", journal.WARNING)
            return Outcome(Status.FAILED)
        return Outcome(Status.OK, n, m, reached)

    def _without_frames(self, put: Take) -> Take:
        def take(entry: NDArray[np.uint64], spans: NDArray[Any]) -> None:
            mine = entry.copy()
            self._hide(mine, np.repeat(spans["level"].astype(np.int8), spans["count"].astype(np.intp)))
            put(mine, spans)

        return take

    def _hide(self, entry: NDArray[np.uint64], level: NDArray[np.int8]) -> None:
        hidden.hide(entry, level, self._kernel)
