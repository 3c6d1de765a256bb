"""A file whose closing never ends: only who sent it waits."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from conftest import NOBODY, become, forked, needs_root
from handmade import PAGE
from hanging import FLUSH, hanging
from serving import CLIENTS, Helper, serving
from talking import Talker, request, still_serves
from waiting import SECONDS, wait_until

from pte_magic.walkers.helper_protocol import Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Child

pytestmark = needs_root


@contextmanager
def sender(helper: Helper, file: Path, count: int = 1) -> Iterator[Child]:
    """Fork a process that connects as often, when it is told to, and sends a file whose closing hangs."""
    talkers = []

    def send() -> None:
        fd = os.open(file, os.O_RDONLY)
        for _ in range(count):
            talkers.append(Talker(helper.path))
            talkers[-1].send(request(PAGE), [fd])

    with forked(send) as child:
        yield child


def test_a_fuse_file_that_is_never_closed_keeps_only_its_sender_waiting(served: Helper, tmp_path: Path) -> None:
    path = tmp_path / "pagemap"
    with sender(served, path) as child, hanging(path) as file:
        child.step()
        wait_until(lambda: FLUSH in file.asked)
        for _ in range(5):
            still_serves(served.path)
        wait_until(lambda: not served.alone())
    wait_until(served.alone)


def test_who_lets_threads_hang_has_no_more_connections_and_others_have(served: Helper, tmp_path: Path) -> None:
    def other() -> None:
        become(NOBODY)
        still_serves(served.path)

    path = tmp_path / "pagemap"
    with forked(other) as somebody, sender(served, path, CLIENTS) as child, hanging(path) as file:
        child.step()
        wait_until(lambda: file.asked.count(FLUSH) == CLIENTS)
        with Talker(served.path) as refused:
            assert refused.status == Status.BUSY
        somebody.step()
    wait_until(served.alone)
    still_serves(served.path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_helper_with_a_hanging_thread_ends_for_everybody_else(number: int, tmp_path: Path) -> None:
    with serving() as helper:
        path = tmp_path / "pagemap"
        with sender(helper, path) as child, hanging(path) as file, Talker(helper.path) as idle:
            child.step()
            wait_until(lambda: FLUSH in file.asked)
            ended = helper.process
            ended.send_signal(number)
            assert idle.socket.recv(1) == b""  # its connection is closed, though a thread is still there
            assert ended.poll() is None
            helper.start()  # in its place, at once
            still_serves(helper.path)
        ended.wait(SECONDS)
        still_serves(helper.path)
