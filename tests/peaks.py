"""Processes that wait to be looked at, and how much memory a snapshot of one needs at its peak."""

from __future__ import annotations

import mmap
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

GIB = 1 << 30
_FILE = GIB // 2
_POPULATE = 0x8000  # MAP_POPULATE, asm-generic/mman.h

_MAPPER = """
import mmap, os, sys
fd = os.memfd_create("pages")
os.ftruncate(fd, {file})
maps = [mmap.mmap(fd, {file}, mmap.MAP_SHARED | {populate}) for _ in range({count})]
print("up", flush=True)
sys.stdin.read()
"""

_WRITER = """
import re, sys
import pte_magic
told = pte_magic.snapshot({path!r}, {pid}, walker={walker!r})
assert told["rows"].sum() > {pages}, told
print(re.search(r"VmHWM:\\s*([0-9]+) kB", open("/proc/self/status").read())[1])
"""


@contextmanager
def waiting(*command: str) -> Iterator[int]:
    """Run a program that says that it is up, and then waits for the end of its input; give its pid."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        yield process.pid


@contextmanager
def mapping(size: int) -> Iterator[int]:
    """Give the pid of a process that has `size` bytes in its page tables; all are the same half GiB of memory."""
    code = _MAPPER.format(file=_FILE, populate=_POPULATE, count=size // _FILE)
    with waiting(sys.executable, "-c", code) as pid:
        yield pid


def peak(pid: int, path: Path, pages: int, walker: str = "auto") -> int:
    """Return the most bytes that a fresh process had in memory when it had written a snapshot of another."""
    code = _WRITER.format(path=str(path), pid=pid, walker=walker, pages=pages)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout) << 10


def mapped_peak(size: int, walker: str = "auto") -> int:
    """Return the peak of a snapshot of a process with `size` bytes in its page tables."""
    with mapping(size) as pid, tempfile.TemporaryDirectory() as directory:
        return peak(pid, Path(directory) / "snapshot", size // mmap.PAGESIZE, walker)
