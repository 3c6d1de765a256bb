"""Snapshots that are damaged in all ways: `load` gives the entries that were written, or says one line."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from children import chance_of
from conftest import descriptors
from turn import WAIT

import pte_magic
from pte_magic.errors import PteMagicError
from pte_magic.workloads.forked_process import Forked

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from turn import Turn

WHAT = "damaged snapshots"
NEEDS_ROOT = ""

DAMAGES, MEMORY = 40, 2 << 30  # of a round; bytes that who loads may get more


def footer(good: bytes) -> int:
    """Return where the description of a file begins."""
    return len(good) - 8 - int.from_bytes(good[-8:-4], "little")


def flipped(good: bytes, chance: random.Random) -> bytes:
    made, begin = bytearray(good), chance.choice((0, footer(good), len(good) - 8))
    for _ in range(chance.choice((1, 1, 1, 2, 8))):
        made[chance.randrange(begin, len(made))] ^= 1 << chance.randrange(8)
    return bytes(made)


def sealed(good: bytes, chance: random.Random) -> bytes:
    """Change the description, and make its checksum right again, as who forges a file can."""
    made, begin = bytearray(good), footer(good)
    for _ in range(chance.choice((1, 1, 2))):
        made[chance.randrange(begin, len(made) - 8)] ^= 1 << chance.randrange(8)
    made[8:12] = zlib.crc32(made[begin:]).to_bytes(4, "little")
    return bytes(made)


def cut(good: bytes, chance: random.Random) -> bytes:
    return good[: chance.choice((chance.randrange(len(good)), chance.randrange(20)))]


def doubled(good: bytes, chance: random.Random) -> bytes:
    at, size = chance.randrange(len(good)), chance.randrange(1, 200)
    return chance.choice((good + good, good[:at] + bytes(size) + good[at:], good[:at] + good[at + size :],
                          good[:at] + chance.randbytes(size) + good[at + size :]))  # fmt: skip


DAMAGE: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flipped": flipped, "sealed": sealed, "cut": cut, "doubled": doubled
}  # fmt: skip


def put(file: Path, others: list[Path], chance: random.Random) -> None:
    """Put something else where a file was."""
    what = chance.randrange(6)
    if what < 5:
        file.unlink()
    if what == 0:
        os.mkfifo(file)
    elif what == 1:
        file.symlink_to(chance.choice(("/dev/zero", "/dev/random", "/proc/kmsg", "/proc/self/mem", file, "/nowhere")))
    elif what == 2:
        file.mkdir()
    elif what == 3:
        shutil.copy(chance.choice(others), file)
    elif what == 4:
        (file.parent / "part-1.parquet").write_bytes(others[0].read_bytes())
        shutil.copy(others[0], file)
    else:
        file.parent.rename(file.parent.with_name(chance.choice(("pid=0", "pid=x", "pid=99999999999", "pid=4194000"))))


def step(whole: Path, place: Path, seed: int) -> dict[str, float]:
    """Damage copies, and load them, with little memory; this is a child."""
    right, processes = pte_magic.load(whole).frame(), pte_magic.load(whole).processes().drop(columns="bytes")
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
    counts: dict[str, float] = {"right_rows": 0, "refused": 0, "sealed_anew": 0}
    before = descriptors()
    for number in range(DAMAGES):
        chance, copy = chance_of(seed + number), place / str(number)
        shutil.copytree(whole, copy)
        files = sorted(copy.glob("host=*/pid=*/*.parquet"))
        file, kind = chance.choice(files), chance.choice((*DAMAGE, "put"))
        if kind == "put":
            put(file, [one for one in files if one != file], chance)
        else:
            file.write_bytes(DAMAGE[kind](file.read_bytes(), chance))
        signal.alarm(WAIT)
        begun = time.monotonic()
        try:
            loaded = pte_magic.load(copy)
            found = loaded.frame()
            told = loaded.processes()
        except PteMagicError as error:
            assert len(str(error).splitlines()) == 1, (number, kind, str(error))  # noqa: PT017  (either)
            counts["refused"] += 1
        else:
            if kind == "sealed":  # whoever has the right checksum may say anything that is a snapshot
                counts["sealed_anew"] += 1
            else:
                pd.testing.assert_frame_equal(found, right, obj=f"{kind} {file.parent.name}")
                pd.testing.assert_frame_equal(told.drop(columns="bytes"), processes, obj=f"{kind} {file.parent.name}")
                counts["right_rows"] += len(found)
        counts["most_ms_of_a_load"] = max(counts.get("most_ms_of_a_load", 0), int((time.monotonic() - begun) * 1000))
        signal.alarm(0)
        shutil.rmtree(copy)
    assert descriptors() == before
    return counts


def attack(turn: Turn) -> None:
    with tempfile.TemporaryDirectory(prefix="pte-magic-attack-") as name:
        whole = Path(name) / "whole"
        with subprocess.Popen(["sleep", "6000"]) as one, subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other:
            try:
                pte_magic.snapshot(whole, [one.pid, other.pid])
            finally:
                one.kill()
                other.kill()
        for chance in turn.rounds():
            place = Path(tempfile.mkdtemp(dir=name))
            with Forked(step, inherits_files=True) as child:
                turn.count(damages=DAMAGES, **child.call(whole, place, chance.getrandbits(32)))
            shutil.rmtree(place)
