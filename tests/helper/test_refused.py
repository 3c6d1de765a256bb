"""What a client has sent and nobody received: giving it back takes as long as the client likes, and only he waits."""

from __future__ import annotations

import signal
import socket
import struct
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import pytest
from conftest import NOBODY, become, forked, needs_root
from serving import Helper, serving
from talking import Talker, still_serves
from waiting import SECONDS, wait_until

from pte_magic.walkers.helper_protocol import Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_root

LINGERS = struct.pack("ii", 1, 10 * int(SECONDS))
"""SO_LINGER: closing waits until the peer has received all, so many seconds at most."""


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A TCP peer that receives nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        yield server


def waits_when_closed(silent: socket.socket) -> socket.socket:
    """Return a TCP socket with more in its buffers than its peer takes."""
    made = socket.create_connection(silent.getsockname())
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGERS)
    made.setblocking(False)  # noqa: FBT003
    try:
        while True:
            made.send(bytes(1 << 16))
    except BlockingIOError:
        return made


def queue(helper: Helper, silent: socket.socket, *first: bytes) -> None:
    """Connect, send messages, the last with a descriptor of which that is the only reference, and leave.

    The helper is stopped meanwhile: what it received before would be this process' to close.
    """
    helper.process.send_signal(signal.SIGSTOP)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.connect(str(helper.path))
            for message in first:
                connection.send(message)
            with waits_when_closed(silent) as sent:
                socket.send_fds(connection, [b"x"], [sent.fileno()])
    finally:
        helper.process.send_signal(signal.SIGCONT)


def somebody(path: Path) -> None:
    become(NOBODY)
    still_serves(path)


@pytest.mark.parametrize("first", [(), (b"",)], ids=["a message", "an empty message first"])
def test_what_a_client_left_in_its_queue_keeps_nobody_else_waiting(
    first: tuple[bytes, ...], silent: socket.socket
) -> None:
    with serving("--group", str(NOBODY)) as helper:
        for _ in range(3):
            queue(helper, silent, *first)
            with forked(partial(somebody, helper.path)) as other:
                other.step()


def test_what_a_refused_client_left_in_its_queue_keeps_nobody_else_waiting(silent: socket.socket) -> None:
    """Nor is a thread left: while it ends, the kernel waits for no socket's peer."""
    with serving("--group", str(NOBODY), "--max-clients-per-user", "2") as helper, ExitStack() as stack:
        talkers = [stack.enter_context(Talker(helper.path)) for _ in range(2)]
        assert {talker.status for talker in talkers} == {Status.OK}
        threads = helper.threads()
        for _ in range(5):
            queue(helper, silent)
            with forked(partial(somebody, helper.path)) as other:
                other.step()
        wait_until(lambda: helper.log().count("refused: too many connections") == 5)
        wait_until(lambda: helper.threads() == threads)
        with Talker(helper.path) as refused:
            assert refused.status == Status.BUSY
