"""Words of pagemap are read in one module; what they say is what was done to the page."""

from __future__ import annotations

import mmap
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import forked
from handmade import PAGE, NewMap, write

import pte_magic
from pte_magic.errors import NoAddressSpaceError
from pte_magic.linux import pagemap
from pte_magic.linux.address_space import AddressSpace, own

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(pte_magic.__file__).parent


@pytest.fixture
def of_file(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "file").write_bytes(bytes(PAGE))
    with (tmp_path / "file").open("rb") as file, mmap.mmap(file.fileno(), PAGE, prot=mmap.PROT_READ) as memory:
        view = np.frombuffer(memory, np.uint8)
        assert not view.any()
        yield view.ctypes.data
        del view


def test_one_module_knows_where_a_word_is() -> None:
    place = re.compile(r"// *(PAGE_SIZE|mmap\.PAGESIZE) *\* *(8|_WORD)|1 << (55|58|61|62|63)\b.*[Pp]agemap")
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if place.search(path.read_text("utf-8"))}
    assert found == {"linux/pagemap.py"}


def test_a_page_is_there_when_it_was_written(new_map: NewMap) -> None:
    address = new_map(3 * PAGE)
    write(address + PAGE, PAGE)
    there = pagemap.words(own(), address, 3) & pagemap.PRESENT != 0
    assert there.tolist() == [False, True, False]
    assert not pagemap.own_word(address)
    assert not pagemap.own_word(address + PAGE) & (pagemap.FILE | pagemap.SWAP | pagemap.GUARD)


def test_a_page_of_a_file_says_so(of_file: int) -> None:
    told = pagemap.own_word(of_file)
    assert told & pagemap.PRESENT
    assert told & pagemap.FILE


def test_the_words_of_a_process_that_has_gone_are_refused() -> None:
    with forked(int) as child:
        space = AddressSpace(child.pid)
    with space, pytest.raises(NoAddressSpaceError):
        pagemap.words(space, 0, 1)
