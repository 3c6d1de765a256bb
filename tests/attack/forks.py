"""Forks in the middle of streams and of threads' walks, while walkers are closed, over several generations."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from children import Children, chance_of, shared
from conftest import WALKERS, by_page
from handmade import HUGE, NOHUGEPAGE, PAGE, PM_PFN, PM_PRESENT, madvise, new_maps, write
from serving import serving
from test_forked_walkers import SIZE, of_parent
from turn import WAIT

import pte_magic
from pte_magic import walkers
from pte_magic.errors import WalkerClosedError, WalkerUnavailableError
from pte_magic.walkers.helper_protocol import VARIABLE

if TYPE_CHECKING:
    import random

    from numpy.typing import NDArray
    from turn import Turn

WHAT = "forks, threads and closed walkers, in the middle of walks"
NEEDS_ROOT = ""

GENERATIONS, THREADS = 3, 2
STREAMS, WALKS, CHILDREN = range(3)
_TOLD: list[int] = []


def right(pieces: list[Any], address: int) -> None:
    """Fail unless rows cover the range one after the other, and a page is present where one was written."""
    first = np.concatenate([piece["vaddr"].to_numpy() for piece in pieces])
    size = np.concatenate([piece["size"].to_numpy() for piece in pieces])
    there = np.concatenate([piece["state"].to_numpy() == "present" for piece in pieces])
    assert first[0] == address
    assert (first[1:] == first[:-1] + size[:-1]).all()
    assert first[-1] + size[-1] == address + SIZE
    assert np.isin(np.arange(address, address + SIZE, HUGE, dtype=np.uint64), first[there]).all()


def told(start: int) -> NDArray[np.uint64]:
    """Return what pagemap says, by a descriptor of this process that was opened before anything was forked."""
    return np.frombuffer(os.pread(_TOLD[0], 4 * 8, start // PAGE * 8), np.uint64)


def once(name: str, address: int, chance: random.Random) -> None:
    """Walk a few pages, and compare with pagemap."""
    start = address + chance.randrange(SIZE // HUGE) * HUGE
    before = told(start)
    found = pte_magic.walk(start, start + 4 * PAGE, walker=name)
    first, size = found["vaddr"].to_numpy(), found["size"].to_numpy()
    assert first[0] == start, found.to_string()
    assert (first[1:] == (first + size)[:-1]).all(), found.to_string()
    assert first[-1] + size[-1] == start + 4 * PAGE, found.to_string()
    if (told(start) == before).all() and not os.geteuid():
        frames = np.where(before & np.uint64(PM_PRESENT), before & np.uint64(PM_PFN), 0)
        seen = by_page(found, start, start + 4 * PAGE)["pfn"]
        assert (np.where(seen < 0, 0, seen) == frames.astype(np.int64)).all(), (name, found.to_string(), before)


def walk_on(  # noqa: PLR0913, PLR0917  (as below)
    name: str, address: int, seed: int, enough: threading.Event, failed: list[BaseException], counts: NDArray[np.int64]
) -> None:
    """Be a thread that walks until it is enough."""
    chance = chance_of(seed)
    try:
        while not enough.is_set():
            try:
                once(name, address, chance)
            except WalkerClosedError:  # several times in turn
                continue
            counts[WALKS] += 1
    except BaseException as error:  # noqa: BLE001  (the main thread raises it)
        failed.append(error)


def descend(name: str, address: int, seed: int, generation: int, counts: NDArray[np.int64]) -> None:
    """Be a generation: stream, with threads that walk, and fork the next ones meanwhile."""
    signal.alarm(2 * WAIT)
    chance, enough, failed = chance_of(seed), threading.Event(), list[BaseException]()
    if _TOLD:
        os.close(_TOLD.pop())
    held = of_parent()
    streams = held.pop("/pagemap", 0)  # one of each generation before, which could go on here
    assert not generation or (not held and streams <= generation), (held, streams)
    _TOLD.append(os.open("/proc/self/pagemap", os.O_RDONLY))
    threads = [
        threading.Thread(target=walk_on, args=(name, address, chance.getrandbits(32), enough, failed, counts))
        for _ in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    with Children() as children:
        try:
            stream = pte_magic.stream(address, address + SIZE, walker=name, rows=1 << chance.randrange(12, 17))
            pieces: list[Any] = []
            for piece in stream:
                pieces.append(piece)
                something(name, address, chance, children, generation, counts, (pieces, stream))
            right(pieces, address)
            counts[STREAMS] += 1
        finally:
            enough.set()
            for thread in threads:
                thread.join()
        children.join(2 * WAIT)
    if failed:
        raise failed[0]


def something(  # noqa: PLR0913, PLR0917  (all that a generation has)
    name: str, address: int, chance: random.Random, children: Children, generation: int, counts: NDArray[np.int64],
    begun: tuple[list[Any], Any],
) -> None:  # fmt: skip
    """Close all walkers, fork, or walk, in the middle of a stream."""
    what = chance.randrange(8)
    if what == 0:
        walkers.close()
    elif what == 1 and generation < GENERATIONS and len(children.pids) < 2:
        children.start(descend, name, address, chance.getrandbits(32), generation + 1, counts)
        counts[CHILDREN] += 1
    elif what == 2 and len(children.pids) < 3:
        children.start(go_on, *begun, address)
        counts[CHILDREN] += 1
    elif what == 3:
        once(name, address, chance)


def go_on(pieces: list[Any], stream: Any, address: int) -> None:
    """Be a child that goes on with its parent's stream."""
    signal.alarm(WAIT)
    right(pieces + list(stream), address)


def attack(turn: Turn) -> None:
    if os.geteuid():
        each(turn)
    else:
        # Generations of three have more clients at a time than a user may have, while the first ones end slowly.
        with serving("--frames", "0", "--max-clients", "500", "--max-clients-per-user", "500") as helper:
            os.environ[VARIABLE] = str(helper.path)
            each(turn)


def each(turn: Turn) -> None:
    names = [name for name in WALKERS if not isinstance(walkers.attempt(name), WalkerUnavailableError)]
    with new_maps() as new_map:
        address = new_map(SIZE)
        madvise(address, SIZE, NOHUGEPAGE)
        for place in range(address, address + SIZE, HUGE):
            write(place)
        for chance in turn.rounds():
            name, counts = chance.choice(names), shared(3)
            with Children() as children:
                children.start(descend, name, address, chance.getrandbits(32), 0, counts)
                children.join(4 * WAIT)
            turn.count(
                streams=int(counts[STREAMS]), walks_of_threads=int(counts[WALKS]), children=int(counts[CHILDREN])
            )
