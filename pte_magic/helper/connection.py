"""`Connection`: one client, from greeting to end, in a thread with its own table of descriptors.

Every operation on a received descriptor may wait for its sender: closing a file of FUSE waits for its daemon, and not
even SIGKILL ends that (``fuse_flush()`` of fs/fuse/file.c sets FORCE, ``request_wait_answer()`` of
fs/fuse/dev.c). So a client that sends one has its own thread hang, and no other thread has the file in its table.
"""

from __future__ import annotations

import array
import os
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pte_magic.helper import journal
from pte_magic.helper.answer_memory import AnswerMemory
from pte_magic.helper.requests import Outcome, Received
from pte_magic.walkers.helper_protocol import (
    ANSWER,
    FRAMES_HIDDEN,
    GO_ON,
    GREETING,
    MAGIC,
    MEMORY,
    REQUEST,
    TABLES,
    VERSION,
    Status,
    is_range,
)

if TYPE_CHECKING:
    from pte_magic.helper.peer import Peer
    from pte_magic.helper.requests import Tables

_ONE_DESCRIPTOR = socket.CMSG_LEN(array.array("i").itemsize)
"""Room for control messages: the kernel closes descriptors that do not fit, and reports it (MSG_CTRUNC)."""


def greeting(status: Status, flags: int = 0, encryption_mask: int = 0) -> bytes:
    """Return the greeting, the first message of the helper."""
    return GREETING.pack(MAGIC, VERSION, status, flags, MEMORY if status == Status.OK else 0, encryption_mask)


class Connection:
    """A client that was admitted.

    Args:
        connected: The socket; its owner closes it.
        peer: The client.
        tables: The page tables that it asks about.
        frames: True if it sees page frame numbers and swap locations.

    """

    def __init__(self, connected: socket.socket, peer: Peer, tables: Tables, *, frames: bool) -> None:
        self._socket = connected
        self._who = f"uid {peer.uid} pid {peer.pid}"
        self._account = peer.account
        self._tables = tables
        self._frames = frames
        self._last = Outcome(Status.MALFORMED)
        self._bad = 0

    def serve(self) -> None:
        """Greet, and answer until the client closes or breaks the connection."""
        with AnswerMemory() as self._memory:
            fd = self._memory.hand_over()
            try:
                flags = 0 if self._frames else FRAMES_HIDDEN
                hello = greeting(Status.OK, flags, self._tables.encryption_mask)
                socket.send_fds(self._socket, [hello], [fd])
            finally:
                os.close(fd)
            try:
                while self._one():
                    pass
            finally:
                if self._bad > 1:
                    journal.say(
                        f"{self._who}: {self._bad} messages that are not requests", journal.WARNING, self._account
                    )

    def _one(self) -> bool:
        """Answer one request; tell whether there was one."""
        data, control, flags, _ = self._socket.recvmsg(REQUEST.size + 1, _ONE_DESCRIPTOR, socket.MSG_CMSG_CLOEXEC)
        with ExitStack() as received:
            spaces = [received.enter_context(Received(fd)) for fd in _descriptors(control)]
            if not data and not control:
                return False
            whole = len(data) == REQUEST.size and not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
            outcome = self._outcome(data, spaces[0]) if whole and spaces else Outcome(Status.MALFORMED)
            if outcome.status == Status.MALFORMED:
                self._complain()
        self._last = outcome
        self._socket.send(ANSWER.pack(VERSION, *outcome, self._memory.at))
        return True

    def _outcome(self, data: bytes, space: Received) -> Outcome:
        version, flags, origin, start, end = REQUEST.unpack(data)
        if version != VERSION:
            return Outcome(Status.VERSION)
        if flags & ~(TABLES | GO_ON):
            return Outcome(Status.MALFORMED)
        if flags & GO_ON:
            if self._last.status != Status.OK or self._last.reached >= end:
                return self._last._replace(n_entries=0, n_spans=0)
            start = self._last.reached
        if not is_range(origin, start, end):
            return Outcome(Status.MALFORMED)
        found = self._tables.read(
            space, origin, start, end, tables=bool(flags & TABLES), frames=self._frames, put=self._memory.put
        )
        # Only a certain pagemap can be asked for its owner: anything else might never answer.
        owner = "-" if found.status in (Status.NOT_PAGEMAP, Status.FAILED) else os.fstat(space.fd).st_uid
        what = f"owner {owner} range {start:#x}-{end:#x} rows {found.n_entries} status {found.status.name}"
        journal.say(f"{self._who} {what}", account=self._account)
        return found

    def _complain(self) -> None:
        """Log once per connection that it sends other messages: a flood of them must not flood the journal."""
        self._bad += 1
        if self._bad == 1:
            journal.say(f"{self._who} sent a message that is not a request", journal.WARNING, self._account)


def _descriptors(control: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return found.tolist()
