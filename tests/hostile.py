"""A helper that means ill, for tests: whatever it says and sends is up to the test."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from entry_bits import bits

from pte_magic.walkers.entries import SPAN
from pte_magic.walkers.helper_protocol import ANSWER, AREAS, GO_ON, GREETING, MAGIC, MEMORY, REQUEST, VERSION, Status
from pte_magic.walkers.shared_memory import ENTRIES, ENTRIES_AT, SPANS_AT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


class Hostile:
    """What listens at a path; a context manager. Each connection is served in a thread.

    Attributes:
        path: Where it listens.
        ended: Set when the block ends; who serves waits for it to keep silent.

    """

    def __init__(self, path: Path, serve: Callable[[Hostile, socket.socket], object]) -> None:
        self.path = path
        self.ended = threading.Event()
        self._serve = serve
        self._threads: list[threading.Thread] = []
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.bind(str(path))
        self._listening.listen()

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._listening.shutdown(socket.SHUT_RDWR)  # which ends accept()
        for thread in self._threads:
            thread.join()
        self._listening.close()

    def _begin(self, function: Callable[..., object], *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connected, _ = self._listening.accept()
                self._begin(self._one, connected)

    def _one(self, connected: socket.socket) -> None:
        connected.settimeout(0.05)
        with connected, suppress(ConnectionError):
            self._serve(self, connected)

    def request(self, connected: socket.socket) -> tuple[int, ...] | None:
        """Return the next request; None when there is none any more."""
        while not self.ended.is_set():
            with suppress(TimeoutError):
                said, fds, _, _ = socket.recv_fds(connected, REQUEST.size, 1)
                for fd in fds:
                    os.close(fd)
                return tuple(REQUEST.unpack(said)) if said else None
        return None


def silent(server: Hostile, _: socket.socket) -> None:
    server.ended.wait()


def memory(size: int = MEMORY, seals: int = SEALS) -> int:
    """Return a memfd as a helper sends it, or not quite."""
    fd = os.memfd_create("hostile", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    if seals:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def hello(**changed: Any) -> bytes:
    """Return a greeting, with other fields if these are named."""
    said = {"magic": MAGIC, "version": VERSION, "status": Status.OK, "flags": 0, "size": MEMORY, "mask": 0, **changed}
    return GREETING.pack(*said.values())


def greet(connected: socket.socket) -> int:
    """Greet as a helper does; return the memory."""
    fd = memory()
    socket.send_fds(connected, [hello()], [fd])
    return fd


def put(fd: int, spans: Sequence[tuple[int, int, int, int]], at: int = 0) -> None:
    """Write spans where an answer has them; all entries are 0, but those that lead to a span of a lower level."""
    os.pwrite(fd, np.array(list(spans), SPAN).tobytes(), at + SPANS_AT)
    os.pwrite(fd, bytes(8), at + ENTRIES_AT)
    index = -1
    for (vaddr, size, count, level), below in pairwise(spans):
        index += count
        if vaddr <= below[0] < vaddr + size * count and level < below[3] and index < ENTRIES:
            os.pwrite(fd, bits().table[1].to_bytes(8, "little"), at + ENTRIES_AT + 8 * index)


def answering(
    answer: Callable[[int, int, int], tuple[Sequence[tuple[int, int, int, int]], bytes]],
) -> Callable[[Hostile, socket.socket], None]:
    """Return what greets, and gives each request the spans and the message that `answer` makes of it.

    It is called with flags, start and end.
    """

    def serve(server: Hostile, connected: socket.socket) -> None:
        fd, reached, at = greet(connected), 0, 0
        try:
            while request := server.request(connected):
                _, flags, _, start, end = request
                if flags & GO_ON:
                    start, at = reached, AREAS[at == AREAS[0]]
                    if start >= end:
                        connected.send(message(0, 0, reached))
                        continue
                spans, said = answer(flags, start, end)
                put(fd, spans, at)
                if len(said) == ANSWER.size:
                    fields = ANSWER.unpack(said)
                    reached = fields[4]
                    said = said if fields[5] else ANSWER.pack(*fields[:5], at)
                connected.send(said)
        finally:
            os.close(fd)

    return serve


def message(  # noqa: PLR0913  (an answer is what it is)
    n: int, m: int, reached: int, *, at: int = 0, status: int = Status.OK, version: int = VERSION
) -> bytes:
    return ANSWER.pack(version, status, n, m, reached, at)
