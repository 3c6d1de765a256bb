"""Pickles that were made when modules had other names: frames, entries, differences, processes, errors still load."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import python

import pte_magic

PICKLES = Path(__file__).with_name("pickles")
KINDS = {
    "frame": pte_magic.PteFrame,
    "diff": pte_magic.PteDiff,
    "diffs": pte_magic.PteDiffs,
    "processes": pte_magic.Processes,
}
CHANGE = "new page frame, writable"


def loaded(name: str) -> Any:
    return pickle.loads((PICKLES / f"{name}.pickle").read_bytes())  # noqa: S301  (it lies beside this file)


@pytest.mark.parametrize("name", KINDS)
def test_they_are_what_they_were(name: str) -> None:
    assert type(loaded(name)) is KINDS[name]
    again = pickle.dumps(loaded(name))
    assert b"pte_magic.api" not in again
    assert type(pickle.loads(again)) is KINDS[name]  # noqa: S301  (made above)


def test_they_say_what_they_said() -> None:
    frame, diff = loaded("frame"), loaded("diff")
    assert frame["state"].tolist() == ["present"] * 4
    assert frame["pfn"].notna().all()
    pd.testing.assert_frame_equal(pte_magic.decode(frame.entry)[["pfn", "rw"]], pd.DataFrame(frame)[["pfn", "rw"]])
    assert diff["before"].tolist() == [0] * 4
    assert diff["after"].tolist() == frame["entry"].tolist()
    assert diff.summary()["entries"].sum() == len(diff.runs().summary()) * 4 == 4


def test_errors_too() -> None:
    target, process, walker = loaded("errors")
    assert (str(target), process.pid, walker.args) == ("x", 5, ("bpf", "why"))
    assert type(target) is pte_magic.TargetError


def test_raw_entries_too() -> None:
    found = loaded("entries")
    for one in (found, pickle.loads(pickle.dumps(found))):  # noqa: S301  (made here)
        assert type(one) is pte_magic.Entries
        assert (one.encryption_mask, one.frames_hidden, one.walker, one.encoding) == (1 << 51, True, "bpf", "x86_64")
        assert one.entry.tolist() == [0x67 | 1 << 51, 0]
        assert one.vaddr.tolist() == [0x1000, 0x2000]
        assert one.protnone is None


def test_nothing_has_to_be_imported_before() -> None:
    code = f"import pickle; print(type(pickle.load(open({str(PICKLES / 'frame.pickle')!r}, 'rb'))).__name__)"
    assert python(code) == "PteFrame"
