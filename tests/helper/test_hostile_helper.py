"""A bad helper harms nobody: whoever listens at its path, whatever he says or does not say, a notebook goes on."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import hostile
import pytest
from conftest import descriptors, forked
from handmade import HUGE, NOHUGEPAGE, PAGE, PTES, NewMap, write
from hostile import Hostile, answering, hello, memory, message, silent
from waiting import SECONDS, wait_until

import pte_magic
from pte_magic import walkers
from pte_magic.errors import NoAddressSpaceError, TargetError, UnstableError, WalkerUnavailableError
from pte_magic.linux import geometry, hardware
from pte_magic.linux.address_space import own
from pte_magic.walkers import helper_greeting, helper_timeouts
from pte_magic.walkers.helper_client import HelperWalker
from pte_magic.walkers.helper_protocol import ANSWER, AREAS, MEMORY, VERSION, Status
from pte_magic.walkers.shared_memory import ENTRIES, ENTRIES_AT, SPANS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

START = 1 << 30
PTE = geometry.LEVELS.index("pte")
SIZES = {geometry.LEVELS.index(level): 1 << shift for level, shift in hardware.shifts().items()}
UPPER = sorted(SIZES)[-2]
MOST = 0xFFFF_FFFF
FOR_EVER = 4 * SECONDS


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where this process looks for a helper. Of other walkers there is pagemap only."""
    where = tmp_path / "socket"
    monkeypatch.setattr("pte_magic.walkers.helper_client.socket_path", lambda: str(where))
    monkeypatch.setattr(walkers, "NAMES", ("helper", "pagemap"))
    walkers.close()
    walkers._warn.cache_clear()
    assert own().fd >= 0  # which is kept open
    yield where
    walkers.close()


@pytest.fixture
def few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes a minute takes less here."""
    monkeypatch.setattr(helper_timeouts, "LONG", 0.5)


@pytest.fixture
def for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for an answer waits longer than any test does: what ends before that does so for another reason."""
    monkeypatch.setattr(helper_timeouts, "LONG", FOR_EVER)


def refused(path: Path, match: str, look: Callable[[], object]) -> None:
    """Fail unless it is refused in one line that names the socket, and nothing is left open."""
    with pytest.raises(WalkerUnavailableError, match=match) as raised:
        look()
    said = str(raised.value)
    assert str(path) in said
    assert "\n" not in said
    assert len(said) < 200 + 2 * len(str(path)) + len(sys.executable)


def pipe() -> int:
    reading, writing = os.pipe()
    os.close(writing)
    return reading


GREETINGS: dict[str, tuple[bytes, Callable[[Path], list[int]], str]] = {
    "nothing": (b"", lambda _: [], "has ended"),
    "half": (hello()[:16], lambda _: [memory()], "is not a helper of pte-magic"),
    "more": (hello() + b"x", lambda _: [memory()], "is not a helper of pte-magic"),
    "magic": (hello(magic=b"ptf\0"), lambda _: [memory()], "is not a helper of pte-magic"),
    "version": (hello(version=MOST), lambda _: [memory()], f"speaks version {MOST}"),
    "status": (hello(status=99), lambda _: [memory()], r"failed \(status 99\)"),
    "failed": (hello(status=Status.FAILED), lambda _: [memory()], r"failed \(status 7\)"),
    "busy": (hello(status=Status.BUSY), lambda _: [memory()], "has the most clients"),
    "smaller": (hello(size=0), lambda _: [memory()], "0 bytes"),
    "larger": (hello(size=1 << 63), lambda _: [memory()], "bytes"),
    "flags": (hello(flags=6), lambda _: [memory()], "flags 0x6"),
    "two masks": (hello(mask=3 << 50), lambda _: [memory()], "encryption mask"),
    "mask of no address": (hello(mask=1), lambda _: [memory()], "encryption mask"),
    "all of a mask": (hello(mask=(1 << 64) - 1), lambda _: [memory()], "encryption mask"),
    "no descriptor": (hello(), lambda _: [], "no descriptor"),
    "two descriptors": (hello(), lambda _: [memory(), memory()], "several descriptors"),
    "many descriptors": (hello(), lambda _: [memory() for _ in range(200)], "several descriptors"),
    "pipe": (hello(), lambda _: [pipe()], "not a memfd"),
    "socket": (hello(), lambda _: [socket.socket(socket.AF_UNIX).detach()], "not a memfd"),
    "directory": (hello(), lambda path: [os.open(path, os.O_RDONLY)], "not a memfd"),
    "zeros": (hello(), lambda _: [os.open("/dev/zero", os.O_RDONLY)], "not a memfd"),
    "file": (hello(), lambda path: [file(path)], "not a memfd"),
    "path only": (hello(), lambda path: [file(path, os.O_PATH)], "not a memfd"),
    "not sealed": (hello(), lambda _: [memory(seals=0)], "may become shorter"),
    "too small": (hello(), lambda _: [memory(MEMORY - PAGE)], f"{MEMORY - PAGE} bytes"),
    "empty": (hello(), lambda _: [memory(0)], "0 bytes"),
    "too large": (hello(), lambda _: [memory(MEMORY + PAGE)], f"{MEMORY + PAGE} bytes"),
}


def file(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a file of the right size; no seals are known of it."""
    where = path / "file"
    with where.open("wb") as made:
        made.truncate(MEMORY)
    return os.open(where, flags)


@pytest.mark.parametrize("what", GREETINGS)
def test_a_greeting_of_no_helper_is_one_line(what: str, path: Path) -> None:
    said, fds, match = GREETINGS[what]

    def serve(_: Hostile, connected: socket.socket) -> None:
        sent = fds(path.parent)
        if said:
            socket.send_fds(connected, [said], sent)
        for fd in sent:
            os.close(fd)

    before = descriptors()
    with Hostile(path, serve):
        for _ in range(3):
            refused(path, match, HelperWalker)
        assert walkers.get("auto").name == "pagemap"
    assert descriptors() == before


def test_who_does_not_greet_keeps_nobody_waiting_and_is_used_when_he_does(path: Path) -> None:
    late = threading.Event()

    def serve(server: Hostile, connected: socket.socket) -> None:
        while not late.wait(0.05):
            if server.ended.is_set():
                return
        honest(server, connected)

    before = descriptors()
    with Hostile(path, serve):
        with pytest.warns(UserWarning, match=rf"the helper at {path} has not greeted for 2 s; type `.*until it greets"):
            assert walkers.get("auto").name == "pagemap"
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # it was said once
            walkers._chosen.clear()
            assert walkers.get("auto").name == "pagemap"
            late.set()
            wait_until(lambda: walkers.get("auto").name == "helper")
        assert len(pte_magic.entries(START, START + PAGE)) == 1
        walkers.close()
    assert descriptors() == before


@pytest.mark.usefixtures("few_seconds")
def test_who_names_one_that_does_not_greet_is_told_what_to_type(path: Path) -> None:
    before = descriptors()
    with Hostile(path, silent):
        refused(path, r"has not greeted for 0.5 s; type `.*pte-magic.*serve", lambda: walkers.get("helper"))
        assert helper_greeting.is_awaited()
        walkers.close()
        assert not helper_greeting.is_awaited()
    assert descriptors() == before


@pytest.mark.usefixtures("few_seconds")
def test_one_that_takes_no_connections_is_told(path: Path) -> None:
    """Nothing else tells: connect() waits for room in the queue."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(path))
        listening.listen(0)
        with filled(path):
            with pytest.warns(UserWarning, match="has not greeted for"):
                assert walkers.get("auto").name == "pagemap"
            refused(path, "has not greeted for", lambda: walkers.get("helper"))


class filled:  # noqa: N801  (a context manager is named as a function)
    """Within it, the queue of a listening socket is full."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made: list[socket.socket] = []

    def __enter__(self) -> None:
        while True:
            one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            one.settimeout(0)
            self._made.append(one)
            try:
                one.connect(str(self._path))
            except BlockingIOError:
                return

    def __exit__(self, *_: object) -> None:
        for one in self._made:
            one.close()


def interrupted(look: Callable[[], object], waits: Callable[[], object]) -> None:
    """Fail unless an interrupt ends a look, once that waits."""

    def interrupt() -> None:
        wait_until(waits)
        os.kill(os.getpid(), signal.SIGINT)

    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            look()
        sent.result()


@pytest.mark.parametrize("look", [lambda: walkers.get("helper"), walkers.get, HelperWalker])
def test_an_interrupt_ends_the_wait_for_a_greeting_and_leaves_nothing(look: Callable[[], object], path: Path) -> None:
    came = threading.Event()

    def serve(server: Hostile, _: socket.socket) -> None:
        came.set()
        server.ended.wait()

    before = descriptors()
    with Hostile(path, serve):
        interrupted(look, came.is_set)
        assert not helper_greeting.is_awaited()
        assert walkers.known("helper") is None
    assert descriptors() == before


def test_an_interrupt_ends_the_wait_for_a_connection(path: Path) -> None:
    before = descriptors()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(path))
        listening.listen(0)
        with filled(path):
            here = descriptors()
            interrupted(lambda: walkers.get("helper"), lambda: descriptors() > here)
    assert descriptors() == before


def test_an_interrupt_with_the_greeting_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = helper_greeting.call

    def interrupted_after(*arguments: Any) -> Any:
        greeted = call(*arguments)
        signal.raise_signal(signal.SIGINT)
        return greeted

    before = descriptors()
    with Hostile(path, deaf(threading.Event())):
        monkeypatch.setattr(helper_greeting, "call", interrupted_after)
        with pytest.raises(KeyboardInterrupt):
            HelperWalker()
    assert descriptors() == before


def test_a_forked_child_does_not_wait_for_its_parent_s_greeting(path: Path) -> None:
    with Hostile(path, silent):
        with pytest.raises(WalkerUnavailableError):
            HelperWalker(0.1)
        assert helper_greeting.is_awaited()
        with forked(helper_greeting.is_awaited) as child:
            assert child.step() is False


def one(vaddr: int, count: int = 1, level: int = PTE, size: int | None = None) -> tuple[int, int, int, int]:
    return vaddr, SIZES.get(level, PAGE) if size is None else size, count, level


Answer = tuple[list[tuple[int, int, int, int]], bytes]


def right(_: int, start: int, end: int) -> Answer:
    """Say that all pages are empty, as many as fit in an answer."""
    pages = min((end - start) // PAGE, 1 << 17)
    return [one(start, pages)], message(pages, 1, start + pages * PAGE)


honest = answering(right)

WRONG: dict[str, Callable[[int, int], Answer]] = {
    "one byte": lambda *_: ([], b"x"),
    "half of it": lambda start, end: ([one(start, 4)], message(4, 1, end)[:-1]),
    "more than it": lambda start, end: ([one(start, 4)], message(4, 1, end) + b"x"),
    "garbage": lambda *_: ([], bytes(range(ANSWER.size))),
    "version": lambda start, end: ([one(start, 4)], message(4, 1, end, version=VERSION + 1)),
    "status": lambda start, end: ([one(start, 4)], message(4, 1, end, status=99)),
    "busy": lambda start, end: ([one(start, 4)], message(4, 1, end, status=Status.BUSY)),
    "no entries": lambda _, end: ([], message(0, 0, end)),
    "no spans": lambda _, end: ([], message(4, 0, end)),
    "entries of no span": lambda start, end: ([one(start, 4)], message(5, 1, end)),
    "more than fit": lambda start, end: ([one(start, MOST)], message(MOST, 1, end)),
    "one more than fits": lambda start, end: ([one(start, 4)], message(ENTRIES + 1, 1, end)),
    "spans, likewise": lambda start, end: ([one(start, 4)], message(4, SPANS + 1, end)),
    "very many spans": lambda start, end: ([one(start, 4)], message(4, MOST, end)),
    "area": lambda start, end: ([one(start, 4)], message(4, 1, end, at=8)),
    "area behind": lambda start, end: ([one(start, 4)], message(4, 1, end, at=2 * AREAS[1])),
    "area far behind": lambda start, end: ([one(start, 4)], message(4, 1, end, at=(1 << 64) - 1)),
    "stays": lambda start, _: ([one(start, 4)], message(4, 1, start)),
    "goes back": lambda start, _: ([one(start, 4)], message(4, 1, start - PAGE)),
    "goes back to 0": lambda start, _: ([one(start, 4)], message(4, 1, 0)),
    "goes too far": lambda start, end: ([one(start, 4)], message(4, 1, end + PAGE)),
    "goes to the end of all": lambda start, _: ([one(start, 4)], message(4, 1, (1 << 64) - PAGE)),
    "parts of a page": lambda start, end: ([one(start, 4)], message(4, 1, end - 8)),
    "count 0": lambda start, end: ([one(start, 0), one(start, 4)], message(4, 2, end)),
    "count of 64 GiB": lambda start, end: ([one(start, MOST)], message(4, 1, end)),
    "counts that add up by wrapping": lambda start, end: (
        [one(start, MOST), one(start, 5)], message(4, 2, end)),
    "level 99": lambda start, end: ([one(start, 4, 99)], message(4, 1, end)),
    "level -1": lambda start, end: ([one(start, 4, -1)], message(4, 1, end)),
    "least level": lambda start, end: ([one(start, 4, -(1 << 31))], message(4, 1, end)),
    "size 0": lambda start, end: ([one(start, 4, size=0)], message(4, 1, end)),
    "size of another level": lambda start, end: ([one(start, 4, size=HUGE)], message(4, 1, end)),
    "size of none": lambda start, end: ([one(start, 4, size=3)], message(4, 1, end)),
    "size that wraps": lambda start, end: ([one(start, 4, size=1 << 63)], message(4, 1, end)),
    "begins early": lambda start, end: ([one(start - PAGE, 4)], message(4, 1, end - PAGE)),
    "begins late": lambda start, end: ([one(start + PAGE, 3)], message(3, 1, end)),
    "begins nowhere": lambda start, end: ([one(start + 8, 4)], message(4, 1, end)),
    "kernel": lambda start, end: ([one(start | 0xFFFF << 48, 4)], message(4, 1, end)),
    "huge page at a page": lambda start, end: ([one(start + PAGE, 1, UPPER)], message(1, 1, end)),
    "gap": lambda start, end: ([one(start), one(start + 2 * PAGE, 2)], message(3, 2, end)),
    "twice": lambda start, end: ([one(start, 2), one(start, 2), one(start + 2 * PAGE, 2)], message(6, 3, end)),
    "descends": lambda start, end: ([one(start + 2 * PAGE, 2), one(start, 2)], message(4, 2, end)),
    "tables that nobody asked for": lambda start, end: (
        [one(start & -SIZES[UPPER], 1, UPPER), one(start, 4)], message(5, 2, end)),
    "many, of which one is wrong": lambda start, end: (
        [one(start)] * SPANS, message(SPANS, SPANS, end)),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_an_answer_of_no_walk_is_one_line(what: str, path: Path) -> None:
    before = descriptors()
    with Hostile(path, answering(lambda _, start, end: WRONG[what](start, end))):
        asked = HelperWalker()
        for _ in range(2):
            refused(path, "gave an answer with ", lambda: asked.walk(own(), START, START + 4 * PAGE))
        refused(path, "gave an answer with ", lambda: list(asked.chunks(own(), START, START + 4 * PAGE)))
        refused(path, "gave an answer with ", lambda: list(asked.views(own(), START, START + 4 * PAGE)))
        asked.close()
    assert descriptors() == before


WRONG_TABLES: dict[str, Callable[[int, int], Answer]] = {
    "table of nothing": lambda start, end: ([one(start, 4), one(start & -HUGE, 1, UPPER)], message(5, 2, end)),
    "table of others": lambda start, end: ([one((start & -HUGE) + HUGE, 1, UPPER), one(start, 4)], message(5, 2, end)),
    "only a table": lambda start, end: ([one(start & -HUGE, 1, UPPER)], message(1, 1, end)),
    "one level twice": lambda start, end: (
        [one(start & -HUGE, 1, UPPER), one(start & -HUGE, 1, UPPER), one(start, 4)], message(6, 3, end)),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG_TABLES)
def test_tables_that_lead_nowhere_are_one_line(what: str, path: Path) -> None:
    with Hostile(path, answering(lambda _, start, end: WRONG_TABLES[what](start, end))):
        asked = HelperWalker()
        with pytest.raises(WalkerUnavailableError, match="gave an answer with "):
            asked.walk(own(), START + PAGE, START + 5 * PAGE, tables=True)
        asked.close()


@pytest.mark.parametrize("is_table", [True, False])
def test_entries_below_one_that_does_not_point_to_a_page_table_are_one_line(path: Path, *, is_table: bool) -> None:
    start, end = START + PAGE, START + 5 * PAGE

    def serve(server: Hostile, connected: socket.socket) -> None:
        fd = hostile.greet(connected)
        while server.request(connected):
            hostile.put(fd, [one(start & -HUGE, 1, UPPER), one(start, 4)])
            if not is_table:
                os.pwrite(fd, bytes(8), ENTRIES_AT)
            connected.send(message(5, 2, end))
        os.close(fd)

    with Hostile(path, serve):
        asked = HelperWalker()
        if is_table:
            assert len(asked.walk(own(), start, end, tables=True)) == 5
        else:
            what = "gave an answer with entries below one that does not point to a page table"
            refused(path, what, lambda: asked.walk(own(), start, end, tables=True))
            refused(path, what, lambda: list(asked.chunks(own(), start, end, tables=True)))
        asked.close()


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.OK, Status.BUSY}))
def test_what_a_helper_may_say_is_told(status: int, path: Path) -> None:
    """Its failures are those of every walker; no bytes of them are used."""
    with Hostile(path, answering(lambda *_: ([], message(MOST, MOST, MOST, at=MOST, status=status)))):
        asked = HelperWalker()
        with pytest.raises((WalkerUnavailableError, NoAddressSpaceError, UnstableError, TargetError)) as raised:
            asked.walk(own(), START, START + PAGE)
        assert "\n" not in str(raised.value)
        asked.close()


def limited(step: Callable[[], Any]) -> Any:
    """Do something in a child whose memory may grow by 256 MiB only."""

    def within() -> Any:
        pages = int(open("/proc/self/statm", encoding="ascii").read().split()[0])  # noqa: PTH123, SIM115  (a child)
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (256 << 20),) * 2)
        return step()

    with forked(within) as child:
        return child.step()


@pytest.mark.parametrize("way", ["walk", "chunks", "views"])
def test_entries_without_end_are_one_line_and_take_no_memory(way: str, path: Path) -> None:
    """There cannot be more of them than page tables have room for."""

    def look() -> str:
        asked = HelperWalker()
        try:
            for _ in getattr(asked, way)(own(), PAGE, hardware.user_limit()):
                pass
        except WalkerUnavailableError as error:
            return str(error)
        return "no end"

    with Hostile(path, honest):
        assert "more entries than the page tables of that process have" in limited(look)


def test_a_large_walk_is_believed_if_tables_have_as_many(
    path: Path, new_map: NewMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pte_magic.walkers.helper_answers.FLOOR", 0)
    pages = 600 * PTES
    start = new_map(pages * PAGE, advice=NOHUGEPAGE)
    for at in range(start, start + pages * PAGE, HUGE):
        write(at)  # a table each
    with Hostile(path, honest):
        asked = HelperWalker()
        asked._counted._room = 0
        assert len(asked.walk(own(), start, start + pages * PAGE)) == pages
        asked.close()


def test_memory_that_changes_while_it_is_read_harms_nobody(path: Path) -> None:
    """A look is right, or is refused in one line: whatever was seen of the one state and of the other."""

    def serve(server: Hostile, connected: socket.socket) -> None:
        fd = hostile.greet(connected)
        gone = threading.Event()

        def write() -> None:
            while not gone.is_set() and not server.ended.is_set():
                hostile.put(fd, [one(START, MOST, 77, 3), one(START + 1, 0, -1, 0)])
                hostile.put(fd, [one(START, 2), one(START + 2 * PAGE, 2)])

        writer = threading.Thread(target=write)
        writer.start()
        try:
            while server.request(connected):
                connected.send(message(4, 2, START + 4 * PAGE))
        finally:
            gone.set()
            writer.join()
            os.close(fd)

    with Hostile(path, serve):
        asked = HelperWalker()
        seen: set[str] = set()

        def look() -> bool:
            try:
                found = asked.walk(own(), START, START + 4 * PAGE)
                assert found.vaddr.tolist() == [START + page * PAGE for page in range(4)]
                seen.add("right")
            except WalkerUnavailableError as error:
                assert "gave an answer with " in str(error)  # noqa: PT017  (either)
                seen.add("wrong")
            return len(seen) > 1

        for _ in range(200):
            look()
        wait_until(look, instead=lambda: str(seen))  # both are written all the time
        asked.close()


@pytest.mark.parametrize(
    ("checked", "size", "flags", "why"),
    [
        (True, 0, os.O_RDWR, "sent memory "),
        (True, MEMORY, os.O_WRONLY, "sent memory that may become shorter"),
        (False, 0, os.O_RDWR, "memory that cannot be read (it is shorter)"),
        (False, ENTRIES_AT, os.O_RDWR, "memory that cannot be read (it is shorter)"),
        (False, MEMORY, os.O_WRONLY, "memory that cannot be read (Bad file descriptor)"),
    ],
)
def test_memory_that_is_emptied_or_taken_away_kills_nobody(  # noqa: PLR0913  (what is sent, and two fixtures)
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    checked: bool,
    size: int,
    flags: int,
    why: str,
) -> None:
    """A child looks, which a SIGBUS would end. Seals do not keep out all that can happen: also without them."""
    if not checked:
        monkeypatch.setattr(helper_greeting, "_no_memory", lambda _: "")

    def serve(server: Hostile, connected: socket.socket) -> None:
        fd = memory(seals=0)
        hostile.put(fd, [one(START, 4)])
        sent = os.open(f"/proc/self/fd/{fd}", flags)
        socket.send_fds(connected, [hello()], [sent])
        os.close(sent)
        os.ftruncate(fd, size)
        while server.request(connected):
            connected.send(message(4, 1, START + 4 * PAGE))
        os.close(fd)

    def look() -> str:
        try:
            HelperWalker().walk(own(), START, START + 4 * PAGE)
        except WalkerUnavailableError as error:
            return str(error)
        return "seen"

    with Hostile(path, serve), forked(look) as child:
        said = child.step()
        assert str(path) in said
        assert why in said


def test_who_closes_in_the_middle_is_told(path: Path) -> None:
    def serve(server: Hostile, connected: socket.socket) -> None:
        fd = hostile.greet(connected)
        server.request(connected)
        os.close(fd)

    before = descriptors()
    with Hostile(path, serve):
        asked = HelperWalker()
        refused(path, "ended the connection", lambda: asked.walk(own(), START, START + PAGE))
        asked.close()
    assert descriptors() == before


def deaf(asked: threading.Event) -> Callable[[Hostile, socket.socket], None]:
    """Return what greets, and answers nothing; the event tells that it was asked."""

    def serve(server: Hostile, connected: socket.socket) -> None:
        fd = hostile.greet(connected)
        os.close(fd)
        while server.request(connected):
            asked.set()

    return serve


def test_who_does_not_answer_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = descriptors()
    with Hostile(path, deaf(threading.Event())):
        walker = HelperWalker()
        monkeypatch.setattr(helper_timeouts, "LONG", 0.5)  # from when it has greeted
        refused(path, r"has not answered for 0.5 s; type `", lambda: walker.walk(own(), START, START + PAGE))
        walker.close()
    assert descriptors() == before


@pytest.mark.usefixtures("for_ever")
def test_closing_ends_a_walk_that_hangs_in_another_thread(path: Path) -> None:
    asked = threading.Event()
    with Hostile(path, deaf(asked)), ThreadPoolExecutor(2) as pool:
        walker = walkers.get("helper")
        walks = [pool.submit(walker.walk, own(), START, START + PAGE) for _ in range(2)]
        assert asked.wait(SECONDS)
        walkers.close()
        assert walker.closed
        for walk in walks:
            with pytest.raises(WalkerUnavailableError):
                walk.result(SECONDS)


@pytest.mark.usefixtures("for_ever")
def test_a_watch_whose_helper_hangs_can_be_stopped(path: Path) -> None:
    asked, hang = threading.Event(), threading.Event()

    def answer(flags: int, start: int, end: int) -> Answer:
        if hang.is_set():
            asked.set()
            hung.wait()
        return right(flags, start, end)

    hung = threading.Event()
    with Hostile(path, answering(answer)):
        seen = [pte_magic.watch(START, START + PAGE, every=0.01, walker="helper") for _ in range(2)]
        hang.set()
        assert asked.wait(SECONDS)
        begun = time.monotonic()
        for one_of_them in seen:
            one_of_them.stop()
        assert time.monotonic() - begun < SECONDS  # else it is waited for as long as for any answer
        assert not any(watch.running for watch in seen)
        hung.set()


_EXITS = """
import threading, sys
import pte_magic
from pte_magic.linux.address_space import own
from pte_magic.walkers import helper_timeouts
from pte_magic.walkers.helper_client import HelperWalker
helper_timeouts.LONG = {}
walker = HelperWalker()
{}
sys.stdout.write("asks")
sys.stdout.flush()
sys.stdin.read(1)
"""
_HANGS = {
    "daemon": "threading.Thread(target=walker.walk, args=(own(), 4096, 8192), daemon=True).start()",
    "thread": "threading.Thread(target=walker.walk, args=(own(), 4096, 8192)).start()",
}


@pytest.mark.parametrize("kind", _HANGS)
def test_python_ends_while_a_walk_hangs(kind: str, path: Path) -> None:
    asked = threading.Event()
    with Hostile(path, deaf(asked)):
        process = subprocess.Popen(
            [sys.executable, "-c", _EXITS.format(FOR_EVER, _HANGS[kind])],
            env=os.environ | {"PTE_MAGIC_SOCKET": str(path)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, cwd="/",
        )  # fmt: skip
        with process:
            try:
                assert asked.wait(SECONDS)
                process.communicate(b"x", SECONDS)
            finally:
                process.kill()
        assert process.returncode == 0


def test_an_answer_is_read_whose_helper_has_ended_since(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pte_magic.walkers.helper_client._MUCH", 0)  # it is asked for the next answer, too

    def serve(server: Hostile, connected: socket.socket) -> None:
        fd = hostile.greet(connected)
        hostile.put(fd, [one(START)])
        if server.request(connected) and server.request(connected):
            connected.send(message(1, 1, START + PAGE))
        os.close(fd)

    with Hostile(path, serve):
        walker = HelperWalker()
        assert walker.walk(own(), START, START + PAGE).vaddr.tolist() == [START]
        walker.close()


def test_a_walk_goes_on_where_the_helper_closed_between_two_walks(path: Path) -> None:
    closed = threading.Event()

    def serve(server: Hostile, connected: socket.socket) -> None:
        fd = hostile.greet(connected)
        hostile.put(fd, [one(START)])
        server.request(connected)
        connected.send(message(1, 1, START + PAGE))
        os.close(fd)
        connected.close()
        closed.set()

    with Hostile(path, serve):
        walker = HelperWalker()
        for _ in range(3):
            assert walker.walk(own(), START, START + PAGE).vaddr.tolist() == [START]
            assert closed.wait(SECONDS)
            closed.clear()
        walker.close()
