"""Many clients at a time: each gets what is its own, and none keeps another waiting."""

from __future__ import annotations

import mmap
import multiprocessing
import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import needs_root
from handmade import PAGE, PM_PFN, words
from serving import CLIENTS, SCALE, Helper, serving
from talking import Talker, opened, request, still_serves, together
from waiting import SECONDS, wait_until

from pte_magic import walkers
from pte_magic.helper.fair_lock import Turns
from pte_magic.linux.address_space import own
from pte_magic.walkers.helper_client import HelperWalker
from pte_magic.walkers.helper_protocol import AREAS, Status
from pte_magic.workloads import private_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = needs_root

REQUESTS = max(int(200 * SCALE), 10)
ENOUGH = max(int(1000 * SCALE), 50)
AHEAD = 8
"""How many requests a greedy client has on their way."""
FRAME = 0x000F_FFFF_FFFF_F000


def test_of_a_hundred_clients_at_once_each_sees_its_own_pages_only(served: Helper) -> None:
    pages = 64
    array = private_mapping(pages)
    address = array.ctypes.data

    started = multiprocessing.get_context("fork").Barrier(CLIENTS)

    def look(number: int) -> int:
        """Write pages of one's own at the address that all have in common, and compare with pagemap again and again."""
        array[[page for page in range(pages) if page == number % pages or number >> page % 7 & 1]] = number
        different = 0
        with opened() as fd, Talker(served.path) as talker:
            started.wait(SECONDS)
            for _ in range(REQUESTS):
                before = words(address, pages * PAGE)
                answer = talker.ask(fd, address, address + pages * PAGE)
                assert (answer.status, answer.n_entries) == (Status.OK, pages)
                seen = [(entry & FRAME) // PAGE if entry & 1 else 0 for entry in talker.entries(pages)]
                if (words(address, pages * PAGE) == before).all():  # the kernel moved none meanwhile
                    different += seen != [int(word) & PM_PFN for word in before]
        return different

    assert together(*(partial(look, number) for number in range(CLIENTS))) == [0] * CLIENTS
    wait_until(served.alone)


@pytest.fixture(scope="module")
def of_three_rows() -> Iterator[Helper]:
    """A helper whose answers have three rows."""
    with serving("--frames", "0", "--max-rows", "3") as found:
        yield found


@pytest.fixture(params=[0, 1 << 60], ids=["ahead", "one by one"])
def by_threes(request: pytest.FixtureRequest, of_three_rows: Helper, monkeypatch: pytest.MonkeyPatch) -> Helper:
    """The same helper, which this process' walker asks for the next answer before it needs that.

    Or not before, as it does when all that it wants may be one answer.
    """
    monkeypatch.setattr("pte_magic.walkers.helper_client._MUCH", request.param)
    monkeypatch.setattr("pte_magic.walkers.helper_client.socket_path", lambda: str(of_three_rows.path))
    return of_three_rows


def test_a_longer_walk_than_an_answer_may_be_is_the_same_walk(by_threes: Helper) -> None:
    """Answers of three rows and of all of them: of memory with pages, holes and the tables above."""
    array = private_mapping(1300)
    array[[0, 1, 2, 3, 511, 512, 700, 1299]] = 1
    start = array.ctypes.data
    end = start + 1300 * PAGE
    whole = {
        tables: walkers.get("bpf").walk(own(), start - PAGE, end + PAGE, tables=tables) for tables in (False, True)
    }
    before = len(by_threes.requests())
    walker = HelperWalker()
    for tables, expected in whole.items():
        found = walker.walk(own(), start - PAGE, end + PAGE, tables=tables)
        for name in ("entry", "vaddr", "size", "level"):
            assert (getattr(found, name) == getattr(expected, name)).all(), name
    walker.close()
    rows = [int(line["rows"]) for line in by_threes.requests()[before:]]
    assert len(rows) > 1300 // 3
    assert max(rows) <= 3 + 4 * 2  # with the tables on the way to the first address, and to one on the way


def test_the_next_answer_leaves_the_one_before_alone(served: Helper) -> None:
    array = private_mapping(8)
    array[[0, 1, 6]] = 1
    start, end = array.ctypes.data, array.ctypes.data + array.nbytes
    with opened() as fd, Talker(served.path) as talker:
        first = talker.ask(fd, start, end)
        before = talker.entries(8)
        assert [entry & 1 for entry in before] == [1, 1, 0, 0, 0, 0, 1, 0]
        second = talker.ask(fd, start + PAGE, end)
        assert (talker.entries(7), talker.entries(8, first.at)) == (before[1:], before)
        assert {first.at, second.at} == set(AREAS)
        assert talker.ask(fd, start, end).at == first.at


def test_what_is_left_of_a_walk_that_was_given_up_is_not_taken_for_another_s(by_threes: Helper) -> None:
    array = private_mapping(20)
    array[::2] = 1
    start, end = array.ctypes.data, array.ctypes.data + array.nbytes
    walker = HelperWalker()
    for first in (0, 1, 0):
        for part in walker.views(own(), start + (1 - first) * PAGE, end):
            assert len(part) == 3
            break
        found = walker.walk(own(), start + first * PAGE, end)
        assert [entry & 1 for entry in found.entry.tolist()] == [1 - page % 2 for page in range(first, 20)]
    walker.close()
    wait_until(by_threes.alone)


def test_one_more_than_may_connect_is_told_so_and_the_others_are_served(served: Helper) -> None:
    refusals = served.log().count("refused: too many")
    with ExitStack() as stack:
        talkers = [stack.enter_context(Talker(served.path)) for _ in range(CLIENTS)]
        assert {talker.status for talker in talkers} == {Status.OK}
        for _ in range(3):
            with Talker(served.path) as refused:
                assert (refused.status, refused.memory) == (Status.BUSY, -1)
        with opened() as fd:
            assert {talker.ask(fd, PAGE).status for talker in talkers} == {Status.OK}
    wait_until(served.alone)
    still_serves(served.path)
    assert served.log().count("refused: too many connections") == refusals + 3


def test_a_client_that_reads_no_answers_keeps_nobody_waiting_and_gets_all_of_them_later(served: Helper) -> None:
    with opened() as fd, Talker(served.path) as talker:
        sent, waited = 0, 0
        talker.socket.settimeout(0)
        while waited < 3:  # until neither side takes anything any more
            try:
                talker.send(request(PAGE), [fd])
                sent += 1
            except BlockingIOError:
                still_serves(served.path)
                waited += 1
        talker.socket.settimeout(SECONDS)
        assert {talker.answer().status for _ in range(sent)} == {Status.OK}
        assert talker.ask(fd, PAGE).status == Status.OK


def test_a_flood_of_descriptors_leaves_none_behind(served: Helper) -> None:
    def flood() -> None:
        with opened() as fd, Talker(served.path) as talker:
            for _ in range(REQUESTS):
                talker.send(request(PAGE), [fd] * 253)  # SCM_MAX_FD, include/net/scm.h
                assert talker.answer().status == Status.MALFORMED

    files = served.descriptors()
    together(*[flood] * 8)
    wait_until(lambda: served.alone() and served.descriptors() == files)
    still_serves(served.path)


def test_turns_are_given_in_the_order_of_asking() -> None:
    turns, order, asked = Turns(), list[int](), list[int]()

    def take(number: int) -> None:
        asked.append(number)
        with turns:
            order.append(number)

    def waiting(count: int) -> bool:
        return len(turns._waiting) == count

    threads = [threading.Thread(target=take, args=(number,)) for number in range(20)]
    with turns:
        for number, thread in enumerate(threads):
            thread.start()
            wait_until(partial(waiting, number + 1))
    for thread in threads:
        thread.join()
    assert order == asked == list(range(20))


def test_who_had_a_turn_waits_for_those_who_came_before() -> None:
    """A lock of the system is often taken again by who just gave it back, before the next one has woken up."""
    turns, order, again = Turns(), list[str](), 100

    def wait() -> None:
        with turns:
            order.append("other")

    for _ in range(again):
        with turns:
            thread = threading.Thread(target=wait)
            thread.start()
            wait_until(lambda: turns._waiting)
        with turns:
            order.append("same")
        thread.join()
    assert order == ["other", "same"] * again


def test_who_asks_for_everything_without_a_pause_leaves_others_their_turns(served: Helper) -> None:
    """Who gets no processor does not ask, so on a busy machine the turns may be uneven for a while."""
    array = private_mapping(1 << 12)
    array[:] = 1
    address, end = array.ctypes.data, array.ctypes.data + array.nbytes
    tries = 20

    def shares() -> list[int]:
        """Return how often each of three was served, when one of them had enough."""
        counts = np.frombuffer(mmap.mmap(-1, PAGE), np.int64, 3)  # shared by all children
        started = multiprocessing.get_context("fork").Barrier(3)

        def ask(number: int) -> None:
            with opened() as fd, Talker(served.path) as talker:
                started.wait(SECONDS)
                for _ in range(AHEAD):
                    talker.send(request(address, end), [fd])
                while counts.max() < ENOUGH:
                    assert talker.answer().status == Status.OK
                    talker.send(request(address, end), [fd])
                    counts[number] += counts.min() > 0 or counts[number] == 0  # from when all are under way

        together(*(partial(ask, number) for number in range(3)))
        return sorted(counts.tolist())

    seen = []
    for _ in range(tries):
        seen.append(shares())
        if seen[-1][0] > ENOUGH // 2:
            return
    pytest.fail(f"in {tries} rounds, three were served as often as this: {seen}")
