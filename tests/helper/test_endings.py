"""Clients and helpers that end at any point: killed, started again, interrupted, forked."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import forked, needs_root
from handmade import PAGE
from serving import SCALE, Helper, serving
from talking import Talker, opened, request, still_serves
from waiting import wait_until

from pte_magic import walkers
from pte_magic.errors import WalkerUnavailableError, WorkloadError
from pte_magic.linux.address_space import AddressSpace, own
from pte_magic.walkers.helper_client import HelperWalker
from pte_magic.workloads import private_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Child

pytestmark = needs_root

TIMES = max(int(60 * SCALE), 10)


@pytest.fixture
def served() -> Iterator[Helper]:
    """A helper of the test's own, which this process' walker asks."""
    with serving() as found, pytest.MonkeyPatch.context() as patch:
        patch.setattr("pte_magic.walkers.helper_client.socket_path", lambda: str(found.path))
        yield found


@pytest.fixture
def client(served: Helper) -> Iterator[HelperWalker]:
    assert served.process.poll() is None
    walker = HelperWalker()
    yield walker
    walker.close()


@contextmanager
def telling(child: Child) -> Iterator[None]:
    """Have a child do its next step, which ends with its death, within the block."""

    def tell() -> None:
        with pytest.raises(WorkloadError, match="has ended"):
            child.step()

    thread = threading.Thread(target=tell)
    thread.start()
    yield
    thread.join()


def test_clients_that_are_killed_at_any_point_are_forgotten(served: Helper) -> None:
    array = private_mapping(1 << 10)
    array[:] = 1

    def ask() -> None:
        with opened() as fd:
            while True:
                with Talker(served.path) as talker:
                    for _ in range(20):
                        talker.send(request(array.ctypes.data, array.ctypes.data + array.nbytes), [fd])
                    for _ in range(20):
                        talker.answer()

    files = served.descriptors()
    for number in range(TIMES):
        with forked(ask) as child, telling(child):
            wait_until(lambda: not served.alone())
            time.sleep(number % 10 / 500)  # another point each time; any will do
            os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: served.alone() and served.descriptors() == files)
    still_serves(served.path)


@pytest.mark.parametrize("much", [0, 1 << 60], ids=["ahead", "one by one"])
def test_a_helper_that_was_killed_at_any_point_is_asked_again_when_it_is_back(
    much: int, served: Helper, client: HelperWalker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pte_magic.walkers.helper_client._MUCH", much)
    array = private_mapping(1 << 10)
    array[:] = 1
    start, end = array.ctypes.data, array.ctypes.data + array.nbytes

    def always_right() -> None:
        while True:
            assert (client.walk(own(), start, end).entry & np.uint64(1)).all()

    for number in range(max(TIMES // 20, 2)):
        killer = threading.Timer(number / 100, served.end, (signal.SIGKILL,))
        killer.start()
        with pytest.raises(WalkerUnavailableError, match=r"has ended; type `.*/pte-magic serve --socket "):
            always_right()
        killer.join()
        served.start()  # over the socket's file that was left behind
        assert (client.walk(own(), start, end).entry & np.uint64(1)).all()


def test_a_helper_that_was_started_again_meanwhile_goes_unnoticed(served: Helper, client: HelperWalker) -> None:
    first = client.walk(own(), PAGE, 3 * PAGE)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        served.end(number)
        served.start()
        again = client.walk(own(), PAGE, 3 * PAGE)
        assert (again.entry == first.entry).all()


def test_an_interrupt_while_an_answer_is_waited_for_leaves_no_answer_to_be_taken_for_the_next(
    served: Helper, client: HelperWalker
) -> None:
    array = private_mapping(4)
    array[1] = 1
    start = array.ctypes.data
    expected = [False, True, False, False]

    def seen() -> list[bool]:
        return [bool(entry & 1) for entry in client.walk(own(), start, start + 4 * PAGE).entry.tolist()]

    assert seen() == expected
    os.kill(served.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, served.pid, os.WSTOPPED | os.WNOWAIT)  # until all of its threads have
    try:
        interrupt = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            client.walk(own(), PAGE, 2 * PAGE)
        interrupt.join()
    finally:
        os.kill(served.pid, signal.SIGCONT)
    assert seen() == expected


def test_a_forked_child_connects_for_itself(served: Helper) -> None:
    array = private_mapping(64)
    start, end = array.ctypes.data, array.ctypes.data + array.nbytes

    def look() -> int:
        array[:9] = 1
        found = walkers.get("helper").walk(own(), start, end)
        return int((found.entry & np.uint64(1)).sum())

    walkers.close()
    try:
        mine = walkers.get("helper")
        with forked(look, look) as child:
            assert child.step() == 9
            assert not (mine.walk(own(), start, end).entry & np.uint64(1)).any()  # the parent wrote nothing
            assert child.step() == 9
        assert len({request["pid"] for request in served.requests()}) == 2
    finally:
        walkers.close()


def test_an_address_space_that_is_gone_is_told_as_by_every_walker(client: HelperWalker) -> None:
    with forked() as child:
        space = AddressSpace(child.pid)
    with space:
        messages = []
        for walker in (client, walkers.get("bpf")):
            with pytest.raises(Exception, match="exited") as raised:
                walker.walk(space, PAGE, 2 * PAGE)
            messages.append(str(raised.value))
    assert messages[0] == messages[1]


def test_a_closed_walker_says_so(client: HelperWalker) -> None:
    client.close()
    with pytest.raises(WalkerUnavailableError, match="was closed"):
        client.walk(own(), PAGE, 2 * PAGE)


def test_the_helper_s_memory_is_flat_over_many_requests_and_connections(served: Helper) -> None:
    requests = int(100_000 * SCALE)
    array = private_mapping(256)
    array[:] = 1
    message = request(array.ctypes.data, array.ctypes.data + array.nbytes)

    def ask(count: int) -> None:
        with opened() as fd, Talker(served.path) as talker:
            for _ in range(count // 8):
                for _ in range(8):
                    talker.send(message, [fd])
                for _ in range(8):
                    talker.answer()

    def connect(count: int) -> None:
        for _ in range(count):
            ask(8)
        wait_until(served.alone)

    ask(requests // 10)
    connect(50)
    before = served.resident()
    ask(requests)
    connect(max(requests // 200, 50))
    assert served.resident() < before + (1 << 20)
