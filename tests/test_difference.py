"""`PteFrame.diff`: what was done to memory, in words; and nothing is lost between two frames."""

from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from conftest import (
    COLLAPSE,
    DONTNEED,
    HUGEPAGE,
    MIB2,
    NOHUGEPAGE,
    NONE,
    PAGE,
    READ,
    WRITE,
    forked,
    madvise,
    mprotect,
    needs_root,
    pfn,
    read,
    resident,
    rows,
    walked,
    write,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from pte_magic import PteFrame, frame
from pte_magic.comparison.words import WORDS
from pte_magic.errors import TargetError
from pte_magic.formats import kernel
from pte_magic.space import AddressSpace
from pte_magic.walkers.entries import LEVELS, SPAN, Entries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import NewMap

    from pte_magic.difference import PteDiff

START, GIB = 1 << 30, 1 << 30
GUARD, MIGRATION_TYPE = 0xFFFFFFFFFFFFF600, 30
RW, ACCESSED, DIRTY, PSE, NX = 1 << 1, 1 << 5, 1 << 6, 1 << 7, 1 << 63
SIZES = {"pte": PAGE, "pmd": MIB2, "pud": GIB, "pgd": 1 << 39}


def page(frame_number: int, flags: int = 0x67) -> int:
    return frame_number << 12 | flags | NX


def huge(frame_number: int, flags: int = 0xE7) -> int:
    return page(frame_number, flags)


def swap(offset: int, kind: int = 0) -> int:
    return (~offset << 14 & (1 << 64) - 1) >> 5 | kind << 59


def protnone(frame_number: int) -> int:
    return (~(frame_number << 12) & 0x000F_FFFF_FFFF_F000) | 0x160


def made(*spans: tuple[int, str, Sequence[int]]) -> PteFrame:
    """Return the frame of some spans: first address, level, raw entries."""
    table = [(vaddr, SIZES[level], len(raw), LEVELS.index(level)) for vaddr, level, raw in spans]
    raw = np.array([entry for *_, part in spans for entry in part], np.uint64)
    return frame.build(Entries(raw, np.array(table, SPAN), "x86_64", "bpf"), kernel.running(), pid=1)


def pages(*raw: int) -> PteFrame:
    return made((START, "pte", raw))


def change(before: int, after: int, level: str = "pte") -> str:
    """Return the words for one entry that became another; nothing if there is no row."""
    found = made((START, level, [before])).diff(made((START, level, [after])))
    return "" if found.empty else str(found["change"].item())


def split(addresses: Sequence[int], words: Sequence[str]) -> dict[int, set[str]]:
    return {address: set(said.split(", ")) for address, said in zip(addresses, words, strict=True)}


def told(found: PteDiff) -> dict[int, set[str]]:
    """Return the words by address; the CPU may set accessed whenever it likes."""
    return split(found["vaddr"].tolist(), found["change"].tolist())


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
        (page(5), GUARD, "present became marker, guard installed"),
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
            "the frame after has runs, not entries; compare frames as they are before .runs()",
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


def shown(found: PteDiff, kind: str) -> str:
    return repr(found) if kind == "text" else str(found._repr_html_())


@pytest.mark.parametrize("kind", ["text", "html"])
def test_one_line_says_how_much_changed(kind: str) -> None:
    before = [page(i) for i in range(1, 513)]
    after = [*before[:100], before[100] & ~RW, before[101] & ~RW, page(9999), *before[103:]]
    found = pages(*before).diff(pages(*after))
    assert "3 of 512 entries changed: 2 write-protected, 1 new page frame" in shown(found, kind)
    assert "nothing changed" in shown(pages(*before).diff(pages(*before)), kind)
    assert "2 entries changed: 2 write-protected" in shown(found[found["change"] == "write-protected"], kind)


def test_text_names_the_bits_that_flipped() -> None:
    found = pages(page(5), page(6), 0, page(8)).diff(pages(page(5, 0x27), page(8, 0x65), page(3), swap(0, 3)))
    protected = "-rw pfn new page frame, write-protected"
    mapped = "+present +rw +user +accessed +dirty pfn +nx"
    swapped = "-present -rw -user -accessed -dirty offset type -nx"
    assert [" ".join(line.split()) for line in repr(found).splitlines()[2:6]] == [
        f"0 {START:#014x} 4 KiB pte {page(5):#018x} {page(5, 0x27):#018x} -dirty no longer dirty",
        f"1 {START + PAGE:#014x} 4 KiB pte {page(6):#018x} {page(8, 0x65):#018x} {protected}",
        f"2 {START + 2 * PAGE:#014x} 4 KiB pte {0:#018x} {page(3):#018x} {mapped} mapped",
        f"3 {START + 3 * PAGE:#014x} 4 KiB pte {page(8):#018x} {swap(0, 3):#018x} {swapped} swapped out",
    ]


def test_html_marks_the_digits_that_changed_and_cuts_no_words() -> None:
    found = pages(page(5), page(3, 0x225) & ~NX).diff(pages(page(5, 0x27), page(6) | 1 << 10 | 3 << 59))
    html = str(found._repr_html_())
    assert "<td>0x80000000000050<b>6</b>7</td>" in html
    assert "<td>0x80000000000050<b>2</b>7</td>" in html
    assert f"<td>{found['change'][1]}</td>" in html
    assert len(found["change"][1]) > 100
    assert not re.search("[\ue000-\uf8ff]", html)
    with pd.option_context("display.notebook_repr_html", False):  # noqa: FBT003  (pandas' own)
        assert found._repr_html_() is None


@pytest.mark.parametrize("kind", ["text", "html"])
def test_a_long_difference_is_shown_as_its_runs(kind: str) -> None:
    found = pages(*[page(i + 1) for i in range(200)]).diff(
        pages(*[page(i + 1, 0x65 if i < 150 else 0x27) for i in range(200)])
    )
    text = shown(found, kind)
    assert "shown as 2 runs of neighbours" in text
    assert re.findall("0x0000[0-9a-f]{8}(?![0-9a-f])", text) == [f"{START:#014x}", f"{START + 150 * PAGE:#014x}"]
    with pd.option_context("display.max_rows", None):
        assert len(re.findall("0x0000[0-9a-f]{8}(?![0-9a-f])", shown(found, kind))) == 200
    scattered = pages(*[page(i + 1) for i in range(200)]).diff(
        pages(*[page(i + 1, (0x65, 0x27)[i % 2]) for i in range(200)])
    )
    assert len(re.findall("0x0000[0-9a-f]{8}(?![0-9a-f])", shown(scattered, kind))) == 10  # display.min_rows


@pytest.mark.parametrize(
    "part",
    [
        lambda found: found[found["size"] > 0],
        lambda found: found[["vaddr", "change"]],
        lambda found: found.iloc[:0],
        lambda found: found.runs(),
        lambda found: found.T,
        lambda found: pd.concat([found, found]),
        lambda found: pd.concat([found, found], axis=1),
        lambda found: found.assign(before="<x>", note="<y>"),
        lambda found: pickle.loads(pickle.dumps(found)),  # noqa: S301  (our own)
    ],
)
def test_whatever_pandas_makes_of_a_difference_is_shown(part: Any) -> None:
    found = part(pages(page(5), 0).diff(pages(page(6), 0)))
    assert type(found).__name__ == "PteDiff"
    assert repr(found)
    assert "<x>" not in str(found._repr_html_())
    assert "<y>" not in str(found._repr_html_())


@pytest.mark.parametrize("call", ["to_string", "to_html"])
def test_pandas_own_methods_print_hex_too(call: str) -> None:
    text = str(getattr(pages(page(5)).diff(pages(page(6))), call)())
    for word in (f"{START:#014x}", "4 KiB", f"{page(5):#018x}", f"{page(5) ^ page(6):#018x}"):
        assert word in text


@pytest.mark.parametrize("name", ["bpf", pytest.param("pagemap", id="pagemap")])
@needs_root
def test_a_first_read_and_a_first_write(new_map: NewMap, name: str) -> None:
    address = new_map(8 * PAGE, advice=NOHUGEPAGE)
    write(address)  # so that there is a table
    before = rows(address, 8 * PAGE, name)
    read(address + 2 * PAGE)
    write(address + 5 * PAGE)
    between = rows(address, 8 * PAGE, name)
    assert told(before.diff(between)) == {address + 2 * PAGE: {"mapped"}, address + 5 * PAGE: {"mapped"}}
    write(address + 2 * PAGE)  # the zero page is exchanged for one of its own
    found = between.diff(rows(address, 8 * PAGE, name))
    assert found["vaddr"].tolist() == [address + 2 * PAGE]
    assert found["pfn_after"].tolist() == [pfn(address + 2 * PAGE)]
    expected = {"new page frame", "made writable", "dirty", "no longer special"}
    assert expected <= set(found["change"][0].split(", ")) if name == "bpf" else "new page frame" in found["change"][0]


@needs_root
def test_less_access_more_access_and_none(new_map: NewMap) -> None:
    address = new_map(4 * PAGE, advice=NOHUGEPAGE)
    write(address, 4 * PAGE)
    before = rows(address, 4 * PAGE)
    mprotect(address, PAGE, READ)
    mprotect(address + PAGE, PAGE, NONE)
    between = rows(address, 4 * PAGE)
    assert told(before.diff(between)) == {address: {"write-protected"}, address + PAGE: {"access taken away"}}
    mprotect(address, 2 * PAGE, READ | WRITE)
    write(address)
    assert told(between.diff(rows(address, 4 * PAGE))) == {
        address: {"made writable"},
        address + PAGE: {"access given back"},
    }


@needs_root
def test_a_fork_and_a_write_after_it(new_map: NewMap) -> None:
    address = new_map(3 * PAGE, advice=NOHUGEPAGE)
    write(address, 3 * PAGE)
    before = rows(address, 3 * PAGE)
    with forked(lambda: write(address + PAGE)) as child, AddressSpace(child.pid) as space:

        def theirs() -> PteFrame:
            return walked("bpf", space, address, address + 3 * PAGE)

        ours = before.diff(rows(address, 3 * PAGE))
        assert told(ours) == {address + i * PAGE: {"write-protected"} for i in range(3)}
        between = theirs()
        child.step()
        found = between.diff(theirs())
        assert found["vaddr"].tolist() == [address + PAGE]
        assert {"new page frame", "made writable"} <= set(found["change"][0].split(", "))
        assert found["pfn_after"].tolist() == [pfn(address + PAGE, child.pid)]
        assert rows(address, 3 * PAGE)["pfn"].tolist() == before["pfn"].tolist()


@needs_root
def test_memory_that_is_not_needed_is_unmapped(new_map: NewMap) -> None:
    address = new_map(4 * PAGE, advice=NOHUGEPAGE)
    write(address, 4 * PAGE)
    before = rows(address, 4 * PAGE)
    madvise(address + PAGE, 2 * PAGE, DONTNEED)
    assert not resident(address + PAGE)
    assert told(before.diff(rows(address, 4 * PAGE))) == {address + i * PAGE: {"unmapped"} for i in (1, 2)}


@needs_root
def test_a_huge_page_is_split_and_made_again(new_map: NewMap) -> None:
    address = new_map(MIB2, advice=HUGEPAGE)
    write(address, MIB2)
    before = rows(address, MIB2)
    assert before["size"].tolist() == [MIB2]
    mprotect(address + 3 * PAGE, PAGE, READ)
    between = rows(address, MIB2)
    found = before.diff(between)
    expected = {address + i * PAGE: {"became 4 KiB"} for i in range(512)}
    expected[address + 3 * PAGE] |= {"write-protected"}
    assert told(found) == expected
    assert found["pfn_before"].tolist() == found["pfn_after"].tolist()
    mprotect(address + 3 * PAGE, PAGE, READ | WRITE)
    madvise(address, MIB2, COLLAPSE)
    again = between.diff(rows(address, MIB2))
    assert (again["vaddr"].tolist(), again["size"].tolist()) == ([address], [MIB2])
    assert {"became 2 MiB", "new page frame"} <= set(again["change"][0].split(", "))
    assert again["pfn_after"].tolist() == [pfn(address)]


@needs_root
def test_nothing_changed_where_nobody_did_anything(new_map: NewMap) -> None:
    address = new_map(MIB2)
    write(address, 4 * PAGE)
    assert repr(rows(address, MIB2).diff(rows(address, MIB2))) == "nothing changed"
