"""A 32-bit x86 program, as the bytes of its file: it takes memory in several ways, tells where, and waits."""

from __future__ import annotations

import errno
import struct
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLACE = 0x0804_8000
MAPPED = 4 << 20
TOUCHED = (0, 0x5000)
"""Where in the memory that it maps it writes a byte."""

# Intel SDM 2; system calls by int 0x80 with numbers of asm/unistd_32.h.
CODE = bytes.fromhex(
    "89e7 83c704833f0075f8 83c704833f0075f8 83c704"  # up the stack: arguments, environment, auxiliary vector
    "833f217405 83c708ebf6 8b7f04 8a07"  # AT_SYSINFO_EHDR, 33: where the [vdso] is; read a byte of it
    "31db b82d000000 cd80"  # brk(0): where the heap will be
    "50 89c6 8d9800300000 b82d000000 cd80"  # brk(that + 0x3000)
    "c60601"  # write a byte there
    "b8c0000000 31db b900004000 ba03000000 be22000000 bfffffffff 31ed cd80"
    # mmap2(0, 4 MiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    "c60001 c6800050000001"  # write a byte at 0 and 0x5000 of that
    "50 b804000000 bb01000000 89e1 ba08000000 cd80"  # write(1, both addresses, 8)
    "b81d000000 cd80 ebf7"  # pause(), again and again
)


class Program(NamedTuple):
    """The running program: its pid, where the memory is that it mapped, and where its heap begins."""

    pid: int
    mapped: int
    heap: int


def file() -> bytes:
    """Return an ELF file with one segment, which holds all of it."""
    size = 52 + 32 + len(CODE)
    ident = b"\x7fELF\1\1\1".ljust(16, b"\0")
    header = struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, PLACE + 84, 52, 0, 0, 52, 32, 1, 0, 0, 0)  # executable, EM_386
    segment = struct.pack("<IIIIIIII", 1, 0, PLACE, PLACE, size, size, 5, 0x1000)  # PT_LOAD, readable, executable
    return ident + header + segment + CODE


@contextmanager
def running(directory: Path) -> Iterator[Program]:
    """Start it, and end it in the end; skip the test where the kernel executes no such program."""
    path = directory / "program32"
    path.write_bytes(file())
    path.chmod(0o755)
    try:
        process = subprocess.Popen([path], stdout=subprocess.PIPE, bufsize=0)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        pytest.skip(
            "needs a kernel that executes 32-bit x86 programs (CONFIG_IA32_EMULATION, without ia32_emulation=0)"
        )
    with process:
        assert process.stdout
        try:
            mapped, heap = struct.unpack("<II", process.stdout.read(8))
            yield Program(process.pid, mapped, heap)
        finally:
            process.kill()
