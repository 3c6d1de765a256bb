"""Descriptors that are no pagemap, or whose closing never ends: the kernel finds out, and nobody else waits."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import PAGE, become, forked, needs_root
from hanging import FLUSH, hanging
from serving import Helper, serving
from talking import Talker, opened, request, still_serves
from waiting import SECONDS, wait_until

from pte_magic.walkers.protocol import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Child

pytestmark = needs_root

OF_A_USER = 3
SOMEBODY = 1


@pytest.fixture(scope="module")
def served() -> Iterator[Helper]:
    with serving() as found:
        yield found


def regular_file(path: Path) -> int:
    path.joinpath("pagemap").write_bytes(bytes(PAGE))
    return os.open(path / "pagemap", os.O_RDONLY)


def another_file_of_proc(_: Path) -> int:
    return os.open("/proc/self/maps", os.O_RDONLY)


def memory_of_a_process(_: Path) -> int:
    return os.open("/proc/self/mem", os.O_RDWR)


def file_of_all_processes(_: Path) -> int:
    return os.open("/proc/kpageflags", os.O_RDONLY)


def pipe(_: Path) -> int:
    reading, writing = os.pipe()
    os.close(writing)
    return reading


def unix_socket(_: Path) -> int:
    return socket.socket(socket.AF_UNIX).detach()


def directory(path: Path) -> int:
    return os.open(path, os.O_RDONLY)


def memfd(_: Path) -> int:
    return os.memfd_create("pagemap")


def path_of_a_pagemap(_: Path) -> int:
    return os.open("/proc/self/pagemap", os.O_PATH)


FORGED: tuple[Callable[[Path], int], ...] = (
    regular_file, another_file_of_proc, memory_of_a_process, file_of_all_processes, pipe, unix_socket, directory, memfd,
    path_of_a_pagemap,
)  # fmt: skip


@pytest.mark.parametrize("forge", FORGED, ids=lambda forge: forge.__name__)
def test_what_is_no_pagemap_is_refused(forge: Callable[[Path], int], served: Helper, tmp_path: Path) -> None:
    fd = forge(tmp_path)
    try:
        with Talker(served.path) as talker:
            assert talker.ask(fd, PAGE)[1:] == (Status.NOT_PAGEMAP, 0, 0, 0)
            with opened() as real:  # the connection is as good as before
                assert talker.ask(real, PAGE).status == Status.OK
    finally:
        os.close(fd)


def test_the_pagemap_of_a_process_that_has_exited_is_told_apart(served: Helper) -> None:
    with forked() as child:
        fd = os.open(f"/proc/{child.pid}/pagemap", os.O_RDONLY)
    try:
        with Talker(served.path) as talker:
            assert talker.ask(fd, PAGE)[1:] == (Status.GONE, 0, 0, 0)
    finally:
        os.close(fd)


def test_the_kernel_s_half_of_the_tables_is_nobody_s(served: Helper) -> None:
    with opened() as fd, Talker(served.path) as talker:
        for start in (1 << 63, 0xFFFF_8880_0000_0000, (1 << 64) - 2 * PAGE):
            assert talker.ask(fd, start).status == Status.MALFORMED
        top = 1 << 57
        assert talker.ask(fd, 0, top).status == Status.MALFORMED


@pytest.fixture
def own_helper() -> Iterator[Helper]:
    """A helper of the test's own, with few connections a user."""
    with serving("--max-clients-per-user", str(OF_A_USER)) as found:
        yield found


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


def test_a_fuse_file_that_is_never_closed_keeps_only_its_sender_waiting(own_helper: Helper, tmp_path: Path) -> None:
    path = tmp_path / "pagemap"
    with sender(own_helper, path) as child, hanging(path) as file:
        child.step()
        wait_until(lambda: FLUSH in file.asked)
        for _ in range(OF_A_USER):
            still_serves(own_helper.path)
        wait_until(lambda: own_helper.threads() == 2)
    wait_until(own_helper.alone)


def test_who_lets_threads_hang_has_no_more_connections_and_others_have(own_helper: Helper, tmp_path: Path) -> None:
    def other() -> None:
        become(SOMEBODY)
        still_serves(own_helper.path)

    own_helper.path.chmod(0o666)
    path = tmp_path / "pagemap"
    with forked(other) as somebody, sender(own_helper, path, OF_A_USER) as child, hanging(path) as file:
        child.step()
        wait_until(lambda: file.asked.count(FLUSH) == OF_A_USER)
        with Talker(own_helper.path) as refused:
            assert refused.status == Status.BUSY
        somebody.step()
    wait_until(own_helper.alone)
    still_serves(own_helper.path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_helper_with_a_hanging_thread_ends_for_everybody_else(
    number: int, own_helper: Helper, tmp_path: Path
) -> None:
    path = tmp_path / "pagemap"
    with sender(own_helper, path) as child, hanging(path) as file, Talker(own_helper.path) as idle:
        child.step()
        wait_until(lambda: FLUSH in file.asked)
        ended = own_helper.process
        ended.send_signal(number)
        assert idle.socket.recv(1) == b""  # its connection is closed, though a thread is still there
        assert ended.poll() is None
        own_helper.start()  # in its place, at once
        still_serves(own_helper.path)
    ended.wait(SECONDS)
    still_serves(own_helper.path)


def test_what_comes_with_a_message_is_closed_on_every_path(own_helper: Helper) -> None:
    with opened() as real, Path(__file__).open(encoding="utf-8") as forged, Talker(own_helper.path) as talker:
        assert talker.ask(real, PAGE).status == Status.OK
        before = own_helper.descriptors()
        many = [forged.fileno()] * 253  # SCM_MAX_FD, include/net/scm.h
        for message, fds, status in (
            (request(PAGE), [real], Status.OK),
            (request(PAGE), [forged.fileno()], Status.NOT_PAGEMAP),
            (request(PAGE), [], Status.MALFORMED),
            (request(PAGE), [real, real], Status.MALFORMED),
            (request(PAGE), many, Status.MALFORMED),
            (request(PAGE, version=2), [real], Status.VERSION),
            (request(PAGE, flags=2), [real], Status.MALFORMED),
            (request(PAGE)[:-1], [real], Status.MALFORMED),
            (request(PAGE) + b"x", many, Status.MALFORMED),
            (b"x", many, Status.MALFORMED),
        ):
            for _ in range(20):
                talker.send(message, fds)
                assert talker.answer().status == status, (message, len(fds))
        assert own_helper.descriptors() == before
