"""The helper's walker: raw entries without privileges, read by ``pte-magic serve``, which has some.

What is sent is the open pagemap. Whoever the kernel let open it may look at that address space, and nobody else gets
one; no pid is sent. Protocol: docs/helper.md.
"""

from __future__ import annotations

import grp
import mmap
import os
import pwd
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pte_magic import hardware
from pte_magic.errors import TargetError, UnstableError, WalkerUnavailableError
from pte_magic.walkers import mapping
from pte_magic.walkers.protocol import (
    ANSWER,
    AREAS,
    FRAMES_HIDDEN,
    GO_ON,
    GREETING,
    MAGIC,
    MEMORY,
    REQUEST,
    TABLES,
    VERSION,
    Status,
    socket_path,
)
from pte_magic.walkers.shared import SharedMemoryWalker, views
from pte_magic.walkers.what_to_type import serve, start_helper

if TYPE_CHECKING:
    from pte_magic.space import AddressSpace

NAME = "helper"
_MUCH = hardware.PAGE_SIZE << 17  # bytes: more may be more than an answer has room for


class HelperWalker(SharedMemoryWalker):
    """Walks any address space whose pagemap is open, through a helper that listens on a Unix socket.

    A helper that was started again meanwhile is connected to again. Of a walk that takes several requests, one is on
    its way ahead, so that the helper walks while its last answer is read here. What is still to come when a walk was
    given up, as by an interrupt, goes with its connection: the next walk makes another.
    """

    name = NAME

    def __init__(self) -> None:
        """Connect.

        Raises:
            WalkerUnavailableError: No helper listens, or it does not let this user connect; says what to type.

        """
        super().__init__()
        self._socket: socket.socket | None = None
        self._awaited = 0  # answers to requests that were sent
        self._going_on: tuple[int, ...] = ()  # what they are of: address space, flags, origin, start, end
        with self._lock:
            self._connected()

    def close(self) -> None:
        """Close the connection, when no walk is under way. The walker is of no use afterwards."""
        with self._lock:
            self.closed = True
            self._disconnect()

    def abandon(self) -> None:
        """Forget the connection in a forked child: it is the parent's, whose answers it would take."""
        super().abandon()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None
        self._awaited = 0

    def _connected(self) -> socket.socket:
        """Return the connection, made if there is none."""
        if self._socket:
            return self._socket
        self._check()
        path = socket_path()
        made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            made.connect(path)
            self._memory = self._greeted(made, path)
            self._areas = {at: views(self._memory, at) for at in AREAS}
        except OSError as error:
            made.close()
            raise WalkerUnavailableError(NAME, _why(error, path)) from error
        except BaseException:
            made.close()
            raise
        self._socket = made
        return made

    def _greeted(self, made: socket.socket, path: str) -> mmap.mmap:
        """Take the helper's greeting; return the memory for its answers."""
        said, fds, _, _ = socket.recv_fds(made, GREETING.size + 1, 1, socket.MSG_CMSG_CLOEXEC)
        try:
            if len(said) != GREETING.size or not said.startswith(MAGIC):
                why = f"what listens at {path} is no helper of pte-magic" if said else f"the helper at {path} has ended"
                raise WalkerUnavailableError(NAME, f"{why}; type `{start_helper(path)}`")
            _, version, status, flags, size, self.encryption_mask = GREETING.unpack(said)
            if version != VERSION:
                why = f"the helper at {path} speaks version {version} of the protocol, this package {VERSION}"
                raise WalkerUnavailableError(NAME, f"{why}; install the same pte-magic for both")
            if status == Status.BUSY:
                why = f"the helper at {path} has as many clients as it may; end some notebooks of yours"
                raise WalkerUnavailableError(
                    NAME, f"{why}, or start it with larger `--max-clients` and `--max-clients-per-user`"
                )
            if status != Status.OK or not fds or size != MEMORY:
                raise WalkerUnavailableError(NAME, f"the helper at {path} failed (status {status}); see its journal")
            self.frames_hidden = bool(flags & FRAMES_HIDDEN)
            return mapping.shared(fds[0], MEMORY, mmap.PROT_READ)
        finally:
            for fd in fds:
                os.close(fd)

    def _run(self, space: AddressSpace) -> None:
        """Nothing is written to the memory, so `_read` asks."""
        raise NotImplementedError

    def _read(
        self,
        space: AddressSpace,
        origin: int,
        start: int,
        end: int,
        tables: bool = False,  # noqa: FBT001, FBT002  (as of the one overridden)
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
        version, status, n, m, reached, at = ANSWER.unpack(self._answer(request, fd))
        if status != Status.OK:
            raise _error(status, version, space, reached)
        self._spans, self._entries = self._areas[at]
        while self._awaited and reached >= end:  # nothing was left for the other request
            self._received()
        self._going_on = id(space), flags, origin, reached, end
        return reached, n, m

    def _ask(self, request: bytes, fd: int) -> None:
        """Send a request; `_received` finds out whether it arrived."""
        connected = self._connected()
        self._awaited += 1
        with suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(connected, [request], [fd])

    def _received(self) -> bytes:
        """Return the next answer; nothing if the helper ended the connection."""
        try:
            answer = self._connected().recv(ANSWER.size + 1)
        except ConnectionResetError:
            answer = b""
        if len(answer) != ANSWER.size:
            self._disconnect()
            return b""
        self._awaited -= 1
        return answer

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
        return TargetError(f"descriptor {space.fd} is not an open /proc/PID/pagemap")
    if status == Status.MALFORMED:
        return TargetError("the helper walks whole pages of user addresses only")
    if status == Status.VERSION:
        return WalkerUnavailableError(NAME, f"the helper speaks version {version} of the protocol; start it again")
    return WalkerUnavailableError(NAME, "the helper's own walker failed; see its journal, or start it again")


def _why(error: OSError, path: str) -> str:
    """Return why nobody answers, and what to type."""
    if isinstance(error, PermissionError):
        return f"{path} is not for this user; {_membership(path)}"
    if isinstance(error, FileNotFoundError):
        return f"no helper listens at {path}; type `{start_helper(path)}`"
    if isinstance(error, ConnectionError):  # nobody listens, or it ended before it greeted
        return f"the helper at {path} has ended; type `{start_helper(path)}`"
    return f"{path}: {error.strerror or error}; type `{start_helper(path)}`"


def _membership(path: str) -> str:
    """Return what makes this user one of those who may connect."""
    try:
        group = grp.getgrgid(Path(path).stat().st_gid).gr_name
        user = pwd.getpwuid(os.geteuid()).pw_name
    except (OSError, KeyError):
        return f"type `{serve('--group', 'GROUP', path=path)}` with a group of yours"
    return f"type `sudo usermod -aG {group} {user}` and log in again"
