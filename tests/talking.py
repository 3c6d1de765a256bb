"""A client of the helper without any of the package's care: it says whatever a test wants it to say."""

from __future__ import annotations

import mmap
import os
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from conftest import forked
from handmade import PAGE

from pte_magic.walkers.helper_protocol import ANSWER, GREETING, REQUEST, VERSION, Status
from pte_magic.walkers.shared_memory import ENTRIES_AT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


class Answer(NamedTuple):
    version: int
    status: int
    n_entries: int
    n_spans: int
    reached: int
    at: int


class Talker:
    """A connection to a helper.

    Attributes:
        greeting: The fields of what the helper said first.
        memory: The descriptor that came with it, -1 if none did.
        socket: The connection.

    """

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(str(path))
        said, fds, _, _ = socket.recv_fds(self.socket, GREETING.size + 1, 1)
        self.greeting = GREETING.unpack(said)
        self.memory = fds[0] if fds else -1
        self._at = 0

    @property
    def status(self) -> int:
        """Status of the greeting."""
        return int(self.greeting[2])

    def send(self, message: bytes, fds: Sequence[int] = ()) -> None:
        if fds:
            socket.send_fds(self.socket, [message], list(fds))
        else:
            self.socket.send(message)

    def answer(self) -> Answer:
        said = self.socket.recv(1 << 12)
        if not said:
            raise EOFError
        answer = Answer(*ANSWER.unpack(said))
        self._at = answer.at
        return answer

    def ask(self, fd: int, start: int, end: int | None = None, *, flags: int = 0, origin: int | None = None) -> Answer:
        """Ask for a range, or for one page; the descriptor is any."""
        self.send(request(start, end, flags=flags, origin=origin), [fd])
        return self.answer()

    def entries(self, count: int, at: int | None = None) -> tuple[int, ...]:
        """Return the first entries of the area of the last answer, or of another one."""
        with mmap.mmap(self.memory, 0, prot=mmap.PROT_READ) as memory:
            return struct.unpack_from(f"={count}Q", memory, (self._at if at is None else at) + ENTRIES_AT)

    def close(self) -> None:
        self.socket.close()
        if self.memory >= 0:
            os.close(self.memory)
            self.memory = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def request(
    start: int, end: int | None = None, *, flags: int = 0, origin: int | None = None, version: int = VERSION
) -> bytes:
    return REQUEST.pack(
        version, flags, start if origin is None else origin, start, start + PAGE if end is None else end
    )


@contextmanager
def opened(pid: int | str = "self") -> Iterator[int]:
    """Open a process' pagemap."""
    fd = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def together(*functions: Callable[[], Any]) -> list[Any]:
    """Fork a child for each function; have all of them call it at the same time, and return what they returned."""
    with ExitStack() as stack:
        children = [stack.enter_context(forked(function)) for function in functions]
        with ThreadPoolExecutor(len(children)) as pool:
            return list(pool.map(lambda child: child.step(), children))


def still_serves(path: Path) -> None:
    """Fail unless a new client gets what it asks for, of its own address space."""
    with opened() as fd, Talker(path) as talker:
        assert talker.ask(fd, PAGE).status == Status.OK
