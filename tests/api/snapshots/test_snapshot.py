"""`snapshot` and `load`: what was written is what was walked, whatever happened meanwhile."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from comparing import of_entries, settled
from conftest import NOBODY, descriptors, forked, needs_root, python
from handmade import GIB, PAGE
from peaks import mapping, peak, waiting

import pte_magic
from pte_magic import walkers
from pte_magic.api.snapshots.origin_of_entries import KEY
from pte_magic.errors import AccessDeniedError, NoAddressSpaceError, NoSuchProcessError, TargetError
from pte_magic.linux import hardware

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ATTEMPTS = 10  # at looking twice at memory of which the kernel moves a page now and then

RICH = """
import mmap, sys
pages = mmap.mmap(-1, 8 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
pages.madvise(mmap.MADV_NOHUGEPAGE)
for page in range(0, len(pages), 5 * mmap.PAGESIZE):
    pages[page] = 1
print("up", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def rich() -> Iterator[int]:
    """A process at rest that has pages of many kinds, of which it shares none with who tests."""
    with waiting(sys.executable, "-c", RICH) as pid:
        yield pid


@pytest.fixture
def pid() -> Iterator[int]:
    """A small process at rest."""
    with waiting("sh", "-c", "echo up; read answer") as pid:
        yield pid


def host_of(path: Path) -> Path:
    return path / f"host={hardware.host()}"


def file_of(path: Path, pid: int) -> Path:
    return host_of(path) / f"pid={pid}" / "part-0.parquet"


def left(path: Path) -> set[str]:
    """Return all files, temporary ones, too."""
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}


def test_what_is_loaded_is_what_was_walked(walker: str, rich: int, tmp_path: Path) -> None:
    for number in range(ATTEMPTS):
        path = tmp_path / str(number)
        walked = pte_magic.walk("all", pid=rich, walker=walker)
        told = pte_magic.snapshot(path, rich, walker=walker)
        before = settled(walked)
        if before.equals(settled(pte_magic.walk("all", pid=rich, walker=walker))):
            break
    else:
        pytest.fail("pages moved at ten attempts to look at them")
    found = pte_magic.load(path).frame()
    assert type(found) is pte_magic.PteFrame
    assert found.attrs == {name: value for name, value in walked.attrs.items() if name == "format"}
    pd.testing.assert_series_equal(found.dtypes, walked.dtypes)
    pd.testing.assert_frame_equal(of_entries(settled(found)), of_entries(before))
    assert told.loc[rich, "rows"] == len(before)
    assert told.loc[rich, "bytes"] == file_of(path, rich).stat().st_size
    assert told["error"].isna().all()
    assert left(path) == {str(file_of(path, rich).relative_to(path))}

    streamed = list(pte_magic.load(path).stream(rows=1000))
    assert {len(frame) for frame in streamed[:-1]} == {1000}
    pd.testing.assert_frame_equal(pd.concat(streamed, ignore_index=True), found)

    # A part that begins and ends within runs of rows is what a walk of it would have been.
    here = np.flatnonzero((found["state"] == "present").to_numpy() & (found["size"] == PAGE).to_numpy())
    first, last = here[3], here[-3]
    start, end = int(found["vaddr"][first]), int(found["vaddr"][last])
    part = found.iloc[first:last].reset_index(drop=True)
    pd.testing.assert_frame_equal(pte_magic.load(path).frame(pid=rich, start=start, end=end), part)


def test_a_part_is_found_among_many_row_groups(walker: str, tmp_path: Path) -> None:
    with mapping(2 * GIB) as pid:
        pte_magic.snapshot(tmp_path, pid, walker=walker)
    saved = pte_magic.load(tmp_path)
    groups = pq.ParquetFile(file_of(tmp_path, pid)).metadata.num_row_groups
    assert groups > 1
    whole = saved.frame()
    for middle in range(
        len(whole) // 10, len(whole) - 1, len(whole) // 10
    ):  # behind the last row, nothing is left to ask for
        start = int(whole["vaddr"].iloc[middle])
        end = int(whole["vaddr"].iloc[min(middle + 1000, len(whole) - 1)])
        inside = (whole["vaddr"] < end) & (whole["vaddr"] + whole["size"] > start)
        pd.testing.assert_frame_equal(saved.frame(start=start, end=end), whole[inside].reset_index(drop=True))


@needs_root
def test_all_are_this_machine_s_processes_without_kernel_threads(pid: int, tmp_path: Path) -> None:
    told = pte_magic.snapshot(tmp_path / "all", "all")
    assert {pid, os.getpid()} <= set(told.index)
    assert 2 not in told.index
    written = told[told["error"].isna()]
    saved = pte_magic.load(tmp_path / "all")
    processes = saved.processes()
    assert sorted(processes.index.get_level_values("pid")) == sorted(written.index)
    assert set(processes["kernel"]) == {os.uname().release}
    assert set(processes["walker"]) == {walkers.get().name}
    assert (processes["time"] <= pd.Timestamp.now("UTC")).all()
    both = saved.frame(pid=pid)
    assert set(both["pid"]) == {pid}
    assert sum(len(frame) for frame in saved.stream()) == written["rows"].sum()
    assert (told["bytes"] == 0).tolist() == told["error"].notna().tolist()


def test_others_have_their_rows_when_one_has_gone(pid: int, tmp_path: Path) -> None:
    with forked() as child:
        pass
    before = descriptors()
    told = pte_magic.snapshot(tmp_path / "some", [child.pid, pid, pid])
    assert descriptors() == before
    assert list(told.index) == sorted([child.pid, pid])
    assert told.loc[child.pid, "error"] == str(NoSuchProcessError(child.pid))
    assert told["error"].isna().tolist() == [number == pid for number in told.index]
    assert list(pte_magic.load(tmp_path / "some").processes().index) == [(hardware.host(), pid)]


@needs_root
def test_others_have_their_rows_when_one_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for directory in tmp_path.parents[:2]:
        directory.chmod(0o755)
    code = f"""
from pte_magic import load, snapshot
told = snapshot({str(tmp_path / "mine")!r}, [{os.getpid()}, os.getpid()])
frame = load({str(tmp_path / "mine")!r}).frame()
print(json.dumps([told["error"].isna().sum().item(), told.loc[{os.getpid()}, "error"], len(frame),
                  int(told["rows"].sum()), list(frame["walker"].unique()), bool(frame["pfn"].isna().all())]))
"""
    good, error, loaded, rows, names, hidden = json.loads(python(code, user=NOBODY))
    assert good == 1
    assert error == str(AccessDeniedError(os.getpid()))
    assert loaded == rows > 0
    assert names == ["pagemap"]
    assert hidden


@pytest.mark.parametrize(
    ("pids", "message"),
    [
        (1 << 30, "pid 1073741824: no such process"),
        ("al", "pids='al' is not a whole number; type"),
        ([None], "pids=None is not a whole"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(pids: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    pte_magic.snapshot(tmp_path / "first", os.getpid())  # which keeps its walker
    shutil.rmtree(tmp_path / "first")
    for path in (tmp_path / "none", tmp_path / "there"):
        before = descriptors(), threading.active_count()
        with pytest.raises(pte_magic.PteMagicError, match=message) as caught:
            pte_magic.snapshot(path, pids)
        assert len(str(caught.value).splitlines()) == 1
        assert (descriptors(), threading.active_count()) == before
    assert [*tmp_path.rglob("*")] == [tmp_path / "there"]  # which somebody else made


@needs_root
def test_a_kernel_thread_that_was_named_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(pte_magic.PteMagicError, match="pid 2: "):
        pte_magic.snapshot(tmp_path / "none", 2)


def test_a_process_that_ends_while_it_is_read_leaves_no_file(walker: str, tmp_path: Path) -> None:
    from pte_magic.api.snapshots.parquet_writer import write as write_file  # noqa: PLC0415
    from pte_magic.linux.address_space import AddressSpace  # noqa: PLC0415

    with forked() as child:
        space = AddressSpace(child.pid)
    with space, pytest.raises(NoAddressSpaceError):
        write_file(walkers.get(walker), space, tmp_path, lambda _: True)
    assert list(tmp_path.iterdir()) == []


def test_a_second_snapshot_is_refused_and_the_first_one_stays(pid: int, tmp_path: Path) -> None:
    pte_magic.snapshot(tmp_path, pid)
    with pytest.raises(TargetError, match="exists; name a directory without a snapshot of this host"):
        pte_magic.snapshot(tmp_path, pid)
    assert len(pte_magic.load(tmp_path).frame())


def test_machines_lie_side_by_side(pid: int, tmp_path: Path) -> None:
    pte_magic.snapshot(tmp_path, pid)
    host_of(tmp_path).rename(tmp_path / "host=other%2Fone")
    pte_magic.snapshot(tmp_path, pid)
    saved = pte_magic.load(tmp_path)
    assert {host for host, _ in saved.processes().index} == {hardware.host(), "other/one"}
    whole = saved.frame()
    assert whole["host"].dtype == "category"
    assert set(whole["host"]) == {hardware.host(), "other/one"}
    pd.testing.assert_frame_equal(whole, pd.concat(saved.stream(), ignore_index=True))
    mine = saved.frame(host=hardware.host())
    assert list(mine["host"].cat.categories) == [hardware.host()]
    with pytest.raises(TargetError, match="host 'third' is not in "):
        saved.frame(host="third")


def test_any_reader_of_parquet_finds_host_and_pid_and_the_whole_address_space(
    walker: str, pid: int, tmp_path: Path
) -> None:
    pte_magic.snapshot(tmp_path, [pid, os.getpid()], walker=walker)
    table = pd.read_parquet(tmp_path)
    assert set(table["host"]) == {hardware.host()}
    assert set(table["pid"]) == {pid, os.getpid()}
    mine = table[table["pid"] == pid]
    assert int(mine["size"].sum()) == hardware.user_limit()
    assert (mine["count"] > 0).all()
    assert (mine["size"] % mine["count"] == 0).all()  # the entries of a run have one size


def rewritten(path: Path, pid: int, **changes: Any) -> pte_magic.PteFrame:
    """Change what is told of the origin, as if it were another machine's; return the frame."""
    file = file_of(path, pid)
    table = pq.read_table(file, partitioning=None)
    facts = {**json.loads(table.schema.metadata[KEY]), "version": 2, **changes}  # which has no checksums
    pq.write_table(table.replace_schema_metadata({KEY: json.dumps(facts)}), file)
    return pte_magic.load(path).frame()


def test_entries_are_decoded_as_by_the_kernel_that_they_come_from(raw_walker: str, pid: int, tmp_path: Path) -> None:
    pte_magic.snapshot(tmp_path, pid, walker=raw_walker)
    (facts,) = (json.loads(pq.read_schema(file_of(tmp_path, pid)).metadata[KEY]),)
    assert facts["release"] == os.uname().release
    assert facts["levels"] == hardware.levels()
    assert facts["encoding"] == facts["format"] == hardware.encoding()
    without = rewritten(tmp_path, pid, features=[name for name in facts["features"] if name != "soft_dirty"])
    assert without["soft_dirty"].isna().all()
    tracked = rewritten(tmp_path, pid, features=[*facts["features"], "soft_dirty"])
    assert tracked["soft_dirty"].notna().any()
    told = rewritten(tmp_path, pid, encryption_mask=1 << 51, frames_hidden=True)
    assert told.attrs.pop("format").startswith(hardware.encoding())
    assert told.attrs == {"encryption_mask": 1 << 51, "frames_hidden": True}
    assert not told["encrypted"].fillna(value=False).any()
    # The numbers are this machine's, so they say nothing as arm64's; but that is how they are read.
    arm64 = {"format": "arm64_4k", "encoding": "arm64_4k", "features": ["present_invalid"], "levels": 4}
    arm = rewritten(tmp_path, pid, **arm64, encryption_mask=0)
    assert {"uxn", "mapped"} <= set(arm.columns)
    assert not {"nx", "soft_dirty"} & set(arm.columns)
    assert arm.attrs["format"] == "arm64_4k 4 present_invalid"
    with pytest.raises(TargetError, match="is of version 99 of the layout"):
        rewritten(tmp_path, pid, version=99)


def test_what_is_no_snapshot_is_said(pid: int, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="holds no snapshot; name a directory"):
        pte_magic.load(tmp_path)
    pte_magic.snapshot(tmp_path, pid)
    saved = pte_magic.load(tmp_path)
    with pytest.raises(TargetError, match="pid 77 is not in "):
        saved.frame(pid=77)
    with pytest.raises(TargetError, match="the end lies before the start"):
        saved.frame(start=0x2000, end=0x1000)
    with pytest.raises(TargetError, match="rows=0"):
        saved.stream(rows=0)
    file = file_of(tmp_path, pid)
    pd.DataFrame({"a": [1]}).to_parquet(file)
    with pytest.raises(TargetError, match="is not a file of a snapshot"):
        saved.frame()
    file.write_bytes(b"PAR1")
    with pytest.raises(TargetError, match="is damaged"):
        saved.frame()


@pytest.mark.parametrize("call", ["snapshot", "load"])
def test_without_pyarrow_it_says_what_to_type(call: str, tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["pyarrow"] = None
import pte_magic
try:
    pte_magic.{call}({str(tmp_path / "new")!r})
except pte_magic.PteMagicError as error:
    print(error)
"""
    assert python(code) == "pyarrow is not installed; type `pip install 'pte-magic[parquet]'`"
    assert not (tmp_path / "new").exists()


INTERRUPTED = """
import os, signal, threading, time
from pathlib import Path
import pte_magic

def interrupt():  # when the first one is complete and the second one has begun
    host = Path({path!r}) / "host={host}"
    while not ((host / f"pid={{os.getpid()}}").exists() and (host / ".{pid}.tmp").exists()):
        time.sleep(0.001)
        if done:
            return
    os.kill(os.getpid(), signal.SIGINT)

done = []
thread = threading.Thread(target=interrupt)
thread.start()
try:
    pte_magic.snapshot({path!r}, [os.getpid(), {pid}])
    done.append(1)
    thread.join()
except KeyboardInterrupt as error:
    print(error)
"""


def test_an_interrupt_leaves_what_was_written_and_says_how_much(tmp_path: Path) -> None:
    with mapping(16 * GIB) as pid:
        for number in range(ATTEMPTS):
            path = tmp_path / str(number)
            code = INTERRUPTED.format(path=str(path), host=hardware.host(), pid=pid)
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
            if "1 process of 2" in done.stdout:  # else it was quicker
                break
        assert done.stdout == f"1 process of 2 pids were written to {host_of(path)} and can be loaded\n", done.stderr
        assert done.stderr == ""
    (file,) = left(path)
    assert file.endswith("part-0.parquet")
    assert str(pid) not in file
    assert len(pte_magic.load(path).frame())


def test_16_gib_come_back_equal_in_the_memory_that_1_gib_takes(tmp_path: Path) -> None:
    with mapping(GIB) as pid:
        small = peak(pid, tmp_path / "small", GIB // mmap.PAGESIZE)
    with mapping(16 * GIB) as pid:
        large = peak(pid, tmp_path / "large", 16 * GIB // mmap.PAGESIZE)
        assert large <= small * 1.1
        walked = pte_magic.stream("all", pid=pid)
        loaded = pte_magic.load(tmp_path / "large").stream()
        frames = [settled(one).equals(settled(other)) for one, other in zip(walked, loaded, strict=True)]
    assert len(frames) >= 16
    assert all(frames)
