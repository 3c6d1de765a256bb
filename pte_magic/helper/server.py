"""The helper's main thread: takes connections, and gives each a thread of its own."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from pte_magic.helper import journal, privileges
from pte_magic.helper.connection import Connection, greeting
from pte_magic.helper.peer import Peer
from pte_magic.walkers.helper_protocol import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from pte_magic.helper.policy import Policy
    from pte_magic.helper.requests import Tables

_PAUSE = 0.1  # seconds, when the machine is out of something


class Server:
    """Answers connections until the process ends.

    Existing descriptors belong to the walker, and all threads have them; the next number is the connection in each
    client's thread. Every file opened later, by the main thread or by a client's, is in that thread's table only: a
    number means a different file in each thread. So an owner of a descriptor is closed in the thread that made it.

    A connection may hold messages with descriptors that were never received, and closing one of these may take as long
    as its sender likes: a TCP socket with SO_LINGER waits for its peer. So the main thread never has the last reference
    to a connection. A refused client gets a thread, too, which only ends: when a thread ends, the kernel lets no socket
    linger (``inet_release()``, net/ipv4/af_inet.c, asks for PF_EXITING).
    """

    def __init__(self, listening: socket.socket, tables: Tables, policy: Policy) -> None:
        self._tables = tables
        self._policy = policy
        self._clients: Counter[int] = Counter()  # by account
        self._lock = threading.Lock()
        self._parked: list[socket.socket] = []  # refused, while no thread can be started
        listening.setblocking(True)  # noqa: FBT003  (it takes no names)
        self._slot = 1 + max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208  (names are wanted)
        self._listening = socket.socket(fileno=fcntl.fcntl(listening, fcntl.F_DUPFD_CLOEXEC, self._slot + 1))
        listening.close()
        _fill(self._slot)
        self._keep_slot()

    def run(self) -> NoReturn:
        """Take connections for ever."""
        while True:
            while self._parked and self._hand_over(self._parked[0], _leave_to_the_kernel):
                self._parked.pop(0)
            if self._parked and not select.select([self._listening], [], [], _PAUSE)[0]:
                continue
            try:
                connected, _ = self._listening.accept()
            except OSError as error:
                journal.say(f"no connection could be taken: {error.strerror}", journal.WARNING)
                time.sleep(_PAUSE)
                continue
            self._admit(connected)

    def _admit(self, connected: socket.socket) -> None:
        peer = Peer.of(connected)
        with self._lock:
            full = self._clients.total() >= self._policy.clients
            full = full or self._clients[peer.account] >= self._policy.clients_of_a_user
            self._clients[peer.account] += not full
        if not full:
            if self._hand_over(connected, lambda socket: self._serve(socket, peer)):
                return
            self._leave(peer)
        journal.say(f"uid {peer.uid} pid {peer.pid} refused: too many connections", journal.WARNING, peer.account)
        _tell(connected, Status.BUSY)
        if not self._hand_over(connected, _leave_to_the_kernel):
            self._parked.append(connected)

    def _hand_over(self, connected: socket.socket, serve: Callable[[socket.socket], object]) -> bool:
        """Start a thread that serves a connection, which only that thread then has; return whether it started.

        The thread takes no signals: those of the process must interrupt the main thread.
        """
        os.dup2(connected.fileno(), self._slot, inheritable=False)
        apart, alone = threading.Event(), threading.Event()
        failed: list[OSError] = []

        def run() -> None:
            try:
                privileges.own_descriptors(self._slot + 1)
            except OSError as error:  # out of memory
                failed.append(error)
                return
            finally:
                apart.set()
            alone.wait()
            serve(socket.socket(fileno=self._slot))

        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            threading.Thread(target=run, daemon=True).start()
        except RuntimeError:  # no more threads
            self._keep_slot()
            return False
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        apart.wait()
        self._keep_slot()
        if failed:
            return False
        connected.close()
        alone.set()
        return True

    def _keep_slot(self) -> None:
        os.dup2(self._listening.fileno(), self._slot, inheritable=False)

    def _serve(self, connected: socket.socket, peer: Peer) -> None:
        try:
            with connected:
                Connection(connected, peer, self._tables, frames=self._policy.sees_frames(peer)).serve()
        except (BrokenPipeError, ConnectionResetError):  # it left before it got its answer
            pass
        except OSError as error:
            journal.say(f"uid {peer.uid} pid {peer.pid}: {error}", journal.WARNING, peer.account)
        finally:
            self._leave(peer)

    def _leave(self, peer: Peer) -> None:
        with self._lock:
            self._clients[peer.account] -= 1
            if not self._clients[peer.account]:
                del self._clients[peer.account]


def _leave_to_the_kernel(connected: socket.socket) -> None:
    connected.detach()


def _fill(end: int) -> None:
    """Use all numbers below `end`: a connection with such a number would be inherited twice."""
    while (fd := os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)) < end:
        pass
    os.close(fd)


def _tell(connected: socket.socket, status: Status) -> None:
    with suppress(OSError):
        connected.send(greeting(status), socket.MSG_DONTWAIT)
