"""What is recorded of the tutorials: true to what was done to the pages, and told from what this machine shows."""

from __future__ import annotations

import json
import re
import tempfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import recorded
from conftest import NOBODY, needs_root, python
from IPython.utils.capture import capture_output
from serving import serving

import pte_magic
from pte_magic.walkers.helper_protocol import VARIABLE

if TYPE_CHECKING:
    from pte_magic import PteFrame

FILES = sorted(recorded.DATA.iterdir())
LIMIT = 1 << 20
LABEL = r"Recorded on Linux \d+\.\d+.* on 20\d\d-\d\d-\d\d, not from this machine:\n"


def load(name: str) -> pd.DataFrame:
    return recorded.load(recorded.DATA / f"{name}.parquet")


def shown(name: str, frame: PteFrame, *, complete: bool = True) -> str:
    with capture_output() as captured:
        recorded.recorded(name, frame, complete=complete)
    # IPython keeps what is displayed; without it, it is printed.
    return captured.stdout + "".join(output.data["text/plain"] for output in captured.outputs)


def test_each_recorded_step_has_a_file_and_each_file_a_step() -> None:
    notebooks = sorted(recorded.DATA.parent.glob("*.ipynb"))
    steps = [name for path in notebooks for name in re.findall(r'recorded\(\\"(\w+)\\"', path.read_text("utf-8"))]
    assert sorted(steps) == [path.stem for path in FILES]
    assert sum(path.stat().st_size for path in FILES) < LIMIT


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_tells_kernel_and_date_no_machine_and_frames_that_are_in_the_entries(path: Path) -> None:
    schema = pq.read_schema(path)
    attributes = json.loads(schema.metadata[b"PANDAS_ATTRS"])
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?", attributes["kernel"])
    assert date.fromisoformat(attributes["date"])
    assert "host" not in schema.names
    frame = recorded.load(path)
    if path.stem in {"10_faults", "10_both"}:  # by a script of the notebook
        assert not isinstance(frame, pte_magic.PteFrame)
        return
    assert isinstance(frame, pte_magic.PteFrame)
    assert set(frame["walker"]) == {"stap" if path.stem == "10_by_stap" else "bpf"}
    small = frame[(frame["state"] == "present") & (frame["level"] == "pte")]
    told = small["entry"].to_numpy(np.uint64) >> np.uint64(12) & np.uint64((1 << 40) - 1)
    assert (small["pfn"].to_numpy(np.uint64) == told).all()


def test_the_frames_show_what_was_done() -> None:
    assert load("01_touched")["rw"].tolist()[:2] == [True, False]  # one was written, one only read
    ours, theirs = load("03_ours"), load("03_theirs")
    assert not set(ours["pid"]) & set(theirs["pid"])
    assert ours["pfn"].tolist() == theirs["pfn"].tolist()
    assert not (ours["rw"] | theirs["rw"]).any()
    assert (load("04_huge")["size"] == 2 << 20).any()
    assert not load("05_mapped")["dirty"].any()
    assert set(load("06_swapped")["state"]) == {"swap"}
    assert load("07_protected")["state"].tolist() == ["present", "present", "protnone", "present"]
    assert len(load("08_searched")) == 4096
    assert 0 < load("08_searched")["accessed"].sum() < 100
    assert load("09_request")["accessed"].any()
    assert load("10_by_stap")["state"].tolist() == ["present"] + ["none"] * 15
    faults, both = load("10_faults"), load("10_both")
    assert faults[["code", "level", "entry"]].drop_duplicates().to_numpy().tolist() == [[6, "pte", "0x0"]]
    assert both["code"].tolist() == [4] * 4 + [7] * 4  # reads, then writes: arch/x86/include/asm/trap_pf.h
    assert both["entry"][:4].unique().tolist() == ["0x0"]
    assert len(set(both["entry"][4:])) == 1  # the zero page
    assert not set(load("11_before")["pfn"]) & set(load("11_after")["pfn"])
    assert load("12_chain")["state"].tolist()[-4:] == ["table", "table", "table", "present"]


def test_a_frame_comes_back_as_it_was(tmp_path: Path, raw_walker: str) -> None:
    content = np.ones(5000)
    for target in (content, content.ctypes.data):
        frame = pte_magic.walk(target, walker=raw_walker)
        recorded.record(frame, tmp_path / "frame.parquet")
        back = recorded.load(tmp_path / "frame.parquet")
        pd.testing.assert_frame_equal(back, frame.drop(columns="host"))
        assert back.attrs.items() >= frame.attrs.items()


def test_who_sees_no_raw_entries_gets_the_recorded_ones_with_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(recorded.TO, raising=False)
    text = shown("03_ours", pte_magic.walk(bytes(9999), walker="pagemap"))
    assert re.match(LABEL, text)
    assert f"{load('03_ours')['entry'][0]:#018x}" in text


HIDDEN = """
import os, sys
sys.path.insert(0, {examples!r})
import recorded
import pte_magic
frame = pte_magic.walk(bytes(9999))
recorded.recorded("03_ours", frame)
print(frame["walker"][0], frame["entry"].notna().all(), frame["pfn"].notna().any(), os.listdir(os.environ[recorded.TO]))
"""


@needs_root
def test_entries_without_their_page_frames_are_never_recorded() -> None:
    code = HIDDEN.format(examples=str(recorded.DATA.parent))
    with serving("--group", str(NOBODY)) as helper, tempfile.TemporaryDirectory() as to:
        Path(to).chmod(0o777)
        variables = [f"{VARIABLE}={helper.path}", f"{recorded.TO}={to}"]
        assert python(code, "env", *variables, user=NOBODY) == "helper True False []"


def test_raw_entries_are_recorded_where_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw_walker: str
) -> None:
    frame = pte_magic.walk(bytes(9999), walker=raw_walker)
    monkeypatch.delenv(recorded.TO, raising=False)
    assert shown("03_ours", frame) == ""
    monkeypatch.setenv(recorded.TO, str(tmp_path / "data"))
    assert shown("03_ours", frame) == ""
    assert re.match(LABEL, shown("06_swapped", frame, complete=False))  # this machine lacks what the step is about
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["03_ours.parquet"]
