"""`PteFrame.diff`: each change has its words, and nothing is lost between two frames."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from differences import GUARD, MIB2, NX, PAGE, START, change, huge, made, page, pages, protnone, swap
from hypothesis import given, settings
from hypothesis import strategies as st

from pte_magic.api import pte_frame
from pte_magic.dataframes.diff.words import WORDS
from pte_magic.errors import TargetError
from pte_magic.formats import kernel
from pte_magic.formats.hidden import hide
from pte_magic.linux.address_bits import AddressBits
from pte_magic.linux.geometry import LEVELS
from pte_magic.walkers.entries import SPAN, Entries

if TYPE_CHECKING:
    from pte_magic import PteFrame


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (0, page(5), "mapped"),
        (page(5), 0, "unmapped"),
        (page(5), page(5), ""),
        (page(5), page(6), "new page frame"),
        (page(5), page(5, 0x65), "write-protected"),
        (page(5, 0x65), page(5), "made writable"),
        (page(5, 0x27), page(5), "dirty"),
        (page(5), page(5, 0x27), "no longer dirty"),
        (page(5, 0x07), page(5, 0x27), "accessed"),
        (page(5, 0x27), page(5, 0x07), "no longer accessed"),
        (page(5), page(5) & ~NX, "made executable"),
        (page(5) & ~NX, page(5), "no longer executable"),
        (page(5), page(5) | 3 << 59, "protection key 3"),
        (page(5), page(5) | 1 << 10, "write-protected by userfaultfd"),
        (page(5) | 1 << 10, page(5), "no longer write-protected by userfaultfd"),
        (page(5), page(5) | 1 << 3 | 1 << 4, "memory type UC"),
        (page(5), page(5, 0x63), "closed to user mode"),
        (page(5), page(5) | 1 << 8, "made global"),
        (page(3, 0x225), page(6), "new page frame, made writable, dirty, no longer special"),
        (page(5), swap(7), "swapped out"),
        (swap(7), page(5), "swapped in"),
        (swap(7), swap(8), "other place in swap"),
        (0, swap(7), "mapped to swap"),
        (swap(7), 0, "unmapped"),
        (page(5), protnone(5), "access taken away"),
        (protnone(5), page(5), "access given back"),
        (protnone(5), page(6), "access given back, new page frame"),
        (0, GUARD, "guard installed"),
        (GUARD, 0, "guard removed"),
        (page(5), GUARD, "unmapped, guard installed"),
        (page(5), page(5) | 1 << 52, "other bits"),
    ],
)
def test_every_change_has_its_words(before: int, after: int, words: str) -> None:
    assert change(before, after) == words


def test_dirty_that_is_kept_elsewhere_while_read_only_is_no_change() -> None:
    if "saved_dirty" not in kernel.running().features:
        pytest.skip("needs a kernel with SAVED_DIRTY (6.6)")
    assert change(page(5), page(5, 0x25) | 1 << 58) == "write-protected"


def test_no_words_have_a_comma_which_separates_them() -> None:
    assert not any("," in word.words for word in WORDS)


def test_columns_and_their_dtypes() -> None:
    dtypes = {
        "vaddr": "uint64", "size": "uint64", "level": "category", "before": "UInt64", "after": "UInt64",
        "flipped": "UInt64", "change": "str", "state_before": "category", "state_after": "category",
        "pfn_before": "UInt64", "pfn_after": "UInt64", "level_before": "category", "level_after": "category",
        "format_before": "category", "format_after": "category",
    }  # fmt: skip
    for found in (pages(0, page(5)).diff(pages(0, page(6, 0x65))), pages(0).diff(pages(0)), pages().diff(pages())):
        assert found.dtypes.astype(str).to_dict() == dtypes
    row = pages(0, page(5)).diff(pages(0, page(6, 0x65))).iloc[0]
    assert (row["vaddr"], row["size"], row["level"]) == (START + PAGE, PAGE, "pte")
    assert (row["before"], row["after"]) == (page(5), page(6, 0x65))
    assert row["flipped"] == page(5) ^ page(6, 0x65)
    assert (row["state_before"], row["state_after"]) == ("present", "present")
    assert (row["pfn_before"], row["pfn_after"]) == (5, 6)


def test_a_split_huge_page_is_rows_of_the_smaller_entries() -> None:
    small = [page(512 + i) for i in range(512)]
    small[7] = page(9)
    small[8] = 0
    found = made((START, "pmd", [huge(512)])).diff(made((START, "pte", small)))
    assert found["vaddr"].tolist() == [START + i * PAGE for i in range(512)]
    assert set(found["size"]) == {PAGE}
    words = dict.fromkeys(range(512), "became 4 KiB") | {7: "became 4 KiB, new page frame", 8: "unmapped"}
    assert found["change"].tolist() == list(words.values())
    assert set(found["before"]) == {huge(512)}
    assert found["pfn_before"].tolist() == list(range(512, 1024))
    assert set(found["level_before"]) == {"pmd"}


@pytest.mark.parametrize(
    ("small", "words", "state", "number"),
    [
        ([page(512 + i) for i in range(512)], "became 2 MiB", "present", 512),
        ([page(5000 - i) for i in range(512)], "became 2 MiB, new page frame", "present", None),
        ([page(512 + i, 0x65) for i in range(512)], "became 2 MiB, made writable", "present", 512),
        ([0] * 512, "mapped", "none", None),
        ([0] * 511 + [page(1023)], "became 2 MiB", None, None),
    ],
)
def test_many_entries_that_became_one_are_one_row(
    small: list[int], words: str, state: str | None, number: int | None
) -> None:
    before = made((START, "pte", [*small, page(5)]))
    found = before.diff(made((START, "pmd", [huge(512)]), (START + MIB2, "pte", [page(5)])))
    row = found.iloc[0]
    assert len(found) == 1
    assert (row["vaddr"], row["size"], row["level"], row["change"]) == (START, MIB2, "pmd", words)
    assert row["after"] == huge(512)
    assert pd.isna(row["before"])
    assert row["state_before"] == state if state else pd.isna(row["state_before"])
    assert row["pfn_before"] == number if number else pd.isna(row["pfn_before"])
    assert repr(found).startswith("1 of 2 entries changed: ")


def test_what_is_nothing_at_another_level_is_still_nothing() -> None:
    wide, small = made((START, "pmd", [0])), made((START, "pte", [0] * 512))
    assert wide.diff(small).empty
    assert small.diff(wide).empty


def test_addresses_of_one_frame_only_are_told_unless_an_empty_entry_sticks_out() -> None:
    first = made((START, "pmd", [0]), (START + MIB2, "pte", [page(1), page(2)]))
    second = made((START + MIB2 - PAGE, "pte", [0, page(1)]))
    found = first.diff(second)
    assert (found["vaddr"].tolist(), found["change"].tolist()) == ([START + MIB2 + PAGE], ["not looked at after"])
    assert second.diff(first)["change"].tolist() == ["not looked at before"]
    assert found["before"].tolist() == [page(2)]
    assert found["after"].isna().all()
    assert repr(found).splitlines()[0] == "nothing changed; 4 KiB not looked at after"
    elsewhere = made((START, "pmd", [0])).diff(made((START + MIB2, "pmd", [0])))
    assert elsewhere["change"].tolist() == ["not looked at after", "not looked at before"]
    assert repr(elsewhere).splitlines()[0].startswith("no address is in both frames; 2 MiB not looked at before; 2 MiB")


TABLE = 0x153016067


def test_tables_are_compared_with_tables_only() -> None:
    before = made((START, "pud", [TABLE]), (START, "pmd", [huge(512), 0]))
    small = [page(512 + i) for i in range(512)]
    after = made((START, "pud", [TABLE ^ 1 << 20]), (START, "pmd", [TABLE]), (START, "pte", small),
                 (START + MIB2, "pmd", [0]))  # fmt: skip
    found = before.diff(after)
    assert list(zip(found["level"], found["vaddr"], found["change"], strict=True))[:3] == [
        ("pud", START, "other table"),
        ("pmd", START, "table added"),
        ("pte", START, "became 4 KiB"),
    ]
    assert len(found) == 514
    assert repr(found).startswith("514 of 514 entries changed: 512 became 4 KiB, 1 other table, 1 table added")
    back = after.diff(before)
    assert back["change"].tolist() == ["other table", "table removed", "became 2 MiB"]


def test_tables_that_nobody_asked_for_are_not_looked_at() -> None:
    ends = made((START, "pte", [page(1)] * 512))
    both = made((START, "pmd", [TABLE]), (START, "pte", [page(1)] * 512))
    assert ends.diff(both)["change"].tolist() == ["not looked at before"]
    assert both.diff(ends)["change"].tolist() == ["not looked at after"]


def test_without_raw_entries_the_known_columns_are_compared() -> None:
    before, after = pages(page(5), 0, page(7), page(8)), pages(page(5, 0x25), page(6), page(7), page(8))
    for name in ("entry", "dirty"):
        after[name] = pd.Series(pd.NA, after.index, before[name].dtype)
    found = before.diff(after)
    assert found["change"].tolist() == ["write-protected", "mapped"]
    assert found["flipped"].isna().all()
    without = [table.drop(columns=["entry", "level", "kind", "pfn", "dirty", "cache"]) for table in (before, after)]
    assert without[0].diff(without[1])["change"].tolist() == ["write-protected", "mapped"]


def test_rows_may_be_in_any_order() -> None:
    before, after = pages(*range(0x1067, 0x9067, 0x1000)), pages(*range(0x1067, 0x9067, 0x1000))
    shuffled = after.sort_values("vaddr", ascending=False)
    assert before.diff(shuffled).empty
    assert shuffled.diff(before).empty


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            lambda table: table.runs(),
            "the frame after has runs, not entries; compare frames before .runs()",
        ),
        (lambda table: table.drop(columns="vaddr"), "the frame after has no column 'vaddr'; compare frames as "),
        (lambda table: pd.concat([table, table]), f"{START:#x} is covered by several rows of the frame after; select "),
        (lambda table: pd.concat([table, table], axis=1), "the frame after has columns twice; "),
    ],
)
def test_frames_that_cannot_be_compared_say_why(bad: Any, message: str) -> None:
    table = pages(page(5), page(7))
    with pytest.raises(TargetError, match=re.escape(message)):
        table.diff(bad(table))


def test_pandas_own_difference_is_still_there() -> None:
    numbers = pages(page(5), page(7), page(6))[["vaddr", "pfn"]]
    plain = pd.DataFrame(numbers)
    for call in ({}, {"periods": 2}, {"periods": -1}, {"axis": 1}):
        pd.testing.assert_frame_equal(pd.DataFrame(numbers.diff(**call)), plain.diff(**call))  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(pd.DataFrame(numbers.diff(2, 0)), plain.diff(2, 0))


entry = st.one_of(
    st.just(0),
    st.builds(page, st.integers(1, 9), st.sampled_from([0x67, 0x25, 0x27, 0x267])),
    st.builds(swap, st.integers(1, 9)),
    st.builds(protnone, st.integers(1, 9)),
    st.just(GUARD),
)
leaf = st.one_of(st.just(0), st.builds(lambda i: huge(i << 9), st.integers(1, 3)))
# 2 MiB each: a leaf, ptes of which a few are something, or nothing that anybody looked at.


def ptes(some: list[int], rest: int) -> list[int]:
    """Return a table that begins with some entries; the rest maps memory in a row, from a page frame on, or nothing."""
    return [*some, *(page(rest + i) if rest else 0 for i in range(len(some), 512))]


# 2 MiB each: a leaf, ptes, or nothing that anybody looked at.
chunk = st.one_of(
    st.none(), leaf, st.builds(ptes, st.lists(entry, min_size=1, max_size=6), st.sampled_from([0, 512, 1024, 1030]))
)
chunks = st.lists(chunk, max_size=3)


def built(drawn: list[Any]) -> PteFrame:
    return made(
        *((START + i * MIB2, "pmd" if isinstance(part, int) else "pte", [part] if isinstance(part, int) else part)
          for i, part in enumerate(drawn) if part is not None)
    )  # fmt: skip


def by_page(table: pd.DataFrame, entry: str, level: str) -> dict[int, tuple[Any, str]]:
    """Return raw entry and level by page."""
    return {
        address: (raw, at)
        for vaddr, size, raw, at in zip(table["vaddr"], table["size"], table[entry], table[level], strict=True)
        for address in range(vaddr, vaddr + size, PAGE)
    }


@settings(max_examples=50)
@given(chunks, chunks)
def test_what_a_difference_says_makes_the_second_frame_of_the_first(first: list[Any], second: list[Any]) -> None:
    before, after = built(first), built(second)
    found = before.diff(after)
    expected = by_page(after, "entry", "level")
    now = by_page(before, "entry", "level")
    for address, value in by_page(found, "after", "level_after").items():
        now[address] = value
    gone = {address for address, (raw, _) in now.items() if pd.isna(raw)}
    assert gone == by_page(before, "entry", "level").keys() - expected.keys()
    # Nothing is nothing at any level.
    assert {a: v for a, v in now.items() if a not in gone and v[0]} == {a: v for a, v in expected.items() if v[0]}
    assert (found["change"] != "").all()
    # What did not change is in no row.
    one = found[found["before"].notna() & found["after"].notna()]
    assert not ((one["before"] == one["after"]) & (one["level_before"] == one["level_after"])).any()
    if first == second:
        assert found.empty
        assert repr(found) == (
            "nothing changed" if any(part is not None for part in first) else repr(pages().diff(pages()))
        )


@settings(max_examples=50)
@given(chunks, chunks)
def test_runs_and_summaries_of_a_difference_lose_nothing(first: list[Any], second: list[Any]) -> None:
    found = built(first).diff(built(second))
    runs = found.runs()
    assert runs["entries"].sum() == len(found)
    assert runs["bytes"].sum() == found["size"].sum()
    merged = zip(runs["vaddr"], runs["size"], runs["entries"], runs["change"], strict=True)
    again = [(vaddr + i * size, said) for vaddr, size, n, said in merged for i in range(n)]
    assert again == list(zip(found["vaddr"], found["change"], strict=True))
    counts = found["change"].value_counts().to_dict()
    for table in (found, runs):
        assert table.summary()["entries"].to_dict() == counts
        assert table.summary()["bytes"].to_dict() == found.groupby("change")["size"].sum().to_dict()
    assert repr(runs).splitlines()[0] == repr(found).splitlines()[0]


@pytest.mark.parametrize("hidden_first", [True, False])
def test_frames_that_were_not_shown_are_no_difference(*, hidden_first: bool) -> None:
    raw = [page(5), page(6), swap(7), protnone(8), page(9)]
    shown = pages(*raw, page(10, 0x65))
    blank = np.array([*raw, page(10)], np.uint64)
    hide(blank, np.full(len(blank), LEVELS.index("pte"), np.int8), kernel.running())
    span = np.array([(START, PAGE, len(blank), LEVELS.index("pte"))], SPAN)
    of = kernel.running(AddressBits(frames_hidden=True))
    blank_frame = pte_frame.build(Entries(blank, span, "x86_64", "helper"), of, pid=1)
    found = blank_frame.diff(shown) if hidden_first else shown.diff(blank_frame)
    assert list(found["flipped"]) == [1 << 1]  # of the last page, R/W
    assert list(found["change"]) == ["write-protected" if hidden_first else "made writable"]
    assert not found["before"].isna().any()
