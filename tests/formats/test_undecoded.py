"""Columns of raw entries, decoded one at a time: the same as of all at once, also where most entries are alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from pte_magic.dataframes.column_names import decoded
from pte_magic.formats import decode, kernel
from pte_magic.formats.registry import FORMATS
from pte_magic.formats.undecoded import Decoding, Undecoded
from pte_magic.linux.geometry import LEVELS

if TYPE_CHECKING:
    from pte_magic.formats.decode import Column

N = 2000  # more than those that are decoded one by one


def assert_same(found: Column | None, wanted: Column | None, about: object) -> None:
    missing = [np.ones(N, np.bool_) if one is None else one.missing for one in (found, wanted)]
    mask, expected = (np.zeros(N, np.bool_) if one is None else one for one in missing)
    assert (mask == expected).all(), about
    if found is not None and wanted is not None:
        assert found.values.dtype == wanted.values.dtype, about
        assert (found.values[~mask] == wanted.values[~mask]).all(), about


@pytest.mark.parametrize("encoding", FORMATS)
@pytest.mark.parametrize("level", ["pte", "pmd"])
def test_one_entry_that_differs_in_any_one_bit_is_seen(encoding: str, level: str) -> None:
    of = kernel.of_release(encoding)
    width = 32 if encoding == "x86_32" else 64
    page, huge = (0b11, 0b01) if encoding.startswith("arm64") else (0x67, 0xE7)
    levels = np.full(N, LEVELS.index(level), np.int8)
    for bit in (None, *range(width)):
        entry = np.full(N, (page if level == "pte" else huge) | 0x1234 << 21, np.uint64)
        entry[-1] ^= np.uint64(0 if bit is None else 1 << bit)
        source, wanted = Undecoded(entry, levels, of), decode.columns(entry, levels, of)
        for name in decoded(of):
            assert_same(source.columns(name).get(name), wanted.get(name), (bit, name))


class Counting(Undecoded):
    """Entries that remember which columns were decoded."""

    def columns(self, *names: str) -> dict[str, Column]:
        vars(self).setdefault("decoded", []).append(names)
        return super().columns(*names)


def test_a_column_that_no_entry_has_is_looked_for_once() -> None:
    source = Counting(np.full(N, 0x67, np.uint64), np.full(N, 4, np.int8), kernel.of_release("x86_64"))
    found = Decoding(source)
    found.look_for("state", "kind")
    assert "state" in found
    assert "kind" not in found
    assert "rw" in found
    assert "swap_type" not in found
    assert "swap_type" not in found
    assert vars(source)["decoded"] == [("state", "kind"), ("rw",), ("swap_type",)]


def test_values_of_entries_that_are_alike_are_arrays_to_write_to() -> None:
    source = Undecoded(np.full(N, 0x67, np.uint64), np.full(N, 4, np.int8), kernel.of_release("x86_64"))
    values, _ = source.columns("rw")["rw"]
    values[3] = False
    assert source.columns("rw")["rw"].values.all()
