"""The base class of the sources of page faults."""

from __future__ import annotations

import os
import weakref
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from pte_magic.errors import SourceUnavailableError

if TYPE_CHECKING:
    from pte_magic.events.fault_record import Faults


class Wanted(NamedTuple):
    """The request to a source.

    Attributes:
        pid: The process; this one if None.
        children: Also the processes that it starts.
        buffer: Bytes of the memory for records.
        most: The number of records.
        from_exec: Begin when the process calls execve(2), not before.

    """

    pid: int | None = None
    children: bool = False
    buffer: int = 64 << 20
    most: int = 1_000_000
    from_exec: bool = False


class FaultSource(ABC):
    """A source of page faults, attached to a process; a context manager.

    It is attached when it is made and until `close`; `start` and `stop` are called once each. All that it holds in the
    kernel belongs to descriptors of this process, so it goes with the process, however that ends. A forked child gives
    up its copies of them at once.

    Attributes:
        notes: Sentences for `Faults.notes`, such as why a source that sees more cannot work here.

    """

    name: ClassVar[str]
    """Its name: bpf, perf or rusage."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self.notes: tuple[str, ...] = ()
        _all.add(self)

    @abstractmethod
    def start(self) -> None:
        """Begin: faults from now on are recorded."""

    def look(self) -> None:  # noqa: B027  (most sources need none)
        """Read what goes with the process; to be called now and then while it runs, before `stop`."""

    @abstractmethod
    def stop(self) -> Faults:
        """End, and return what was recorded.

        Raises:
            SourceUnavailableError: It was closed before, as in a forked child.

        """

    @abstractmethod
    def close(self) -> None:
        """Detach from the process; a second call does nothing."""

    @abstractmethod
    def abandon(self) -> None:
        """Give up, in a forked child, the descriptors that are the parent's."""

    def _closed(self) -> SourceUnavailableError:
        return SourceUnavailableError(self.name, "it was closed, as in a forked child; open another")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_all: weakref.WeakSet[FaultSource] = weakref.WeakSet()


def _in_child() -> None:
    for one in list(_all):
        one.abandon()


os.register_at_fork(after_in_child=_in_child)
