"""`PteFrame.frames`: entries joined with their page frames and regions, against /proc asked in another way."""

from __future__ import annotations

import io
import json
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from conftest import NOBODY, descriptors, forked, needs_root, python
from handmade import (
    ANONYMOUS,
    HUGE,
    HUGEPAGE,
    NOHUGEPAGE,
    NONE,
    NORESERVE,
    PAGE,
    PRIVATE,
    READ,
    SHARED,
    WRITE,
    mprotect,
    pfn,
    read,
    smaps,
    write,
)

import pte_magic
from pte_magic import PteFrame
from pte_magic.dataframes import page_frame_columns
from pte_magic.errors import TargetError
from pte_magic.linux import page_frames as physical

if TYPE_CHECKING:
    from collections.abc import Callable

    from handmade import NewMap

DTYPES = {
    "map_count": "UInt64", "node": "UInt16", "cgroup": "category", "region": "category", "permissions": "category",
    "page_flags": "UInt64", **{f"kpf_{name}": "boolean" for name in page_frame_columns.FLAGS},
}  # fmt: skip
RESTLESS = ("lru", "referenced", "active")
"""Flags that the kernel changes when it likes: a page that is new waits with others until they go to a list."""
OF_PRIVILEGE = ("map_count", "cgroup", "page_flags")


def flags_of(row: pd.Series[Any]) -> set[str]:
    return {name for name in page_frame_columns.FLAGS if pd.notna(row[f"kpf_{name}"]) and row[f"kpf_{name}"]}


def word(file: str, frame: int) -> int:
    """Read what a file of /proc has for a page frame."""
    with Path(file).open("rb", buffering=0) as found:
        return int.from_bytes(os.pread(found.fileno(), 8, frame * 8), "little")


@pytest.fixture
def mixed(new_map: NewMap) -> int:
    """The address of a written page, a read one and one that nobody has touched."""
    address = new_map(3 * PAGE, advice=NOHUGEPAGE)
    write(address)
    read(address + PAGE)
    return address


@needs_root
def test_columns_are_added_and_nothing_else_is_changed(mixed: int) -> None:
    before = pte_magic.walk(mixed, mixed + 3 * PAGE)
    after = before.frames()
    assert type(after) is PteFrame
    pd.testing.assert_frame_equal(after[before.columns], before)
    assert {name: str(after[name].dtype) for name in after.columns[len(before.columns) :]} == DTYPES
    pd.testing.assert_frame_equal(after.frames()[list(before)], before)
    assert list(after.frames()) == list(after)
    one = pte_magic.walk(mixed)
    assert one.frames().attrs == one.attrs
    assert one.attrs["address"] == mixed
    assert after.runs()["entries"].tolist() == [1, 1, 1]


@needs_root
def test_rows_are_told_of_their_own_frame(mixed: int) -> None:
    table = pte_magic.walk(mixed, mixed + 3 * PAGE).frames()
    written, zero, nothing = (row for _, row in table.iterrows())
    assert flags_of(written) >= {"mmap", "anon", "uptodate", "swapbacked"}
    assert written["map_count"] == 1
    assert int(written["page_flags"]) >> physical.FLAGS["anon"] & 1
    assert flags_of(zero) >= {"zero_page"}
    assert not flags_of(zero) & {"anon", "thp"}
    assert zero["map_count"] == 0
    for name in ("node", *DTYPES):
        assert pd.isna(nothing[name]) == (name not in {"region", "permissions"}), name


@needs_root
def test_rows_in_any_order_and_with_any_index_keep_what_is_theirs(mixed: int) -> None:
    table = pte_magic.walk(mixed, mixed + 3 * PAGE)
    joined = table.frames()
    other = table.iloc[[2, 0, 1, 0]].set_axis(["x", "y", "y", "z"])
    expected = joined.iloc[[2, 0, 1, 0]].set_axis(["x", "y", "y", "z"])
    restless = ["page_flags", *(f"kpf_{name}" for name in RESTLESS)]
    pd.testing.assert_frame_equal(other.frames().drop(columns=restless), expected.drop(columns=restless))
    assert table.iloc[:0].frames().empty
    assert list(table.iloc[:0].frames()) == list(joined)


@needs_root
def test_a_shared_page_counts_its_processes(new_map: NewMap) -> None:
    address = new_map(PAGE, flags=SHARED | ANONYMOUS)
    write(address)
    with forked(lambda: read(address)) as one, forked(lambda: read(address)) as other:
        one.step()
        other.step()
        both = pd.concat([pte_magic.walk(address, address + PAGE, pid=pid) for pid in (None, one.pid, other.pid)])
        assert both.frames()["map_count"].tolist() == [3, 3, 3]
        assert set(both.frames()["region"]) == {"/dev/zero (deleted)"}


@needs_root
def test_a_huge_page_is_told_of_its_first_frame(new_map: NewMap) -> None:
    address = new_map(HUGE, advice=HUGEPAGE)
    write(address)
    if smaps(address, "AnonHugePages") != HUGE:
        pytest.skip("needs a free page of 2 MiB, and /sys/kernel/mm/transparent_hugepage/enabled not to be never")
    (row,) = (row for _, row in pte_magic.walk(address, address + HUGE).frames().iterrows())
    assert flags_of(row) >= {"thp", "anon", "mmap", "compound_head"}
    restless = sum(1 << physical.FLAGS[name] for name in RESTLESS)
    assert int(row["page_flags"]) | restless == word("/proc/kpageflags", pfn(address)) | restless
    with forked():
        (row,) = (row for _, row in pte_magic.walk(address, address + HUGE).frames().iterrows())
        assert row["map_count"] == word("/proc/kpagecount", pfn(address)) == 2


@needs_root
def test_the_huge_zero_page_is_both(new_map: NewMap) -> None:
    if Path("/sys/kernel/mm/transparent_hugepage/use_zero_page").read_text(encoding="ascii").strip() != "1":
        pytest.skip("needs 1 in /sys/kernel/mm/transparent_hugepage/use_zero_page")
    address = new_map(HUGE, advice=HUGEPAGE)
    read(address)
    (row,) = (row for _, row in pte_magic.walk(address, address + HUGE).frames().iterrows())
    if row["size"] != HUGE:
        pytest.skip("needs /sys/kernel/mm/transparent_hugepage/enabled not to be never")
    assert flags_of(row) >= {"zero_page", "thp"}


def test_regions_are_those_of_maps(new_map: NewMap, tmp_path: Path) -> None:
    path = tmp_path / "a file"
    path.write_bytes(b"x" * 2 * PAGE)
    with path.open("rb") as file:
        address = new_map(2 * PAGE, READ, PRIVATE, file.fileno())
    read(address, 2 * PAGE)
    mprotect(address + PAGE, PAGE, NONE)
    table = pte_magic.walk(address, address + 2 * PAGE).frames()
    assert table["region"].tolist() == [str(path)] * 2
    assert table["permissions"].tolist() == ["r--p", "---p"]


def test_every_row_is_in_the_region_that_maps_says() -> None:
    with forked() as child:  # at rest
        table = pte_magic.walk("all", pid=child.pid).frames()
        lines = Path(f"/proc/{child.pid}/maps").read_text(encoding="utf-8").splitlines()
    maps = []
    for line in lines:
        bounds, permissions, _, _, _, *name = line.split(maxsplit=5)
        maps.append((*(int(bound, 16) for bound in bounds.split("-")), permissions, *(name or [""])))
    found = zip(*(table[name] for name in ("vaddr", "size", "region", "permissions")), strict=True)
    for vaddr, size, region, permissions in found:
        over = [(name, rights) for start, end, rights, name in maps if start < vaddr + size and vaddr < end]
        if len(over) == 1:
            assert (region, permissions) == over[0]
        else:
            assert pd.isna(region)
            assert pd.isna(permissions)
    assert table["region"].isna().any()
    assert "[stack]" in set(table["region"])


def test_an_empty_entry_over_several_regions_is_in_none_of_them(new_map: NewMap) -> None:
    address = new_map(HUGE, flags=PRIVATE | ANONYMOUS | NORESERVE)
    table = pte_magic.walk(address, address + HUGE).frames()
    assert (table["size"] >= HUGE).all()
    assert table["region"].tolist() == ([""] if table["size"].tolist() == [HUGE] else [None])
    mprotect(address, PAGE, READ)
    assert pte_magic.walk(address, address + HUGE).frames()["region"].isna().all()
    mprotect(address, PAGE, READ | WRITE)


@needs_root
def test_of_a_process_that_has_gone_frames_are_told_and_regions_are_not(new_map: NewMap) -> None:
    address = new_map(PAGE, flags=SHARED | ANONYMOUS)
    write(address)
    with forked(lambda: read(address)) as child:
        child.step()
        theirs = pte_magic.walk(address, address + PAGE, pid=child.pid)
        assert theirs.frames()["region"].notna().all()
    found = theirs.frames()
    assert found["map_count"].tolist() == [1]  # ours
    assert found[["region", "permissions"]].isna().all(axis=None)
    pytest.importorskip("pyarrow")
    file = io.BytesIO()
    found.to_parquet(file)
    assert pd.read_parquet(file)["region"].dtype == "category"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.runs(), "this frame has one row per run, and frames() needs one row per entry; "),
        (lambda table: table.drop(columns=["vaddr", "pid"]), "this frame has no vaddr, pid; call it on what"),
        (lambda _: pte_magic.decode(0x8000000153016067), "this frame has no vaddr, size, host, pid; call it on what"),
        (
            lambda table: table.assign(host=pd.Categorical(["another"] * len(table))),
            "these entries are of the host 'another', and ",
        ),
    ],
)
def test_what_has_no_frames_here_is_one_line(change: Callable[[PteFrame], PteFrame], message: str) -> None:
    table = change(pte_magic.walk(np.ones(10)))
    with pytest.raises(TargetError) as error:
        table.frames()
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@needs_root
def test_without_privilege_what_is_secret_is_missing() -> None:
    code = f"""
import numpy as np
seen = pte_magic.walk(np.ones(3000)).frames()
assert len(seen)
print(json.dumps([seen[list({OF_PRIVILEGE})].isna().all(axis=None).item(), sorted(set(seen["permissions"]))]))
"""
    assert json.loads(python(code, user=NOBODY)) == [True, ["rw-p"]]


@needs_root
def test_frames_that_are_known_without_privilege_have_a_node(mixed: int, tmp_path: Path) -> None:
    """As those that a helper tells."""
    seen = pte_magic.walk(mixed, mixed + PAGE)
    file = tmp_path / "seen"
    file.write_bytes(pickle.dumps(seen))
    file.chmod(0o644)
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        parent.chmod(0o755)
    code = f"""
import pickle
seen = pickle.loads(open({str(file)!r}, "rb").read()).frames()
print(json.dumps([seen["node"].tolist(), seen[list({OF_PRIVILEGE})].isna().all(axis=None).item()]))
"""
    assert json.loads(python(code, user=NOBODY)) == [seen.frames()["node"].tolist(), True]


@needs_root
def test_nothing_is_left_open(mixed: int) -> None:
    pte_magic.walk(mixed).frames()
    before = descriptors()
    pte_magic.walk(mixed).frames()
    assert descriptors() == before


@needs_root
def test_flags_are_shown_by_name_and_constants_once(mixed: int) -> None:
    table = pte_magic.walk(mixed, mixed + PAGE).frames()
    text = repr(table)
    assert "page flags that are set" in text
    assert " anon " in text
    assert f"node {table['node'][0]}, cgroup {table['cgroup'][0]}, region without a name, permissions rw-p" in text
    assert hex(table["page_flags"][0]) in text
    html = table._repr_html_()
    assert html
    assert "<th>kpf_anon</th>" in html
    assert "kpf_zero_page" not in html
    unset = sum(not table[f"kpf_{name}"].any() for name in page_frame_columns.FLAGS)
    assert f"; {unset} unset page-frame flags hidden;" in html
