"""What holds of every format, as a table and of any entry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_macros import KERNELS, kernel

from pte_magic.api import pte_frame
from pte_magic.dataframes import column_names
from pte_magic.formats import decode
from pte_magic.formats.describe import UNKNOWN, describe
from pte_magic.formats.features import FEATURES
from pte_magic.formats.field import LEAVES, TABLES, Shape
from pte_magic.formats.hidden import hide
from pte_magic.formats.kernel import Kernel, fields, known, of_release, of_words
from pte_magic.formats.registry import FORMATS
from pte_magic.linux.address_bits import AddressBits
from pte_magic.linux.geometry import LEVELS

RELEASES = ((6, 1), (6, 6), (6, 10), (7, 2))
OF = {f"{name}-{major}.{minor}": of_release(name, (major, minor)) for name in FORMATS for major, minor in RELEASES}
C_BIT = kernel("migration pte_marker saved_dirty", c_bit=47)
EACH = {**OF, **KERNELS, "encrypted": C_BIT}
kernels = st.sampled_from([*OF.values(), *KERNELS.values()])
TELLING = [1 << bit for bit in (0, 7, 8, 11, 58)]  # the bits that tell shapes, of one format or another
numbers = st.one_of(
    st.integers(0, (1 << 64) - 1),
    st.tuples(st.integers(0, (1 << 64) - 1), st.sampled_from(TELLING)).map(lambda both: both[0] & ~1 | both[1]),
    st.just(0),
)


@pytest.mark.parametrize("of", EACH.values(), ids=[*EACH])
@pytest.mark.parametrize("shape", Shape)
def test_fields_of_a_shape_do_not_overlap_and_have_a_source(of: Kernel, shape: Shape) -> None:
    taken = 0
    for field in fields(of):
        if shape in field.shapes:
            assert not taken & field.mask, field
            taken |= field.mask
            assert field.meaning
            assert field.source
    assert not taken >> of.format.bits


@pytest.mark.parametrize("of", OF.values(), ids=[*OF])
def test_words_of_the_tables_are_words_of_the_features(of: Kernel) -> None:
    named = {field.needs for field in of.format.fields} | {rule.needs for rule in of.format.rules}
    named |= {*of.format.optional.values()} | {feature for feature, _ in of.format.physmem_bits}
    assert named - {None, "encryption"} <= set(FEATURES)
    assert {field.column for field in of.format.fields} - {None, "pkey"} <= set(of.format.columns)
    assert set(of.format.columns) <= set(column_names.BOOLEANS)
    assert of_words(of.words) is known(of.format.name, of.levels, of.features)


@given(kernels, numbers, st.data())
def test_every_bit_is_in_one_part_and_states_are_of_shapes(of: Kernel, entry: int, data: st.DataObject) -> None:
    entry &= (1 << of.format.bits) - 1
    level = data.draw(st.sampled_from(of.format.levels))
    found = describe(entry, level, of)
    above = of.format.bits
    for part in found.parts:
        assert part.low + part.width == above
        above = part.low
    assert above == 0
    assert sum(part.value << part.low for part in found.parts) == entry
    assert "{" not in found.says
    assert "None" not in found.says
    table = one(entry, level, of)
    assert found.state == (UNKNOWN if pd.isna(table["state"].iloc[0]) else table["state"].iloc[0])
    if found.state in {"present", "protnone", "table"}:
        shape = decode.shape(*raw(entry, level), of)
        assert shape in LEAVES | TABLES
        assert sum(1 for part in found.parts if part.name == "pfn") == 1


@given(kernels, numbers, numbers, st.data())
def test_what_is_hidden_is_gone_and_all_else_stays(of: Kernel, one_: int, other: int, data: st.DataObject) -> None:
    level = data.draw(st.sampled_from(of.format.levels))
    entry, code = raw(one_ & (1 << of.format.bits) - 1, level)
    before = one(int(entry[0]), level, of)
    hide(entry, code, of)
    again = entry.copy()
    hide(again, code, of)
    assert (again == entry).all()
    assert not int(entry[0]) >> of.format.bits
    after = one(int(entry[0]), level, replace(of, address_bits=AddressBits(frames_hidden=True)))
    places = ["pfn", "swap_type", "swap_offset", "entry", "format"]
    pd.testing.assert_frame_equal(after.drop(columns=places), before.drop(columns=places))
    # Another page frame or place in swap with the same bits around it, hidden, is the same entry.
    shape = decode.shape(entry, code, of)
    mask = sum(field.mask for field in fields(of) if shape in field.shapes and field.address is not None)
    if shape == Shape.SWAP and before["state"].iloc[0] == "swap":
        mask = next(field.mask for field in fields(of) if shape in field.shapes and field.name == "offset")
    elsewhere, _ = raw(int(entry[0]) & ~mask | other & mask, level)
    if decode.shape(elsewhere, code, of) == shape:
        hide(elsewhere, code, of)
        assert elsewhere[0] == entry[0]


@given(st.lists(st.tuples(numbers, st.integers(0, 4)), min_size=1, max_size=20), kernels)
def test_many_entries_are_decoded_as_each_is(found: list[tuple[int, int]], of: Kernel) -> None:
    levels = [of.format.levels[at % len(of.format.levels)] for _, at in found]
    entries = [entry & (1 << of.format.bits) - 1 for entry, _ in found]
    together = pte_frame.of_columns(
        decode.columns(np.array(entries, np.uint64), np.array([*map(LEVELS.index, levels)], np.int8), of),
        np.array([*map(LEVELS.index, levels)], np.int8),
        of,
    )
    apart = pd.concat([one(entry, level, of) for entry, level in zip(entries, levels, strict=True)], ignore_index=True)
    pd.testing.assert_frame_equal(pd.DataFrame(together), apart)


def raw(entry: int, level: str) -> tuple[np.ndarray, np.ndarray]:
    return np.array([entry], np.uint64), np.array([LEVELS.index(level)], np.int8)


def one(entry: int, level: str, of: Kernel) -> pd.DataFrame:
    number, code = raw(entry, level)
    return pd.DataFrame(pte_frame.of_columns(decode.columns(number, code, of), code, of))
