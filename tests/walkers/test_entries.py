"""Parts of entries."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from comparing import assert_equal
from handmade import HUGE, PAGE
from hypothesis import given
from hypothesis import strategies as st

from pte_magic.linux.address_bits import AddressBits
from pte_magic.walkers.entries import SPAN, Entries, join, joined_runs


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


SIZES = (PAGE, HUGE)


@given(st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 1), st.integers(0, 2)), min_size=1, max_size=12))
def test_addresses_and_sizes_are_those_of_the_runs(runs: list[tuple[int, int, int]]) -> None:
    """Each run: entries, kind, and how many of its size lie between it and the one before."""
    reached, told, vaddr, size = 0, [], [], []
    for count, kind, gap in runs:
        each = SIZES[kind]
        reached = -(-reached // each) * each + gap * each
        told.append((reached, each, count, 4 - kind))
        vaddr += [reached + each * at for at in range(count)]
        size += [each] * count
        reached += each * count
    spans = np.array(told, SPAN)
    for one in (spans, joined_runs(spans)):
        found = Entries(np.zeros(len(vaddr), np.uint64), one, "x86_64", "bpf")
        assert found.vaddr.tolist() == vaddr
        assert found.where().tolist() == [vaddr, size]
        assert found.size.tolist() == size
        assert found.level.tolist() == [4 if each == PAGE else 3 for each in size]


def test_runs_that_go_on_are_one() -> None:
    told = [(0, PAGE, 2, 4), (2 * PAGE, PAGE, 3, 4), (5 * PAGE, PAGE, 1, 3), (7 * PAGE, PAGE, 1, 3)]
    spans = np.array(told, SPAN)
    assert joined_runs(spans).tolist() == [(0, PAGE, 5, 4), *told[2:]]
    assert joined_runs(spans[1:]).tolist() == told[1:]
    most = np.array([(0, PAGE, (1 << 32) - 1, 4), (((1 << 32) - 1) * PAGE, PAGE, 1, 4)], SPAN)
    assert joined_runs(most).tolist() == most.tolist()  # the count has 32 bits


def test_what_they_are_is_said_in_a_line() -> None:
    spans = np.array([(PAGE, PAGE, 2, 4), (7 * PAGE, PAGE, 1, 4)], SPAN)
    some = Entries(np.arange(3, dtype=np.uint64), spans, "x86_64", "bpf")
    assert repr(some) == f"<Entries: 3 raw entries of x86_64, by bpf, {PAGE:#x}-{8 * PAGE:#x}>"
    assert repr(some.part(2, 3)) == f"<Entries: 1 raw entry of x86_64, by bpf, {7 * PAGE:#x}-{8 * PAGE:#x}>"
    none = Entries(np.empty(0, np.uint64), np.empty(0, SPAN), "pagemap", "pagemap")
    assert repr(none) == "<Entries: 0 raw entries of pagemap, by pagemap>"
