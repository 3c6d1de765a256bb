"""Forks: a child walks by itself, holds nothing of its parent's, and takes nothing away from it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import forked, needs_root, python
from handmade import GIB, HUGE, NOHUGEPAGE, PAGE, NewMap, write
from waiting import SECONDS, wait_until

import pte_magic
from pte_magic import walkers
from pte_magic.errors import WalkerClosedError, WalkerUnavailableError
from pte_magic.linux import hardware
from pte_magic.linux.address_space import own

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = GIB  # several requests to a walker in the kernel
LIMIT = hardware.user_limit()


@pytest.fixture
def address(new_map: NewMap) -> int:
    """Memory with a table of pages for every HUGE bytes."""
    found = new_map(SIZE, advice=NOHUGEPAGE)
    for at in range(0, SIZE, HUGE):
        write(found + at)
    return found


def is_whole(frames: list[Any], address: int) -> bool:
    """Tell whether rows cover all that was asked for, and every page that was written is there."""
    first = np.concatenate([frame["vaddr"].to_numpy() for frame in frames])
    size = np.concatenate([frame["size"].to_numpy() for frame in frames])
    there = np.concatenate([frame["state"].to_numpy() == "present" for frame in frames])
    written = np.arange(address, address + SIZE, HUGE, dtype=np.uint64)
    return bool(
        first[0] == address
        and (first[1:] == first[:-1] + size[:-1]).all()
        and first[-1] + size[-1] == address + SIZE
        and np.isin(written, first[there]).all()
    )


def test_a_stream_goes_on_in_parent_and_child(walker: str, address: int) -> None:
    for _ in range(8):
        stream = pte_magic.stream(address, address + SIZE, walker=walker, rows=1 << 14)
        begun = [next(stream)]

        def go_on(begun: list[Any] = begun, stream: Iterator[Any] = stream) -> bool:
            return is_whole(begun + list(stream), address)

        with forked(go_on) as child, ThreadPoolExecutor(1) as pool:
            childs = pool.submit(child.step)
            while not childs.done():  # into the same memory, if it were the same walker
                assert len(pte_magic.entries(address, address + PAGE, walker=walker)) == 1
            assert go_on()
            assert childs.result()


def of_parent() -> Counter[str]:
    """Return what this process holds of walkers: descriptors and mappings, by kind."""
    links = []
    for fd in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(fd.readlink()))
        except FileNotFoundError:
            continue  # that of the iteration
    mapped = [line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_bytes().decode().splitlines()]
    kinds = ("anon_inode:bpf", "anon_inode:btf", "/pagemap", "memfd:pte", "/proc/pte_magic_walker")
    return Counter(kind for kind in kinds for name in links + mapped if kind in name)


@contextmanager
def walking(walker: str) -> Iterator[None]:
    """Have another thread walk all the time."""
    enough, begun = threading.Event(), threading.Event()

    def walk() -> None:
        while not enough.is_set():
            pte_magic.entries("all", walker=walker)
            begun.set()

    thread = threading.Thread(target=walk, daemon=True)
    thread.start()
    try:
        assert begun.wait(SECONDS)
        yield
    finally:
        enough.set()
        thread.join(SECONDS)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # that other threads may hold locks
def test_no_generation_holds_anything_of_the_one_before(raw_walker: str) -> None:
    pte_magic.entries(0, PAGE, walker=raw_walker)
    inherited = len(list(Path("/proc/self/fd").iterdir()))

    def descend(generation: int) -> bool:
        """Be a child: hold nothing, walk, hold what one walker takes, and fork while a thread walks."""
        if (held := of_parent()) or len(list(Path("/proc/self/fd").iterdir())) > inherited + generation:
            raise AssertionError(str(held))
        if generation == 4:
            return True
        with walking(raw_walker), forked(lambda: descend(generation + 1)) as child:
            return bool(child.step())

    with walking(raw_walker), forked(lambda: descend(1)) as child:
        assert of_parent()
        assert child.step()
    assert len(pte_magic.entries(0, PAGE, walker=raw_walker)) == 1


def test_a_walker_of_the_parent_is_closed_in_the_child(raw_walker: str) -> None:
    kept = walkers.get(raw_walker)
    pieces = kept.chunks(own(), 0, LIMIT)
    next(pieces)

    def use() -> list[str]:
        said = []
        for call in (
            lambda: kept.walk(own(), 0, PAGE),
            lambda: next(pieces),
            lambda: list(kept.chunks(own(), 0, PAGE)),
        ):
            try:
                said.append(repr(call()))
            except (WalkerClosedError, StopIteration) as error:
                said.append(type(error).__name__)
        return [*said, str(len(walkers.get(raw_walker).walk(own(), 0, PAGE)))]

    with forked(use) as child:
        first, second, third, rows = child.step()
    assert (first, third, rows) == ("WalkerClosedError", "WalkerClosedError", "1")
    assert second in {"WalkerClosedError", "StopIteration"}
    assert len(kept.walk(own(), 0, PAGE)) == 1


def test_views_are_never_empty_of_a_sudden(raw_walker: str, address: int) -> None:
    kept = walkers.get(raw_walker)
    pieces = kept.views(own(), address, address + SIZE)  # type: ignore[attr-defined]
    next(pieces)

    def go_on() -> str:
        try:
            return repr(next(pieces))
        except WalkerClosedError as error:
            return str(error)

    with forked(go_on) as child:
        assert child.step().endswith("this walker was closed; call pte_magic.walkers.get() for another")
    assert sum(len(piece) for piece in pieces)


def test_a_stream_goes_on_with_another_walker(raw_walker: str, address: int) -> None:
    stream = pte_magic.stream(address, address + SIZE, walker=raw_walker, rows=1 << 14)
    frames = []
    for frame in stream:
        frames.append(frame)
        if len(frames) % 4 == 0:
            walkers.close()
    assert is_whole(frames, address)


@needs_root
def test_threads_that_walk_go_on_when_the_walkers_are_closed() -> None:
    enough = threading.Event()

    def walk() -> int:
        walked = 0
        while not enough.is_set():
            try:
                assert len(pte_magic.entries(0, PAGE)) == 1
                assert len(list(walkers.get("bpf").chunks(own(), 0, PAGE))) == 1
            except WalkerClosedError:
                continue
            walked += 1
        return walked

    if isinstance(found := walkers.attempt("bpf"), WalkerUnavailableError):
        pytest.skip(str(found))
    with ThreadPoolExecutor(3) as pool:
        threads = [pool.submit(walk) for _ in range(3)]
        try:
            for _ in range(50):
                walkers.close()
                assert len(pte_magic.entries(0, PAGE)) == 1
        finally:
            enough.set()
        assert all(thread.result(timeout=SECONDS) for thread in threads)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_pools_of_processes_walk(method: str) -> None:
    context = multiprocessing.get_context(method)
    pte_magic.walk(0, PAGE)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        found = list(pool.map(pte_magic.walk, [0] * 8, [PAGE] * 8))
    assert [len(frame) for frame in found] == [1] * 8
    assert os.getpid() not in {pid for frame in found for pid in frame["pid"]}


def test_programs_inherit_nothing() -> None:
    found = python(f"""
import os, subprocess, sys
import pte_magic
pte_magic.walk(0, {PAGE})
command = [sys.executable, "-c", "import os; print(*[os.readlink(e.path) for e in os.scandir('/proc/self/fd')][:-1])"]
os.waitpid(os.posix_spawn(command[0], command, os.environ), 0)
for subprocess._USE_VFORK in (False, True):
    print(subprocess.run(command, capture_output=True, text=True).stdout, flush=True)
""")
    assert len([line for line in found.splitlines() if line]) == 3
    assert "bpf" not in found
    assert "pagemap" not in found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_may_fork_from_a_thread_and_end_as_programs_do() -> None:
    """Its exit stops no watch of the parent's, and the walker goes on."""
    out = python(f"""
import os, sys, threading, warnings
warnings.simplefilter("ignore")
import mmap, pte_magic
memory = mmap.mmap(-1, {PAGE})
seen = pte_magic.watch(memory, every=0.01)
pids = []

def fork():
    pid = os.fork()
    if pid == 0:
        try:
            assert not seen.running
            assert "forked" in repr(seen), repr(seen)
            seen.stop()
            assert len(list(seen)) == 1
            with pte_magic.watch(memory, every=0.01) as mine:
                memory[0] = 1
            assert len(mine.counts()) == 2, mine
            pte_magic.machine()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        threading._shutdown()
        import atexit
        atexit._run_exitfuncs()
        os._exit(0)
    pids.append(pid)

for _ in range(5):
    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()
print(*[os.waitpid(pid, 0)[1] for pid in pids])
assert seen.running
memory[0] = 2
seen.stop()
assert len(seen.counts()) >= 2
print(len(pte_magic.walk(0, {PAGE})))
""")
    assert out.splitlines() == ["0 0 0 0 0", "1"]


def test_a_bar_of_a_child_waits_for_nobody() -> None:
    """Another thread of the parent had tqdm's lock."""
    out = python(f"""
import os, signal, threading
from tqdm.auto import tqdm
from pte_magic.api import progress
held = threading.Event()

def hold():
    with tqdm.get_lock():
        held.set()
        threading.Event().wait()

threading.Thread(target=hold, daemon=True).start()
held.wait()
import warnings
warnings.simplefilter("ignore")
pid = os.fork()
if pid == 0:
    signal.alarm({int(SECONDS)})
    with progress.bar("looking", 1, "process") as bar:
        bar.update()
    os._exit(0)
print(os.waitpid(pid, 0)[1], flush=True)
os._exit(0)
""")
    assert out == "0"


def test_who_waits_for_the_end_of_python_waits_for_no_child(tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    pid = python(f"""
import os, signal, sys, time
from pte_magic.systemtap.guard import Guarded
guarded = Guarded(["sleep", "600"], last="kill $$; echo yes >{ended}")
pid = os.fork()
if pid == 0:
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    while True:
        time.sleep(1)
print(pid, flush=True)
os._exit(0)
""")
    try:
        wait_until(ended.exists)
    finally:
        os.kill(int(pid), signal.SIGKILL)
