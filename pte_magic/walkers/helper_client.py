"""The helper's walker: raw entries without privileges, read by ``pte-magic serve``, which has them.

A request has the open pagemap, and no pid: the kernel lets only those open it who may look at that address space.
Protocol: docs/helper.md.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pte_magic.errors import TargetError, UnstableError, WalkerUnavailableError
from pte_magic.linux import hardware
from pte_magic.linux.interrupts import Interrupts
from pte_magic.walkers import helper_answers, helper_greeting, helper_timeouts
from pte_magic.walkers.entries import SPAN
from pte_magic.walkers.helper_protocol import ANSWER, AREAS, GO_ON, REQUEST, TABLES, VERSION, Status, socket_path
from pte_magic.walkers.shared_memory import ENTRIES, ENTRIES_AT, SPANS, SPANS_AT, SharedMemoryWalker, not_pagemap
from pte_magic.walkers.walker import NO_FRAMES
from pte_magic.walkers.what_to_type import show_frames, start_helper

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pte_magic.linux.address_space import AddressSpace

NAME = helper_greeting.NAME
_FAILURES = frozenset(Status) - {Status.OK, Status.BUSY}  # of an answer
_SPAN_BYTES = SPAN.itemsize
_MUCH = hardware.PAGE_SIZE << 17  # bytes: more may be more than an answer has room for


class HelperWalker(SharedMemoryWalker):
    """Walks any address space whose pagemap is open, through a helper that listens on a Unix socket.

    If the helper was restarted, the walker connects again. In a walk of several requests, the next one is sent ahead,
    so that the helper walks while its last answer is read here. When a walk is given up, as by an interrupt, the
    connection is closed with its answers to come; the next walk makes another.
    """

    name = NAME
    sees = "raw entries of all levels, as the helper reads them"
    by = "the helper"

    def __init__(self, seconds: float = helper_timeouts.LONG) -> None:
        """Connect, and wait so many seconds for the helper to greet.

        Raises:
            WalkerUnavailableError: No helper listens, or it does not let this user connect, or it does not greet; says
                what to type.

        """
        super().__init__()
        self._socket: socket.socket | None = None
        self._file = -1  # the memory of its answers
        self._awaited = 0  # answers to requests that were sent
        self._going_on: tuple[int, ...] = ()  # what they are of: address space, flags, origin, start, end
        self._right: tuple[int, list[tuple[int, int, bytes]]] = (-1, [])  # a descriptor, as it is sent
        self._counted = helper_answers.Counted()
        # Of the last answer: its spans, where in that memory its entries are, and which of these lead to page tables.
        self._found: tuple[bytes, int, NDArray[np.intp] | None] = b"", 0, None
        with self._lock:
            self._connected(seconds)

    @classmethod
    def make(cls, *, patient: bool = False) -> Self:
        """Connect, as of `Walker`; wait only if somebody named it."""
        return cls(helper_timeouts.LONG if patient else helper_timeouts.SHORT)

    @classmethod
    def why_no_frames(cls) -> str:
        """Return what makes this user one of those who see page frames."""
        return f"{NO_FRAMES}, which only members of a group see; to choose your own group, type `{show_frames()}`"

    def close(self) -> None:
        """Close the connection, when no walk is in progress, or it has waited for an answer for a while.

        The walker cannot be used afterwards.
        """
        with helper_timeouts.hurried(), self._lock:
            self.closed = True
            self._disconnect()
            self._close_memory()

    def abandon(self) -> None:
        """Forget the connection in a forked child: it is the parent's, whose answers it would take."""
        super().abandon()
        self._disconnect()
        self._close_memory()

    def _disconnect(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None
        self._awaited = 0

    def _close_memory(self) -> None:
        """Close the memory for answers; when a connection ends, the last answer is not read yet."""
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)

    def _connected(self, seconds: float = helper_timeouts.LONG) -> socket.socket:
        if self._socket:
            return self._socket
        self._check()
        with Interrupts() as interrupts:  # which end the wait, and leave nothing open
            greeted = helper_greeting.call(socket_path(), seconds, lambda: interrupts.count)
            if greeted:
                self._close_memory()
                self._socket, self._file, self.address_bits = greeted
            if interrupts.count:
                self._disconnect()
                self._close_memory()
        if not self._socket:
            raise KeyboardInterrupt
        return self._socket

    def _run(self, space: AddressSpace) -> None:
        """Nothing is written to the memory, so `_read` asks."""
        raise NotImplementedError

    def _read(
        self,
        space: AddressSpace,
        origin: int,
        start: int,
        end: int,
        tables: bool = False,  # noqa: FBT001, FBT002  (as for the one overridden)
    ) -> tuple[int, int, int]:
        self._check()
        fd, flags = space.fileno(), tables * TABLES
        if self._awaited and self._going_on != (id(space), flags, origin, start, end):
            self._disconnect()  # what is to come is of another walk, given up or not yet done
        request = REQUEST.pack(VERSION, flags, origin, start, end)
        if not self._awaited:
            self._ask(request, fd)
        if self._awaited == 1 and end - start > _MUCH:  # the area of the answer before was read
            self._ask(REQUEST.pack(VERSION, flags | GO_ON, origin, start, end), fd)
        reached, n, m = self._result(self._answer(request, fd), space, start, end, tables)
        last = reached >= end
        if not (last and start == origin) and self._counted.too_many(
            space, (id(space), flags, origin, end), n, first=start == origin, last=last
        ):
            what = "more entries than the page tables of that process have"
            raise self._wrong(what)
        while self._awaited and last:  # nothing was left for the other request
            self._received()
        self._going_on = id(space), flags, origin, reached, end
        return reached, n, m

    def _result(
        self,
        answer: bytes,
        space: AddressSpace,
        start: int,
        end: int,
        tables: bool,  # noqa: FBT001  (as for `_read`)
    ) -> tuple[int, int, int]:
        """Copy the spans of an answer, check them, and return the result of `_read`."""
        version, status, n, m, reached, at = ANSWER.unpack(answer)
        if status or version != VERSION:
            if status in _FAILURES and (version == VERSION or status == Status.VERSION):
                raise _error(status, version, space, reached)
            what = f"status {status} and version {version}"
            raise self._wrong(what)
        if not (0 < n <= ENTRIES and 0 < m <= SPANS and at in AREAS and start < reached):
            what = f"{n} entries, {m} spans at {at:#x}, from {start:#x} to {reached:#x}"
            raise self._wrong(what)
        try:
            spans = os.pread(self._file, m * _SPAN_BYTES, at + SPANS_AT)
        except OSError as error:
            raise self._unreadable(error.strerror) from error
        if len(spans) != m * _SPAN_BYTES:
            raise self._unreadable()
        if what := helper_answers.wrong(spans, n, start, end, reached, tables=tables):
            raise self._wrong(what)
        self._found = spans, at + ENTRIES_AT, helper_answers.leading(spans) if tables else None
        return reached, n, m

    def _copy(self, n: int, m: int) -> tuple[NDArray[np.uint64], NDArray[Any] | bytes]:  # noqa: ARG002  (as for the one overridden)
        entry = np.empty(n, np.uint64)
        self._fill(entry)
        return entry, self._found[0]

    _seen = _copy  # who wrote it may write to it at any time

    def _take(self, to: NDArray[np.uint64], m: int) -> NDArray[Any]:  # noqa: ARG002  (as for the one overridden)
        self._fill(to)
        return np.frombuffer(self._found[0], SPAN)

    def _fill(self, to: NDArray[np.uint64]) -> None:
        """Read the entries of the last answer.

        The memory is not mapped: reading a mapping can cause SIGBUS in more ways than the seals of a memfd prevent,
        such as pages that the host has no memory for, or poisoned pages.
        """
        self._check()
        try:
            taken = os.preadv(self._file, (to.data,), self._found[1])
        except OSError as error:
            raise self._unreadable(error.strerror) from error
        if taken != to.nbytes:
            raise self._unreadable()
        leading = self._found[2]
        if leading is not None and not helper_answers.are_tables(to[leading]):
            what = "entries below one that does not point to a page table"
            raise self._wrong(what)

    def _unreadable(self, why: str | None = "it is shorter") -> WalkerUnavailableError:
        return self._wrong(f"memory that cannot be read ({why})")

    def _wrong(self, what: str) -> WalkerUnavailableError:
        """Return the error for a wrong answer, and do not use that helper any more."""
        self._disconnect()
        return helper_greeting.wrong(socket_path(), f"gave an answer with {what}")

    def _ask(self, request: bytes, fd: int) -> None:
        """Send a request; `_received` finds out whether it arrived."""
        connected = self._socket or self._connected()
        self._awaited += 1
        if fd != self._right[0]:  # it takes as long to put together as to send
            self._right = fd, [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("@i", fd))]
        try:
            connected.sendmsg((request,), self._right[1])
        except (BrokenPipeError, ConnectionResetError):
            pass
        except BlockingIOError:
            self._wait_on(lambda: connected.sendmsg((request,), self._right[1]))

    def _received(self) -> bytes:
        connected = self._socket or self._connected()
        try:
            answer = connected.recv(ANSWER.size + 1)
        except BlockingIOError:
            answer = self._wait_on(lambda: connected.recv(ANSWER.size + 1))
        except ConnectionResetError:
            answer = b""
        if len(answer) == ANSWER.size:
            self._awaited -= 1
            return answer
        if answer:
            what = f"another length than {ANSWER.size} bytes"
            raise self._wrong(what)
        self._disconnect()
        return b""

    def _wait_on(self, call: Callable[[], Any]) -> Any:
        """Return the result of a call that waits for the helper, within its time limit."""
        try:
            return helper_timeouts.wait_on(call)
        except ConnectionError:
            return b""
        except TimeoutError as error:
            self._disconnect()
            path = socket_path()
            why = f"the helper at {path} has not answered for {error.args[0]:g} s; type `{start_helper(path)}`"
            raise WalkerUnavailableError(NAME, why) from None

    def _answer(self, request: bytes, fd: int) -> bytes:
        """Return the answer to a request that was sent; send it again if the helper was started again."""
        answer = self._received()
        if not answer:
            self._ask(request, fd)
            answer = self._received()
        if not answer:
            raise WalkerUnavailableError(NAME, f"the helper at {socket_path()} ended the connection; see its journal")
        return answer


def _error(status: int, version: int, space: AddressSpace, reached: int) -> Exception:
    if status == Status.UNSTABLE:
        return UnstableError(space.pid, reached)
    if status == Status.GONE:
        return space.gone()
    if status == Status.NOT_PAGEMAP:
        return not_pagemap(space)
    if status == Status.MALFORMED:
        return TargetError("the helper walks whole pages of user addresses only")
    if status == Status.VERSION:
        return WalkerUnavailableError(NAME, f"the helper speaks version {version} of the protocol; restart it")
    return WalkerUnavailableError(NAME, "the helper's own walker failed; see its journal, or restart the helper")
