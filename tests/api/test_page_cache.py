"""Files in the page cache: against mincore(2) of a mapping of our own, and what was written, read and dropped."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import needs_root, python
from handmade import PAGE, libc

import pte_magic
from pte_magic import PageCache, TargetError, page_cache

WILLNEED, DONTNEED, RANDOM = 3, 4, 1  # linux/fadvise.h


@pytest.fixture
def on_disk(tmp_path: Path) -> Path:
    """Return the path of a file of 64 pages and a byte, on a file system with a page cache that can be dropped."""
    path = tmp_path / "some file"
    path.write_bytes(bytes(64 * PAGE + 1))
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, DONTNEED)
        if any(by_mincore(path)):
            pytest.skip("the file system of temporary files drops no pages")
        os.posix_fadvise(file.fileno(), 0, 0, RANDOM)  # or pages behind those that are read come, too
        os.pread(file.fileno(), 3 * PAGE, 10 * PAGE)
        os.pread(file.fileno(), 1, 64 * PAGE)
    return path


def by_mincore(path: Path) -> list[bool]:
    """Return whether each page is in memory, as the kernel says of a mapping of the standard library."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        told = (ctypes.c_ubyte * -(-len(mapped) // PAGE))()
        start = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        assert libc.mincore(ctypes.c_void_p(start), ctypes.c_size_t(len(mapped)), told) == 0
        return [bool(one & 1) for one in told]


def by_page(found: PageCache) -> list[bool]:
    pages = -(-found["size"].to_numpy(np.int64) // PAGE)
    return np.repeat(found["cached"].to_numpy(), pages).tolist()


def test_parts_are_those_of_mincore(on_disk: Path) -> None:
    found = page_cache(on_disk)
    told = by_mincore(on_disk)
    assert by_page(found) == told
    assert told[10:13] == [True] * 3
    assert int(found["size"].sum()) == 64 * PAGE + 1
    assert found["offset"].tolist() == [0, *np.cumsum(found["size"])[:-1].tolist()]
    assert {name: str(dtype) for name, dtype in found.dtypes.items()} == {
        "offset": "uint64",
        "size": "uint64",
        "cached": "bool",
    }
    if "cached" in found.attrs:  # since 6.5
        assert found.attrs["cached"] == sum(told)


def test_what_was_written_is_dirty_until_it_is_on_the_disk(on_disk: Path) -> None:
    if "dirty" not in page_cache(on_disk).attrs:
        pytest.skip("the kernel has no cachestat()")
    with on_disk.open("r+b") as file:
        file.write(bytes(5 * PAGE))
        file.flush()
        assert 0 <= page_cache(on_disk).attrs["dirty"] <= 5
        os.fsync(file.fileno())
    assert page_cache(on_disk).attrs["dirty"] == 0


def test_the_map_is_a_square_for_each_page_of_a_small_file(on_disk: Path) -> None:
    lines = repr(page_cache(on_disk)).splitlines()
    told = by_mincore(on_disk)
    squares = "".join(line for line in lines if set(line) <= set("#.+"))
    assert squares == "".join("#" if one else "." for one in told)
    assert f"of {64 * PAGE // 1024} KiB in the page cache" in lines[0]
    assert "some file" in lines[0]
    assert 'alt="' in str(page_cache(on_disk)._repr_html_())


def test_a_square_of_a_large_file_is_in_part(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(1 << 30)
        file.seek(1 << 29)
        file.write(b"x")
        file.flush()
        found = page_cache(path)
    lines = repr(found).splitlines()
    squares = "".join(line for line in lines if set(line) <= set("#.+"))
    assert len(squares) == 512
    assert squares[256] == "+"
    assert "a square is 2 MiB: + in part, . not cached" in lines


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert len(page_cache(path)) == 0
    assert repr(page_cache(path)).endswith("empty is empty")


def test_a_file_in_memory_says_so() -> None:
    fd = os.memfd_create("memory")
    try:
        os.truncate(fd, 8 * PAGE)
        os.pwrite(fd, b"x", 3 * PAGE)
        found = page_cache(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
    assert by_page(found) == [at == 3 for at in range(8)]
    assert "on tmpfs: a page that is not there was never written, or is swapped out" in repr(found)


@needs_root
def test_a_user_who_may_not_write_is_told_that_nothing_is_told() -> None:
    path = Path("/etc/passwd")
    assert page_cache(path).attrs["is_told"]
    told = python(f"import pte_magic; print(pte_magic.page_cache({str(path)!r}))", user=65534)
    assert "#" not in told
    assert " ".join(told.split()).endswith("only to users who may write to it, or own it")  # and nothing else


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/no/such/file", "No such file or directory; type the path of a file that you may read"),
        ("/", "is not a regular file; only these have pages in the page cache"),
        ("/dev/null", "is not a regular file"),
        ("/proc/self/maps", "has no pages in the page cache"),
        ("/proc/self/status", "has no pages in the page cache"),
        ("a\0b", "not a path"),
        (5.5, "not a path"),
        (None, "not a path"),
    ],
)
def test_what_has_no_page_cache_is_said_in_one_line(path: Any, why: str) -> None:
    with pytest.raises(TargetError) as told:
        page_cache(path)
    assert why in str(told.value)
    assert "\n" not in str(told.value)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(pte_magic.PteMagicError, match="is not a regular file"):
        page_cache(tmp_path / "pipe")
