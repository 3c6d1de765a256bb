"""The module behind the stap walker: it is there while somebody needs it, and never longer."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import NOBODY, descriptors, forked
from handmade import NOHUGEPAGE, PAGE, PM_PFN, NewMap, write
from loaded import modules, programs, wait_until_nothing_is_left
from running_cells import interrupt, meanwhile
from waiting import SECONDS, wait_until

import pte_magic
from pte_magic import walkers
from pte_magic.errors import TargetError, WalkerUnavailableError
from pte_magic.linux import hardware
from pte_magic.linux.address_space import own
from pte_magic.walkers.stap import StapWalker

if TYPE_CHECKING:
    from collections.abc import Iterator


def is_right() -> bool:
    """Walk a page of this process, with a module of its own; what a notebook does."""
    page = np.ones(PAGE, np.uint8)
    found = pte_magic.walk(page, walker="stap")
    word = int.from_bytes(os.pread(own().fd, 8, int(found["vaddr"][0]) // PAGE * 8), "little")
    return bool(found["pfn"][0] == word & PM_PFN)


def test_closing_unloads_and_leaves_no_descriptor(stap: StapWalker) -> None:
    before = descriptors()
    assert len(modules()) == 1
    assert len(stap.walk(own(), 0, hardware.user_limit()))
    walkers.close()
    assert not modules()
    assert not programs()
    assert descriptors() < before


def test_notebooks_do_not_share_a_module_and_outlive_each_other() -> None:
    with forked(is_right, is_right, walkers.close) as second:
        with forked(is_right) as first:
            assert first.step()
            assert second.step()
            assert len(modules()) == 2
        wait_until(lambda: len(modules()) == 1)
        assert second.step()
        second.step()
        assert not modules()
    assert not programs()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_the_module_goes_when_the_notebook_dies(number: signal.Signals) -> None:
    def start() -> bool:
        faulthandler.disable()  # it would tell of the signal
        return is_right()

    with forked(start) as child:
        assert child.step()
        assert len(modules()) == 1
        os.kill(child.pid, number)
        wait_until_nothing_is_left()


def test_a_forked_child_neither_uses_nor_keeps_the_parents_module(stap: StapWalker, new_map: NewMap) -> None:
    address = new_map(PAGE, advice=NOHUGEPAGE)
    write(address)

    def childs() -> tuple[str, int]:
        return walkers.get("stap").name, int(walkers.get("stap").walk(own(), address, address + PAGE).entry[0])

    entry = int(stap.walk(own(), address, address + PAGE).entry[0])
    with forked(childs, walkers.close) as child:
        name, theirs = child.step()
        assert name == "stap"
        assert theirs & 0x000F_FFFF_FFFF_F000 == entry & 0x000F_FFFF_FFFF_F000  # the page is shared until one writes
        assert len(modules()) == 2
        walkers.close()  # the parent's; the child holds nothing of it
        assert len(modules()) == 1
        child.step()
        assert not modules()


def test_the_module_goes_although_a_forked_child_lives_on() -> None:
    def start() -> int:
        assert is_right()
        pid = os.fork()
        if pid == 0:
            time.sleep(2 * SECONDS)
            os._exit(0)
        return pid

    with forked(start) as child:
        grandchild = child.step()
        try:
            assert len(modules()) == 1
            os.kill(child.pid, signal.SIGKILL)
            wait_until_nothing_is_left()
            assert Path(f"/proc/{grandchild}").exists()
        finally:
            os.kill(grandchild, signal.SIGKILL)


def test_interrupts_during_walks_harm_nothing(stap: StapWalker) -> None:
    interrupted = 0
    until = time.monotonic() + 5
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        while time.monotonic() < until:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.002 + 0.02 * (interrupted % 7))
                while True:
                    stap.walk(own(), 0, hardware.user_limit())
            except KeyboardInterrupt:
                interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert interrupted > 10
    assert len(modules()) == 1
    assert len(stap.walk(own(), 0, hardware.user_limit()))


@contextmanager
def interrupts(*seconds: float) -> Iterator[None]:
    """Interrupt this process after so many seconds each, unless the block has ended by then."""
    after = iter([*np.diff(seconds), 0])

    def interrupt(*_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, next(after))
        os.kill(os.getpid(), signal.SIGINT)

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds[0])
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize("seconds", [0.02, 0.1, 0.3, 0.6, 1.0, 1.5])
def test_an_interrupt_while_it_is_loaded_leaves_nothing(seconds: float) -> None:
    before = descriptors()
    with suppress(KeyboardInterrupt), interrupts(seconds):
        walkers.attempt("stap")
    # What was loaded has gone, or is known.
    assert len(modules()) == isinstance(walkers.known("stap"), StapWalker)
    walkers.close()
    assert not modules()
    assert not programs()
    assert descriptors() <= before + 1  # own address space, kept open


def test_interrupts_while_it_is_unloaded_leave_nothing(stap: StapWalker) -> None:
    assert len(stap.walk(own(), 0, hardware.user_limit()))
    with pytest.raises(KeyboardInterrupt), interrupts(0.02, 0.04, 0.06):  # it takes a tenth of a second at least
        walkers.close()
    assert not modules()
    assert not programs()


def test_threads_share_a_module() -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: walkers.get("stap"), range(8)))
        assert len(found) == len(modules()) == 1
    walkers.close()
    assert not modules()


def test_an_interrupt_while_it_is_compiled_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = tmp_path / "pte-magic" / "systemtap"

    def is_at_work() -> bool:
        return bool(programs()) and kept.exists()

    try:
        with pytest.raises(KeyboardInterrupt), meanwhile(interrupt, after=is_at_work):
            walkers.attempt("stap")
    finally:
        walkers.close()
    assert not programs()
    assert [path.name for path in kept.iterdir() if path.name != "stap"] == []


def test_walks_go_on_when_somebody_unloads_the_module(stap: StapWalker) -> None:
    """The administrator's way (SIGINT to staprun) while threads are inside."""
    walks, stop = [0, 0], threading.Event()

    def walk(number: int) -> None:
        while not stop.is_set():
            assert len(stap.walk(own(), 0, hardware.user_limit()))
            walks[number] += 1

    def goes_on(reached: list[int]) -> bool:
        return any(future.done() for future in walking) or all(
            now > then for now, then in zip(walks, reached, strict=True)
        )

    with ThreadPoolExecutor(2) as pool:
        walking = [pool.submit(walk, number) for number in range(2)]
        try:
            for _ in range(3):
                reached = [*walks]
                wait_until(lambda: goes_on(reached))  # noqa: B023  (called at once)
                loaded = stap._loaded
                assert loaded
                loaded.process.send_signal(signal.SIGINT)
                wait_until(lambda: loaded.module not in modules())  # noqa: B023
            reached = [*walks]
            wait_until(lambda: goes_on(reached))
        finally:
            stop.set()
        for future in walking:
            future.result(SECONDS)


def test_who_gave_up_privileges_makes_do_with_what_is_loaded(stap: StapWalker) -> None:
    """No thread is left that would still have them, and what somebody unloads is told of, not loaded again."""
    threads, loaded = threading.active_count(), stap._loaded
    assert loaded
    stap.settle()
    assert threading.active_count() == threads - 1
    assert len(stap.walk(own(), 0, hardware.user_limit()))
    loaded.process.send_signal(signal.SIGINT)
    wait_until(lambda: loaded.module not in modules())
    for _ in range(2):
        with pytest.raises(
            WalkerUnavailableError, match="its module was unloaded from outside; start this program again"
        ):
            stap.walk(own(), PAGE, 2 * PAGE)


def test_a_killed_staprun_is_cleaned_up_after() -> None:
    found = walkers.attempt("stap")
    assert isinstance(found, StapWalker)
    assert found._loaded
    for pid in programs():
        os.kill(pid, signal.SIGKILL)
    assert len(found.walk(own(), 0, hardware.user_limit()))  # the module is there, and answers
    walkers.close()
    wait_until_nothing_is_left()


def test_module_s_file_is_its_users_alone(stap: StapWalker) -> None:
    assert stap._loaded
    status = Path("/proc", stap._loaded.module).stat()
    assert (status.st_uid, status.st_mode & 0o777) == (os.getuid(), 0o600)
    path = f"/proc/{stap._loaded.module}"

    def as_nobody() -> None:
        os.setuid(NOBODY)
        Path(path).read_bytes()

    with forked(as_nobody) as child, pytest.raises(PermissionError):
        child.step()


@pytest.mark.parametrize("path", ["/proc/self/maps", "/proc/self/mem", "/etc/passwd", "/proc/self/pagemap"])
def test_only_a_pagemap_is_taken_for_one(stap: StapWalker, path: str) -> None:
    class Odd:
        pid = os.getpid()
        fd = os.open(path, os.O_RDONLY)

        def fileno(self) -> int:
            return self.fd

    odd = Odd()
    try:
        if path.endswith("pagemap"):
            assert len(stap.walk(odd, 0, PAGE))  # type: ignore[arg-type]  # the negative cases need something that is none
        else:
            with pytest.raises(TargetError, match="is not an open /proc/PID/pagemap"):
                stap.walk(odd, 0, PAGE)  # type: ignore[arg-type]  # as above
    finally:
        os.close(odd.fd)


def test_kernel_addresses_are_refused(stap: StapWalker) -> None:
    for start, end in ((-1 << 63) % (1 << 64), (1 << 64) - PAGE), (PAGE, 0), (0, hardware.user_limit() + PAGE):
        with pytest.raises(OSError, match="Invalid argument"):
            stap.walk(own(), start, end)


@pytest.mark.usefixtures("helper")
def test_doctor_says_that_all_work(stap: StapWalker) -> None:
    told = pte_magic.doctor().set_index("walker")
    assert told["works"].all(), told
    assert stap.name in told.index
