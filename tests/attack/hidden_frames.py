"""Memory of many states, by a helper that tells no page frames: none that root knows is found in any entry."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
from children import GROUP, be, chance_of
from conftest import NOBODY, walked
from handmade import HUGE, PAGE, PM_PFN, PM_PRESENT
from serving import serving
from stopped import AREA, SIZE, of_all_kinds, regions
from talking import Talker, opened, request
from test_disjoint_rows import at
from turn import WAIT

from pte_magic.linux import hardware
from pte_magic.linux.address_space import AddressSpace
from pte_magic.walkers.helper_protocol import AREAS, FRAMES_HIDDEN, GO_ON, TABLES, Status
from pte_magic.walkers.shared_memory import ENTRIES
from pte_magic.workloads.forked_process import Forked

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from turn import Turn

WHAT = "page frames that a helper hides"
NEEDS_ROOT = "to know the page frames, and a helper"

KINDS = 60  # things that are done to memory in a round
U = np.uint64
_ONES = U((1 << 39) - 1)
WIDTH = 40
"""Bits of a page frame number."""


def made(seed: int) -> None:
    chance = chance_of(seed)
    at(AREA, SIZE)
    for _ in range(KINDS):
        of_all_kinds(chance)


def asked(path: Path) -> list[NDArray[np.uint64]]:
    """Ask for all of this process' memory as an ordinary user; return all that lies in the memory for answers, too."""
    be(NOBODY)
    found = []
    signal.alarm(WAIT)
    with opened() as fd, Talker(path) as talker:
        assert talker.greeting[3] & FRAMES_HIDDEN
        for flags in (0, TABLES):
            talker.send(request(PAGE, hardware.user_limit(), flags=flags, origin=PAGE), [fd])
            while (answer := talker.answer()).n_entries:
                assert answer.status == Status.OK, answer
                found.append(np.array(talker.entries(answer.n_entries), U))
                talker.send(request(PAGE, hardware.user_limit(), flags=flags | GO_ON, origin=PAGE), [fd])
        found += [np.array(talker.entries(ENTRIES, area), U) for area in AREAS]
    signal.alarm(0)
    return found


def known(pid: int) -> NDArray[np.uint64]:
    """Return the frames of all pages and tables of a process, but those that flags of an entry may look like."""
    with AddressSpace(pid) as space:
        frames = [U(0)]
        for start, end, _ in regions(pid):
            words = np.frombuffer(os.pread(space.fd, min(end - start, 8 * HUGE) // PAGE * 8, start // PAGE * 8), U)
            frames += (words[words & U(PM_PRESENT) != 0] & U(PM_PFN)).tolist()
        table = walked("bpf", space, 0, hardware.user_limit(), tables=True)
        frames += table["pfn"].dropna().to_numpy(U).tolist()
    found = np.unique(np.array(frames, U))
    return found[(found > 1 << 16) & (np.bitwise_count(found) > 6)]


def search(entries: NDArray[np.uint64], frames: NDArray[np.uint64]) -> list[Any]:
    """Return entries that hold one of the frames at any place, upright or inverted.

    Where addresses are, entries without a frame have only zeros or only ones, and beside that there is no room for one.
    """
    found, middle = [], entries >> U(13) & _ONES
    entries = entries[(middle != 0) & (middle != _ONES)]
    for value in (entries, ~entries):
        for shift in range(64 - 16):
            part = value >> U(shift) & U((1 << WIDTH) - 1)
            found += [(hex(entry), shift) for entry in entries[np.isin(part, frames)].tolist()]
    return found


def attack(turn: Turn) -> None:
    with serving("--group", str(GROUP)) as helper:
        for chance in turn.rounds():
            seed = chance.getrandbits(32)
            steps = iter((lambda seed=seed: made(seed), lambda: asked(helper.path)))
            with Forked(lambda steps=steps: next(steps)(), inherits_files=True) as child:
                child.call()
                before = known(child.pid)
                with AddressSpace(child.pid) as space:
                    table = walked("bpf", space, 0, hardware.user_limit())
                    states = len(table[["state", "kind", "level"]].drop_duplicates())
                entries = np.unique(np.concatenate(answers := child.call()))
                frames = np.union1d(before, known(child.pid))
                said = search(entries, frames)
            assert not said, said[:9]
            turn.count(entries=sum(map(len, answers[:-2])), frames=len(frames), most_states=states)
