"""Parts of entries."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from comparing import assert_equal
from handmade import PAGE
from hypothesis import given
from hypothesis import strategies as st

from pte_magic.linux.address_bits import AddressBits
from pte_magic.walkers.entries import SPAN, Entries, join


@given(st.lists(st.integers(1, 5), min_size=1), st.booleans(), st.data())
def test_parts_joined_are_the_whole(counts: list[int], told: bool, data: st.DataObject) -> None:
    n = sum(counts)
    starts = np.cumsum(counts) - counts
    spans = np.array([(at * PAGE, PAGE, count, 4) for at, count in zip(starts, counts, strict=True)], SPAN)
    protnone = np.arange(n) % 3 == 0 if told else None
    bits = AddressBits(1 << 47, frames_hidden=True)
    whole = Entries(np.arange(n, dtype=np.uint64), spans, "x86_64", "bpf", protnone, bits)
    cuts = sorted({0, n, *data.draw(st.lists(st.integers(0, n)))})
    parts = [whole.part(*cut) for cut in pairwise(cuts)]
    assert [len(part) for part in parts] == [last - first for first, last in pairwise(cuts)]
    assert all((part.spans["count"] > 0).all() for part in parts)
    assert_equal(join(parts), whole)


def test_what_they_are_is_said_in_a_line() -> None:
    spans = np.array([(PAGE, PAGE, 2, 4), (7 * PAGE, PAGE, 1, 4)], SPAN)
    some = Entries(np.arange(3, dtype=np.uint64), spans, "x86_64", "bpf")
    assert repr(some) == f"<Entries: 3 raw entries of x86_64, by bpf, {PAGE:#x}-{8 * PAGE:#x}>"
    assert repr(some.part(2, 3)) == f"<Entries: 1 raw entry of x86_64, by bpf, {7 * PAGE:#x}-{8 * PAGE:#x}>"
    none = Entries(np.empty(0, np.uint64), np.empty(0, SPAN), "pagemap", "pagemap")
    assert repr(none) == "<Entries: 0 raw entries of pagemap, by pagemap>"
