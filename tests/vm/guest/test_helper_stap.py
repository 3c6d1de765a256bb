"""The helper with the walker of SystemTap: all that is promised of it with the other one, and no module left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import NOBODY, become, forked
from entry_bits import address_mask
from handmade import PAGE, PM_PFN, PM_PRESENT, words
from loaded import modules, wait_until_nothing_is_left
from serving import Helper, serving
from talking import Talker, opened, still_serves
from waiting import wait_until

from pte_magic import walkers
from pte_magic.linux.address_space import own
from pte_magic.walkers.helper_client import HelperWalker
from pte_magic.walkers.helper_protocol import FRAMES_HIDDEN, GO_ON, TABLES, Status
from pte_magic.workloads import private_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def served() -> Iterator[Helper]:
    """A helper for the group of nobody, which shows page frames to root's. When it has ended, no module is left."""
    walkers.close()
    with serving("--walker", "stap", "--group", str(NOBODY), "--frames", "0") as found:
        yield found
        assert found.end() == 0
    assert not modules()
    wait_until_nothing_is_left()


@pytest.fixture
def client(served: Helper, monkeypatch: pytest.MonkeyPatch) -> Iterator[HelperWalker]:
    monkeypatch.setattr("pte_magic.walkers.helper_client.socket_path", lambda: str(served.path))
    walker = HelperWalker()
    yield walker
    walker.close()


@pytest.mark.parametrize("tables", [False, True])
def test_it_reads_what_the_ebpf_program_reads(client: HelperWalker, *, tables: bool) -> None:
    array = private_mapping(1300)
    array[[0, 1, 2, 511, 512, 700, 1299]] = 1
    start, end = array.ctypes.data, array.ctypes.data + array.nbytes
    found = client.walk(own(), start, end, tables=tables)
    expected = walkers.get("bpf").walk(own(), start, end, tables=tables)
    for name in ("entry", "vaddr", "size", "level"):
        assert (getattr(found, name) == getattr(expected, name)).all(), name
    assert not found.frames_hidden


def test_what_is_no_pagemap_or_has_exited_is_told_apart(served: Helper) -> None:
    with forked() as child:
        exited = os.open(f"/proc/{child.pid}/pagemap", os.O_RDONLY)
    try:
        with Path(__file__).open("rb") as file, opened() as fd, Talker(served.path) as talker:
            assert talker.ask(file.fileno(), PAGE).status == Status.NOT_PAGEMAP
            assert talker.ask(exited, PAGE).status == Status.GONE
            assert talker.ask(fd, PAGE, 3 * PAGE).status == Status.OK
            assert talker.ask(fd, 0, 2 * PAGE, flags=GO_ON)[1:4] == (Status.OK, 0, 0)
    finally:
        os.close(exited)


@pytest.mark.parametrize("shown", [True, False], ids=["root's group", "nobody"])
def test_page_frames_are_for_the_group_that_was_named(served: Helper, *, shown: bool) -> None:
    """The module tells them to the helper, who opened its file as root; the helper decides whom it tells."""
    array = private_mapping(16)
    address = array.ctypes.data

    def look() -> tuple[list[int], list[int], bool]:
        if not shown:
            become(NOBODY)
        array[3:9] = 2
        with opened() as fd, Talker(served.path) as talker:
            assert talker.ask(fd, address, address + 16 * PAGE).n_entries == 16
            seen = [(entry & int(address_mask())) // PAGE for entry in talker.entries(16)]
            talker.ask(fd, address, address + 16 * PAGE, flags=TABLES)
            return seen, list(talker.entries(20)), bool(talker.greeting[3] & FRAMES_HIDDEN)

    with forked(look) as child:
        seen, raw, hidden = child.step()
        told = [word & PM_PFN if word & PM_PRESENT else 0 for word in words(address, 16 * PAGE, child.pid).tolist()]
    assert hidden is not shown
    assert seen == (told if shown else [0] * 16)
    assert any(entry & int(address_mask()) for entry in raw) is shown  # tables' entries hold frames, too


def test_no_thread_has_a_privilege_left(served: Helper) -> None:
    with Talker(served.path):
        wait_until(lambda: not served.alone())
        threads = [task.joinpath("status").read_text() for task in Path(f"/proc/{served.pid}/task").iterdir()]
        assert len(threads) == 2  # its first one, and the client's
        for status in threads:
            fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
            assert {int(fields[kind], 16) for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
            assert fields["NoNewPrivs"] == "1"


def test_it_is_unloaded_when_the_helper_is_killed_and_the_next_one_serves(served: Helper) -> None:
    with Talker(served.path):
        wait_until(lambda: not served.alone())
        (before,) = modules()
        served.end(signal.SIGKILL)
    wait_until_nothing_is_left()
    served.start()
    assert modules() not in (set(), {before})
    still_serves(served.path)
