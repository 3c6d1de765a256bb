"""What one host sends to another arrives as what it was: functions, frames, differences, raw entries."""

from __future__ import annotations

import os
import pickle
import re
import socket
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from conftest import forked, needs_root
from handmade import PAGE, libc

import pte_magic
from pte_magic import PteFrame
from pte_magic.walkers.entries import Entries

CLONE_NEWUTS = 0x04000000  # linux/sched.h

MODEL = re.compile(r"pte-magic-\w{32}")  # the number of a live picture
ways = pytest.mark.parametrize("way", [pickle, cloudpickle], ids=lambda way: way.__name__)


def sent(thing: Any, way: Any = pickle) -> Any:
    """Return what arrives."""
    return pickle.loads(way.dumps(thing))  # noqa: S301  (our own)


def array() -> np.ndarray[Any, Any]:
    return np.ones(8 * PAGE, np.uint8)


@ways
@pytest.mark.parametrize("name", [name for name in pte_magic.__all__ if name != "BitField"])
def test_what_is_public_is_sent_by_its_name(way: Any, name: str) -> None:
    public = getattr(pte_magic, name)
    assert sent(public, way) is public


@ways
def test_a_frame_keeps_its_columns_and_the_address_that_was_asked_for(way: Any, walker: str) -> None:
    memory = array()
    for table in (pte_magic.walk(memory, walker=walker), pte_magic.walk(memory.ctypes.data, walker=walker)):
        again = sent(table, way)
        assert type(again) is PteFrame
        pd.testing.assert_frame_equal(again, table)
        assert again.attrs == table.attrs
        assert repr(again) == repr(table)
        assert MODEL.sub("", str(again._repr_html_())) == MODEL.sub("", str(table._repr_html_()))


@ways
def test_a_difference_keeps_its_words_and_what_was_compared(way: Any) -> None:
    memory = np.empty(8 * PAGE, np.uint8)
    before = pte_magic.walk(memory)
    memory[:] = 1
    found = before.diff(pte_magic.walk(memory))
    again = sent(found, way)
    assert type(again) is type(found)
    pd.testing.assert_frame_equal(again, found)
    assert again.attrs == found.attrs
    assert repr(again) == repr(found)


@ways
def test_raw_entries_keep_where_they_were_found(way: Any, walker: str) -> None:
    found = pte_magic.entries(array(), walker=walker)
    again: Entries = sent(found, way)
    for name in Entries.__slots__:
        one, other = getattr(again, name.lstrip("_")), getattr(found, name.lstrip("_"))
        assert type(one) is type(other)
        assert np.array_equal(one, other), name


def test_a_report_of_walkers_is_sent_with_its_texts_in_full() -> None:
    report = pte_magic.doctor()
    again = sent(report)
    assert type(again) is type(report)
    pd.testing.assert_frame_equal(again, report)


def test_a_frame_that_arrived_in_buffers_that_nobody_may_write_to_does_all_that_a_frame_does() -> None:
    memory, buffers = array(), list[pickle.PickleBuffer]()
    table = pte_magic.walk(memory)
    rest = pickle.dumps(table, protocol=5, buffer_callback=buffers.append)
    assert buffers
    again = pickle.loads(rest, buffers=[bytes(buffer) for buffer in buffers])  # noqa: S301  (our own)
    pd.testing.assert_frame_equal(again.runs(), table.runs())
    pd.testing.assert_frame_equal(again.summary(), table.summary())
    assert again.diff(table).empty
    assert repr(again) == repr(table)
    assert str(again.map()) == str(table.map())


@needs_root
def test_the_host_is_the_one_that_the_process_is_on_when_it_walks() -> None:
    memory = array()
    before = pte_magic.walk(memory)

    def moved() -> PteFrame:
        assert not libc.unshare(CLONE_NEWUTS)
        socket.sethostname("elsewhere")
        return pte_magic.walk(memory)

    with forked(lambda: pte_magic.walk(memory), moved) as child:
        here, there = child.step(), child.step()
    own = os.uname().nodename
    assert [set(table["host"]) for table in (before, here, there)] == [{own}, {own}, {"elsewhere"}]


def on(host: str) -> PteFrame:
    table = pte_magic.walk(array())
    return PteFrame(table.assign(host=table["host"].cat.rename_categories([host])))


def test_frames_of_several_hosts_are_one_frame_by_concat() -> None:
    one, other = on("one"), on("other")
    both = pd.concat([one, other], ignore_index=True)
    assert type(both) is PteFrame
    assert both["host"].tolist() == ["one"] * len(one) + ["other"] * len(other)
    dtypes = one.dtypes.drop("host")
    assert both.dtypes.drop("host").equals(dtypes)
    assert f"{one['vaddr'].iloc[0]:#014x}" in repr(both)
    assert both.groupby("host")["size"].sum().to_dict() == {
        "one": one["size"].sum(), "other": other["size"].sum(),
    }  # fmt: skip
    runs = both.runs()
    assert runs["entries"].sum() == len(both)
    assert set(runs["host"]) == {"one", "other"}


def test_their_hosts_remain_a_category_if_pandas_is_told_so() -> None:
    one, other = on("one"), on("other")
    concat: Any = pd.concat  # the stubs are older than this option
    both = concat([one, other], union_categories=True)
    assert both.dtypes.drop("host").equals(one.dtypes.drop("host"))
    assert both["host"].dtype == pd.CategoricalDtype(["one", "other"])
