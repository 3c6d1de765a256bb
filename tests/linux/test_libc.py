"""Functions of the C library and system calls are called in two modules, with the errors that the kernel gives."""

from __future__ import annotations

import ast
import ctypes
import mmap
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
from handmade import PAGE

import pte_magic
from pte_magic.linux import libc, system_calls

PACKAGE = Path(pte_magic.__file__).parent
_PR_GET_NAME, _PR_SET_NAME = 16, 15  # linux/prctl.h
_AT_PAGESZ = 6  # elf.h


def test_one_module_loads_the_library() -> None:
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))  # not in texts of what to type
        if isinstance(node, ast.Call) and re.search(r"\b(CDLL|PyDLL|LoadLibrary)$", ast.unparse(node.func))
    }
    assert found == {"linux/libc.py", "walkers/bpf/libbpf.py"}  # the latter another library


def test_an_error_of_the_kernel_is_an_exception() -> None:
    with pytest.raises(FileNotFoundError):
        libc.call("chdir", ctypes.addressof(ctypes.create_string_buffer(b"/nonexistent")))
    with pytest.raises(OSError, match="Invalid argument"):
        libc.prctl(1 << 20)
    with pytest.raises(OSError, match="Bad file descriptor"):
        libc.mmap(0, PAGE, mmap.PROT_READ, mmap.MAP_PRIVATE, 1 << 20)


def test_what_is_mapped_is_there_and_what_is_unmapped_is_not() -> None:
    place = libc.mmap(0, PAGE, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    starts = [int(line.split("-")[0], 16) for line in Path("/proc/self/maps").read_text("utf-8").splitlines()]
    ends = [int(line.split("-")[1].split()[0], 16) for line in Path("/proc/self/maps").read_text("utf-8").splitlines()]
    assert any(start <= place < end for start, end in zip(starts, ends, strict=True))
    assert ctypes.string_at(place, PAGE) == bytes(PAGE)
    libc.call("munmap", place, PAGE)


def test_prctl_tells_what_proc_tells() -> None:
    name = ctypes.create_string_buffer(16)
    libc.prctl(_PR_GET_NAME, ctypes.addressof(name))
    assert name.value == Path("/proc/thread-self/comm").read_bytes().removesuffix(b"\n")


def test_a_word_of_the_auxiliary_vector() -> None:
    assert libc.getauxval(_AT_PAGESZ) == os.sysconf("SC_PAGE_SIZE")
    assert libc.getauxval(1 << 20) == 0


@pytest.mark.skipif(platform.machine() not in {"x86_64", "aarch64"}, reason="needs a machine whose headers are known")
def test_system_calls_are_those_of_their_numbers() -> None:
    code = """
import os
from pte_magic.linux import system_calls
read, write = os.pipe()
print(system_calls.call("kcmp", os.getpid(), os.getpid(), 1, 0, 0))
system_calls.call("close_range", read, write, 0)
try:
    os.fstat(read)
except OSError as error:
    print(error.errno)
try:
    system_calls.call("close_range", 5, 4, 0)
except OSError as error:
    print(error.errno)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["0", "9", "22"], done.stderr  # the same address space; EBADF; EINVAL


def test_a_number_that_is_not_known_is_refused() -> None:
    with pytest.raises(KeyError):
        system_calls.number("nonsense")
