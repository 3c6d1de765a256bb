"""What the eBPF program is told of page tables says of every entry what the tables of bit fields say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pte_magic
from pte_magic.linux import geometry
from pte_magic.walkers.bpf import constants
from pte_magic.walkers.bpf.constants import TABLES


@pytest.mark.parametrize("encoding", TABLES)
@given(entry=st.integers(0, (1 << 64) - 1), is_table=st.booleans())
def test_tables_are_where_the_fields_say(encoding: str, entry: int, is_table: bool) -> None:
    tables = TABLES[encoding]
    if is_table:
        entry = entry & ~tables.bits | tables.value
    row = pte_magic.decode(entry, level="pmd", arch=encoding).iloc[0]
    assert (row["state"] == "table") == (entry & tables.bits == tables.value)
    if row["state"] == "table":
        address = (entry & tables.address) + ((entry & tables.above) << tables.shift)
        assert address == row["pfn"] << geometry.GEOMETRIES[encoding].page_shift


def test_constants_are_laid_out_as_in_the_program() -> None:
    told = constants.packed(use_rcu=True)
    assert len(told) == 64
    assert told[-4:] == b"\1\0\0\0"
