"""Descriptors that are no pagemap, or whose closing never ends: the kernel finds out, and nobody else waits."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import forked, needs_root
from handmade import PAGE
from talking import Talker, opened, request

from pte_magic.walkers.helper_protocol import VERSION, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving import Helper


pytestmark = needs_root


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
            assert talker.ask(fd, PAGE)[1:5] == (Status.NOT_PAGEMAP, 0, 0, 0)
            with opened() as real:  # the connection is as good as before
                assert talker.ask(real, PAGE).status == Status.OK
    finally:
        os.close(fd)


def test_the_pagemap_of_a_process_that_has_exited_is_told_apart(served: Helper) -> None:
    with forked() as child:
        fd = os.open(f"/proc/{child.pid}/pagemap", os.O_RDONLY)
    try:
        with Talker(served.path) as talker:
            assert talker.ask(fd, PAGE)[1:5] == (Status.GONE, 0, 0, 0)
    finally:
        os.close(fd)


def test_the_kernel_s_half_of_the_tables_is_nobody_s(served: Helper) -> None:
    with opened() as fd, Talker(served.path) as talker:
        for start in (1 << 63, 0xFFFF_8880_0000_0000, (1 << 64) - 2 * PAGE):
            assert talker.ask(fd, start).status == Status.MALFORMED
        top = 1 << 57
        assert talker.ask(fd, 0, top).status == Status.MALFORMED


def test_what_comes_with_a_message_is_closed_on_every_path(served: Helper) -> None:
    with opened() as real, Path(__file__).open(encoding="utf-8") as forged, Talker(served.path) as talker:

        def descriptors() -> int:
            talker.send(b"x")  # when this is answered, what came before is closed
            assert talker.answer().status == Status.MALFORMED
            return served.descriptors()

        assert talker.ask(real, PAGE).status == Status.OK
        before = descriptors()
        many = [forged.fileno()] * 253  # SCM_MAX_FD, include/net/scm.h
        for message, fds, status in (
            (request(PAGE), [real], Status.OK),
            (request(PAGE), [forged.fileno()], Status.NOT_PAGEMAP),
            (request(PAGE), [], Status.MALFORMED),
            (request(PAGE), [real, real], Status.MALFORMED),
            (request(PAGE), many, Status.MALFORMED),
            (request(PAGE, version=VERSION + 1), [real], Status.VERSION),
            (request(PAGE, flags=4), [real], Status.MALFORMED),
            (request(PAGE)[:-1], [real], Status.MALFORMED),
            (request(PAGE) + b"x", many, Status.MALFORMED),
            (b"x", many, Status.MALFORMED),
        ):
            for _ in range(20):
                talker.send(message, fds)
                assert talker.answer().status == status, (message, len(fds))
        assert descriptors() == before
