"""Walks through storms: rows ascend, are disjoint, and cover what was asked, by every walker that works here."""

from __future__ import annotations

import os
import resource
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from children import chance_of
from conftest import WALKERS
from handmade import (
    COLLAPSE,
    DONTNEED,
    HUGE,
    HUGEPAGE,
    PAGE,
    READ,
    WRITE,
    libc,
    madvise,
    mprotect,
    munmap,
    new_maps,
    write,
)
from serving import serving
from test_disjoint_rows import BASE, FAR, STORMS, at, keeps_the_contract, stormy

from pte_magic import walkers
from pte_magic.errors import UnstableError, WalkerUnavailableError
from pte_magic.walkers.helper_client import HelperWalker
from pte_magic.walkers.helper_protocol import VARIABLE

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from turn import Turn

    from pte_magic.linux.address_space import AddressSpace
    from pte_magic.walkers.walker import Walker

WHAT = "storms of mmap, munmap, mprotect, fork, huge pages"
NEEDS_ROOT = ""

SECONDS = 0.4  # of each walker in a round
SLOW = 4  # times as long for who waits for the storm, as it reads /proc/PID/maps first
SHORT = "helper with 37 rows an answer"


def whole() -> None:
    """Memory of a whole entry of each upper level, which goes as one."""
    resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY,) * 2)  # hardly any of it is ever there
    for size in FAR:
        assert libc.mmap(BASE, size, 3, 0x4032, -1, 0) == BASE  # PRIVATE, ANONYMOUS, FIXED, NORESERVE
        for place in (0, size // 2, size - PAGE):
            write(BASE + place)
        munmap(BASE, size)


def protection() -> None:
    at(BASE, 3 * HUGE, HUGEPAGE)
    write(BASE, 3 * HUGE)
    mprotect(BASE + HUGE, PAGE, READ)
    mprotect(BASE, 3 * HUGE, 0)
    mprotect(BASE, 3 * HUGE, READ | WRITE)
    try:
        madvise(BASE, 3 * HUGE, COLLAPSE)
    except OSError:
        madvise(BASE, 3 * HUGE, DONTNEED)


def forks() -> None:
    at(BASE, 2 * HUGE)
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    write(BASE, 2 * HUGE)
    os.waitpid(pid, 0)
    munmap(BASE, HUGE)


ALL = (*STORMS, whole, protection, forks)


def mixed(seed: int) -> Callable[[], None]:
    """Return a storm of several, one after the other by chance."""
    chance = chance_of(seed)
    chosen = chance.sample(ALL, chance.randrange(1, 4))

    def step() -> None:
        chance.choice(chosen)()

    return step


def some_range(chance: random.Random) -> tuple[int, int]:
    """Return a range near the storm, which may begin and end anywhere."""
    size = chance.choice((HUGE, HUGE, HUGE, *FAR))
    start = BASE + chance.randrange(-size, 2 * size, PAGE)
    end = start + chance.randrange(PAGE, chance.choice((HUGE, 3 * HUGE, 2 * size, 3 * size)), PAGE)
    return start, end


def look(walker: Walker, space: AddressSpace, chance: random.Random) -> tuple[int, int]:
    """Walk for a while; return how many walks there were, and how many entries."""
    seconds = SECONDS * (SLOW if walker.name == "pagemap" else 1)
    until, walks, entries = time.monotonic() + seconds, 0, 0
    while time.monotonic() < until:
        start, end = some_range(chance)
        tables = chance.random() < 0.4
        try:
            if chance.random() < 0.7:
                found = walker.walk(space, start, end, tables=tables)
                keeps_the_contract(found, start, end)
                entries += len(found)
            else:
                reached = start
                for piece in walker.chunks(space, start, end, tables=tables):
                    keeps_the_contract(piece, reached, min(piece.end, end))
                    assert reached == start or piece.vaddr[0] == reached, (hex(piece.vaddr[0]), hex(reached))
                    reached = piece.end
                    entries += len(piece)
                assert reached >= end, (hex(reached), hex(end))
        except UnstableError:  # told in one line, as it has to be
            continue
        walks += 1
    return walks, entries


def working(stack: ExitStack) -> dict[str, Walker]:
    """Return the walkers that work here, one helper with short answers among them."""
    found: dict[str, Walker] = {}
    if not os.geteuid():
        for options in ((), ("--max-rows", "37")):
            helper = stack.enter_context(serving("--frames", "0", *options))
            os.environ[VARIABLE] = str(helper.path)
            found[SHORT if options else "helper"] = HelperWalker()
    for name in WALKERS:
        if name not in found and not isinstance(attempted := walkers.attempt(name), WalkerUnavailableError):
            found[name] = attempted
    return found


def attack(turn: Turn) -> None:
    with ExitStack() as stack:
        names = working(stack)
        for chance in turn.rounds():
            with new_maps() as new_map, stormy(mixed(chance.getrandbits(32)), new_map) as there:
                for name, walker in names.items():
                    walks, entries = look(walker, there.space, chance)
                    turn.count(**{f"walks by {name}": walks}, entries=entries)
                turn.count(rounds_of_storms=there.rounds())
