"""`machine`: every figure of a process against the kernel's own, of children that hold still."""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import re
import signal
import subprocess
import sys
from html import escape, unescape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from accounting import MIB16, SMALL, compare, holding_still, meminfo, turnover
from conftest import NOBODY, Child, descriptors, forked, needs_root, python
from handmade import (
    HUGE,
    PAGE,
    READ,
    SHARED,
    WRITE,
    NewMap,
    libc,
    read,
    write,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from shells import Shell
from waiting import wait_until

import pte_magic
from pte_magic import Processes
from pte_magic.api.machine.mapped import MapCounts, Mapped, frames
from pte_magic.linux import sizes

if TYPE_CHECKING:
    from collections.abc import Iterator

GIB = 1 << 30
CLONE_VM = 0x100
LONGER = 600  # seconds, than a test waits; then what it left ends


@pytest.fixture
def lacks(walker: str) -> set[str]:
    """What a walker cannot tell."""
    found = {"page_tables"} if walker == "pagemap" else set()
    return found if os.geteuid() == 0 else found | {"pss", "uss"}


@pytest.fixture
def still(new_map: NewMap) -> Iterator[Child]:
    with holding_still(new_map) as child:
        yield child


def test_every_figure_is_the_kernels(still: Child, walker: str, lacks: set[str]) -> None:
    compare(still.pid, walker, lacks=lacks, huge_zeros=1)


def test_a_page_that_is_mapped_twice_by_one_process_is_shared(new_map: NewMap, walker: str, lacks: set[str]) -> None:
    fd = os.memfd_create("test")
    os.ftruncate(fd, MIB16)
    once, again = (new_map(MIB16, READ | WRITE, SHARED, fd) for _ in range(2))
    os.close(fd)
    with forked(lambda: write(once, MIB16), lambda: read(again, MIB16 // 2)) as child:
        child.step()
        child.step()
        compare(child.pid, walker, lacks=lacks)


@needs_root
def test_a_process_between_vfork_and_exec_is_not_counted_twice(walker: str, lacks: set[str]) -> None:
    stack = ctypes.create_string_buffer(1 << 16)
    top = ctypes.c_void_p(ctypes.addressof(stack) + len(stack) - 64)
    pids: list[int] = []

    def borrow() -> int:
        pids.append(libc.clone(libc.sleep, top, CLONE_VM | signal.SIGCHLD, LONGER))
        return pids[0]

    def end() -> None:
        os.kill(pids[0], signal.SIGKILL)
        os.waitpid(pids[0], 0)

    with forked(borrow, end) as child:
        borrower = child.step()
        assert borrower > 0
        try:
            compare(child.pid, walker, lacks=lacks)
            compare(borrower, walker, lacks=lacks)
        finally:
            child.step()


def test_the_figures_add_up(still: Child) -> None:
    table = pte_magic.machine()
    parts = table.filter(like="resident_")
    assert (parts.sum(axis=1) == table["resident"]).all()
    huge = parts.drop(columns=SMALL).sum(axis=1)
    assert np.allclose(table["huge_share"].astype(float), (huge / table["resident"]).astype(float))
    assert table["pid"].is_unique
    row = table[table["pid"] == still.pid].iloc[0]
    assert (row["user"], row["name"]) == (Path(f"/proc/{still.pid}").owner(), name_of(still.pid))


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").rstrip("\n")


def is_kernel_thread(pid: int) -> bool:
    return bool(int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[6]) & 0x200000)


def user_processes() -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                lines = (entry / "status").read_text(encoding="utf-8")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if "\nVmRSS:" in lines and "\nState:\tZ" not in lines:
                found.add(int(entry.name))
    return found


def test_there_is_a_row_for_every_process_and_none_for_kernel_threads() -> None:
    before = user_processes()
    table = pte_magic.machine()
    there = set(table["pid"]) | set(table.attrs["left_out"])
    assert before & user_processes() <= there
    assert not any(is_kernel_thread(pid) for pid in there if Path(f"/proc/{pid}").exists())
    assert os.getpid() in set(table["pid"])


@needs_root
def test_the_shares_add_up_to_what_the_machine_maps() -> None:
    """/proc/meminfo tells mapped pages, each once. What changed in between is at most what was allocated and freed."""
    tight: list[tuple[int, int, int]] = []

    def look() -> bool:
        turned, before = turnover(), mapped_by_anybody()
        table = pte_magic.machine()
        after, churn = mapped_by_anybody(), turnover() - turned
        unseen = sum(accounted_resident(pid) for pid in table.attrs["left_out"])
        ours = int(table["pss"].sum())
        assert min(before, after) - churn - unseen <= ours <= max(before, after) + churn
        tight.append((ours, churn + unseen, before))
        return (churn + unseen) * 2 < before  # so that neither nothing nor twice as much would have passed

    wait_until(look, instead=lambda: f"the machine is too busy: {tight}")


def mapped_by_anybody() -> int:
    found = meminfo()
    return found["AnonPages"] + found["Mapped"]


def accounted_resident(pid: int) -> int:
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="utf-8"), re.MULTILINE)
    return int(found[1]) << 10 if found else 0


@needs_root
def test_an_ordinary_user_sees_his_own_processes_and_is_told_of_the_others() -> None:
    said = json.loads(python(_AS_USER, user=NOBODY))
    assert said["rows"]["resident"] == said["rss"] << 10
    assert said["rows"][SMALL] + said["rows"][f"resident_{sizes.short(HUGE)}"] == said["rss"] << 10
    assert (said["rows"]["pss"], said["rows"]["uss"]) == (None, None)
    assert set(said["users"]) == {"nobody"}
    assert f"pid {os.getpid()}: permission denied" in said["left_out"][str(os.getpid())]
    assert "left out: pid " in said["text"]
    assert "shared pages counted for each process" in said["text"]


_AS_USER = """
import re, subprocess
from pathlib import Path
with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
    child.stdin.write(b"x")
    child.stdin.flush()
    child.stdout.read(1)
    table = pte_magic.machine(walker="pagemap")
    rss = int(re.search(r"Rss:\\s+(\\d+)", Path(f"/proc/{child.pid}/smaps_rollup").read_text())[1])
    row = json.loads(table[table["pid"] == child.pid].iloc[0].to_json())
    print(json.dumps({"rows": row, "rss": rss, "users": list(table["user"]), "left_out": table.attrs["left_out"],
                      "text": repr(table)}))
"""


def test_processes_that_come_and_go_take_no_others_row_away(still: Child) -> None:
    before = descriptors()
    storm = "while :; do /bin/true & /bin/true; wait; done"
    with subprocess.Popen(["sh", "-c", storm], start_new_session=True) as shell:
        try:
            for _ in range(5):
                table = pte_magic.machine()
                assert {still.pid, os.getpid(), shell.pid} <= set(table["pid"])
        finally:
            os.killpg(shell.pid, signal.SIGKILL)
    assert descriptors() == before


def test_it_is_a_table_like_any_other() -> None:
    table = pte_magic.machine()
    again = pickle.loads(pickle.dumps(table))  # noqa: S301  (our own)
    pd.testing.assert_frame_equal(again, table)
    assert again.attrs == table.attrs
    assert dict(pd.concat([table, again]).dtypes) == dict(table.dtypes)
    assert type(again) is type(table.query("pid > 1")) is Processes
    assert table["resident"].is_monotonic_decreasing


def test_each_process_has_its_command_line_and_the_largest_is_first() -> None:
    command = ["sleep", "3600", "a\nb"]
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", *command]) as process:
        try:
            table = pte_magic.machine()
            (found,) = table.loc[table["pid"] == process.pid, "command"]
            shown = table[table["pid"] == process.pid]._repr_html_() or ""
            assert f'<span style="white-space: nowrap" title="{escape(found)}">' in shown
            assert found == f"{sys.executable} -c import time; time.sleep(600) sleep 3600 a\\nb"
        finally:
            process.kill()
    assert table["resident"].is_monotonic_decreasing


def test_columns_that_are_zero_throughout_are_named_and_not_shown() -> None:
    table = pte_magic.machine()
    table["swapped"] = pd.array([0] * len(table), "UInt64")
    head, *_, note = (line for line in repr(table).splitlines() if "resident" in line and " processes" not in line)
    assert "swapped" not in head.split()
    assert re.search(r"0 in all rows: .*\bswapped", note)
    table.loc[0, "swapped"] = 4096
    assert "swapped" in next(line for line in repr(table).splitlines() if "resident_" in line).split()


def test_text_and_html_say_the_same(still: Child) -> None:
    table = pte_magic.machine()
    mine = table[table["pid"].isin([still.pid, os.getpid()])]
    text = repr(mine)
    html = unescape(re.sub(r"<style.*?</style>|<[^>]+>", " ", mine._repr_html_() or "", flags=re.DOTALL))
    assert html.split() == text.split()
    assert text.startswith("2 processes; ")
    assert f"host {table['host'].iloc[0]}, walker {table['walker'].iloc[0]}" in text


def test_what_was_changed_is_shown_as_it_is() -> None:
    table = pte_magic.machine()
    assert "pss" not in repr(table[["pid", "name", "resident"]])
    assert repr(table.iloc[:0])
    assert repr(table.groupby("user")[["resident"]].sum())


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(tmp_path_factory.mktemp("ipython"))


def test_the_magic_is_the_function(shell: Shell) -> None:
    cell = shell.run("%pte --machine --walker pagemap")
    assert type(cell.result) is Processes
    assert set(cell.result["walker"]) == {"pagemap"}
    for line in ("%pte --machine a", "%pte --machine --runs"):
        assert "UsageError: --machine is about all processes; type %pte --machine" in shell.run(line).err
    assert shell.complete("%pte --mac") == ["%pte --machine"]


pages = st.lists(
    st.tuples(st.sampled_from([PAGE, HUGE, GIB]), st.integers(0, 3), st.sampled_from([0, 1, 511, 512, 1 << 18])),
    max_size=4,
)


@settings(max_examples=30)  # of up to a million frames
@given(st.lists(pages, max_size=3))
def test_frames_are_counted_by_entries_that_map_them(processes: list[list[tuple[int, int, int]]]) -> None:
    counts, seen = MapCounts(), [np.empty(0, np.uint64)]
    for process in processes:
        size = np.array([size for size, _, _ in process], np.uint64)
        start = [(number * GIB // PAGE + within) * PAGE // size * (size // PAGE) for size, number, within in process]
        what = Mapped(size, np.array(start, np.uint64), framed=True, leveled=True, contiguous=0, swapped=0, tables=0)
        counts.add(what)
        for first, length in zip(start, (size // PAGE).tolist(), strict=True):
            seen.append(np.arange(first, first + length, dtype=np.uint64))
        assert sum(map(len, frames(what))) == sum(size.tolist()) // PAGE
    frame, times = np.unique(np.concatenate(seen), return_counts=True)
    assert (counts.of(frame) == times).all()
