"""The helper's main thread: takes connections, and gives each a thread of its own."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from pte_magic.helper import journal, privileges
from pte_magic.helper.connection import Connection, greeting
from pte_magic.helper.peer import Peer
from pte_magic.walkers.protocol import Status

if TYPE_CHECKING:
    from pte_magic.helper.policy import Policy
    from pte_magic.helper.tables import Tables

_PAUSE = 0.1  # seconds, when the machine is out of something


class Server:
    """Answers connections until the process ends.

    Descriptors up to now are the walker's, and known to all threads; one more number, the next, is the connection's in
    each client's thread. All else that is opened from now on, by the main thread or by a client's, is in that thread's
    table only: a number means another file in each of them. So what owns one is closed where it was made.
    """

    def __init__(self, listening: socket.socket, tables: Tables, policy: Policy) -> None:
        self._tables = tables
        self._policy = policy
        self._clients: Counter[int] = Counter()  # by user
        self._lock = threading.Lock()
        listening.setblocking(True)  # noqa: FBT003
        self._slot = 1 + max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208
        self._listening = socket.socket(fileno=fcntl.fcntl(listening, fcntl.F_DUPFD_CLOEXEC, self._slot + 1))
        listening.close()
        _fill(self._slot)
        self._keep_slot()

    def run(self) -> NoReturn:
        """Take connections for ever."""
        while True:
            try:
                connected, _ = self._listening.accept()
            except OSError as error:
                journal.say(f"no connection could be taken: {error.strerror}", journal.WARNING)
                time.sleep(_PAUSE)
                continue
            with connected:
                self._admit(connected)

    def _admit(self, connected: socket.socket) -> None:
        peer = Peer.of(connected)
        with self._lock:
            full = self._clients.total() >= self._policy.clients
            full = full or self._clients[peer.uid] >= self._policy.clients_of_a_user
            self._clients[peer.uid] += not full
        if full or not self._start(connected, peer):
            journal.say(f"uid {peer.uid} pid {peer.pid} refused: too many connections", journal.WARNING)
            _tell(connected, Status.BUSY)

    def _start(self, connected: socket.socket, peer: Peer) -> bool:
        """Start a client's thread; return when it has descriptors of its own."""
        os.dup2(connected.fileno(), self._slot, inheritable=False)
        apart = threading.Event()
        try:
            threading.Thread(target=self._serve, args=(peer, apart), daemon=True).start()
        except RuntimeError:  # no more threads
            self._leave(peer)
            return False
        else:
            apart.wait()
            return True
        finally:
            self._keep_slot()

    def _keep_slot(self) -> None:
        """Have no other file get the number that stands for the connection."""
        os.dup2(self._listening.fileno(), self._slot, inheritable=False)

    def _serve(self, peer: Peer, apart: threading.Event) -> None:
        """Serve one client; this is its thread."""
        try:
            try:
                privileges.own_descriptors(self._slot + 1)
                connected = socket.socket(fileno=self._slot)
            finally:
                apart.set()
            with connected:
                Connection(connected, peer, self._tables, frames=self._policy.sees_frames(peer)).serve()
        except (BrokenPipeError, ConnectionResetError):  # it left before it got its answer
            pass
        except OSError as error:
            journal.say(f"uid {peer.uid} pid {peer.pid}: {error}", journal.WARNING)
        finally:
            self._leave(peer)

    def _leave(self, peer: Peer) -> None:
        with self._lock:
            self._clients[peer.uid] -= 1
            if not self._clients[peer.uid]:
                del self._clients[peer.uid]


def _fill(end: int) -> None:
    """Have no number below `end` be free, or a connection would get it, and a thread would inherit it twice."""
    while (fd := os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)) < end:
        pass
    os.close(fd)


def _tell(connected: socket.socket, status: Status) -> None:
    with suppress(OSError):
        connected.send(greeting(status), socket.MSG_DONTWAIT)
