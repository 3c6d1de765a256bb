"""A client of helpers that mean ill: whatever they say, a walk is of the right rows, or is refused in one line."""

from __future__ import annotations

import os
import resource
import signal
import socket
import tempfile
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import hostile
from children import chance_of
from conftest import descriptors
from handmade import PAGE
from hostile import Hostile, hello, memory, message
from test_disjoint_rows import ends_of, keeps_the_contract
from test_hostile_helper import GREETINGS, MOST, SIZES, WRONG, WRONG_TABLES, one, right
from turn import WAIT

from pte_magic import walkers
from pte_magic.errors import PteMagicError
from pte_magic.linux import hardware
from pte_magic.linux.address_space import own
from pte_magic.walkers import helper_timeouts
from pte_magic.walkers.helper_client import HelperWalker
from pte_magic.walkers.helper_protocol import ANSWER, AREAS, GO_ON, MEMORY, VARIABLE
from pte_magic.workloads.forked_process import Forked

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from turn import Turn

    from pte_magic.walkers.entries import Entries

WHAT = "lies of a helper to its client"
NEEDS_ROOT = ""

LOOKS, LIMIT = 40, 256 << 20  # of a round; bytes that a client may get more
_EDGES = (0, 1, 8, PAGE, PAGE - 1, MOST, 1 << 31, 1 << 47, 1 << 63, (1 << 64) - 1, (1 << 64) - PAGE)
Spans = list[tuple[int, int, int, int]]


def flipped(said: bytes, chance: random.Random) -> bytes:
    """Return a message, most often with some other bits, or another length."""
    made = bytearray(said)
    for _ in range(chance.choice((0, 0, 1, 1, 2, 5))):
        made[chance.randrange(len(made))] ^= 1 << chance.randrange(8)
    if chance.random() < 0.1:
        return bytes(made[: chance.randrange(1, len(made))])
    return bytes(made) + bytes(8 if chance.random() < 0.05 else 0)


def greet(connected: socket.socket, chance: random.Random, path: Path) -> int:
    """Greet in some way; return the memory that the client may have."""
    if chance.random() < 0.25:
        said, fds, _ = GREETINGS[chance.choice([*GREETINGS])]
        sent = fds(path)
        if said:
            socket.send_fds(connected, [said], sent)
        for fd in sent:
            os.close(fd)
        return -1
    seals = chance.choice((hostile.SEALS, hostile.SEALS, hostile.SEALS, 0, 2))
    fd = memory(seals=seals)
    socket.send_fds(connected, [hello() if chance.random() < 0.6 else flipped(hello(), chance)], [fd])
    return fd


def numbers(spans: Spans, chance: random.Random) -> Spans:
    """Return spans with some other numbers."""
    made = [list(span) for span in spans]
    for _ in range(chance.choice((0, 1, 1, 2))):
        where, what = chance.randrange(len(made)), chance.randrange(4)
        value = chance.choice((*_EDGES, chance.getrandbits(64), made[where][what] + chance.choice((-1, 1, PAGE))))
        made[where][what] = value & (MOST >> 1 if what == 3 else MOST if what == 2 else (1 << 64) - 1)
    return [(vaddr, size, n, level) for vaddr, size, n, level in made]


def split(spans: Spans, chance: random.Random) -> Spans:
    """Return the same rows as several spans, some of them of one entry that covers as much."""
    (vaddr, size, n, level), found = spans[0], []
    if not n:
        return spans
    while n:
        part = chance.randrange(1, n + 1)
        larger = [upper for upper, bytes_ in SIZES.items() if not vaddr % bytes_ and bytes_ <= n * size]
        if larger and chance.random() < 0.3:
            level_, part = larger[0], SIZES[larger[0]] // size
            found.append((vaddr, SIZES[level_], 1, level_))
        else:
            found.append((vaddr, size, part, level))
        vaddr, n = vaddr + part * size, n - part
        if len(found) > 50:
            return [*found, (vaddr, size, n, level)] if n else found
    return found


def answer(flags: int, start: int, end: int, chance: random.Random) -> tuple[Spans, bytes]:
    """Make an answer: one that is known to be wrong, or one that is right with other numbers, or other spans."""
    kind = chance.randrange(6)
    if kind == 0:
        return WRONG[chance.choice([*WRONG])](start, end)
    if kind == 1:
        return WRONG_TABLES[chance.choice([*WRONG_TABLES])](start, end)
    spans, said = right(flags, start, end)
    if kind == 2:
        return spans, flipped(said, chance)
    if kind in {3, 4}:
        spans = split(spans, chance)
        spans = spans if kind == 3 else numbers(spans, chance)
        fields = ANSWER.unpack(said)
        return spans, message(sum(span[2] for span in spans) & MOST, len(spans), fields[4])
    return spans, said


def lies(seed: int) -> Callable[[Hostile, socket.socket], None]:
    """Return what serves connections, each by its own chance."""
    connections = count()

    def serve(server: Hostile, connected: socket.socket) -> None:
        chance = chance_of(seed + next(connections))
        fd, reached, at = greet(connected, chance, server.path.parent), 0, 0
        is_patient = chance.random() < 0.15  # makes up pages that are empty, without an end
        try:
            while fd >= 0 and (request := server.request(connected)):
                _, flags, _, start, end = request
                if flags & GO_ON:
                    start, at = reached, AREAS[at == AREAS[0]]
                if start >= end:
                    connected.send(message(0, 0, reached))
                    continue
                if not is_patient and chance.random() < 0.03:
                    return
                spans, said = right(flags, start, end) if is_patient else answer(flags, start, end, chance)
                try:
                    hostile.put(fd, spans[:1000], at)
                except OverflowError:
                    continue  # no answer at all
                if len(said) == ANSWER.size:
                    fields = ANSWER.unpack(said)
                    reached, said = fields[4], said if fields[5] else ANSWER.pack(*fields[:5], at)
                with suppress(OSError):  # it has a seal
                    os.ftruncate(fd, chance.choice((0, PAGE)) if chance.random() < 0.3 else MEMORY)
                connected.send(said)
                if not is_patient and chance.random() < 0.1:
                    hostile.put(fd, [one(chance.choice(_EDGES), chance.choice((0, 1, MOST)))], at)
        finally:
            if fd >= 0:
                os.close(fd)

    return serve


def judge(found: Entries, start: int, end: int, *, tables: bool) -> None:
    """Fail if rows do not follow each other; what an entry says is believed, also of one on the way to others."""
    if not tables:
        keeps_the_contract(found, start, end)
        return
    vaddr, size, _ = ends_of(found)
    assert (vaddr[1:] == (vaddr + size)[:-1]).all(), (hex(start), hex(end), found.spans)
    assert vaddr[0] <= start < vaddr[0] + size[0], (hex(start), found.spans)
    assert vaddr[-1] < end <= vaddr[-1] + size[-1], (hex(end), found.spans)


def look(seed: int) -> dict[str, float]:
    """Walk by such helpers, with little memory; this is a child."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + LIMIT,) * 2)
    helper_timeouts.LONG = 0.3
    assert own().fd >= 0  # which is kept open
    before, slowest = descriptors(), 0.0
    counts = {"right_walks": 0, "refused_walks": 0}
    for number in range(LOOKS):
        chance = chance_of(seed + number)
        start = (1 << 30) + chance.randrange(1 << 20) * PAGE
        end = start + chance.choice((1, 4, 600, 1 << 17, 1 << 19)) * PAGE
        if chance.random() < 0.05:
            start, end = PAGE, hardware.user_limit()
        signal.alarm(WAIT)
        begun = time.monotonic()
        try:
            asked = HelperWalker()
            try:
                way, tables = chance.choice(("walk", "chunks", "views")), chance.random() < 0.2
                if way == "walk":
                    judge(asked.walk(own(), start, end, tables=tables), start, end, tables=tables)
                elif way == "chunks":
                    at = start
                    for piece in asked.chunks(own(), start, end):
                        keeps_the_contract(piece, at, min(piece.end, end))
                        at = piece.end
                    assert at >= end, (hex(at), hex(end))
                else:
                    assert sum(len(part) for part in asked.views(own(), start, end))
                counts["right_walks"] += 1
            finally:
                asked.close()
        except PteMagicError as error:
            assert len(str(error).splitlines()) == 1, str(error)  # noqa: PT017  (either)
            counts["refused_walks"] += 1
        slowest = max(slowest, time.monotonic() - begun)
    signal.alarm(0)
    walkers.close()
    assert descriptors() == before, (descriptors(), before)
    return {**counts, "most_ms_of_a_walk": int(slowest * 1000)}


def attack(turn: Turn) -> None:
    with tempfile.TemporaryDirectory(prefix="pte-magic-attack-") as name:
        path = Path(name) / "socket"
        os.environ[VARIABLE] = str(path)
        for chance in turn.rounds():
            with Hostile(path, lies(chance.getrandbits(32))), Forked(look, inherits_files=True) as child:
                turn.count(**child.call(chance.getrandbits(32)))
            path.unlink()
