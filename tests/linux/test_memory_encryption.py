"""The bit of memory encryption: what a walker finds is known to all that decode this machine's entries."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from conftest import needs_root, only_on, python
from shells import Shell

import pte_magic
from pte_magic import walkers
from pte_magic.api import pte_frame
from pte_magic.formats import kernel
from pte_magic.linux import memory_encryption
from pte_magic.linux.address_bits import AddressBits
from pte_magic.linux.geometry import LEVELS
from pte_magic.walkers.entries import SPAN, Entries

if TYPE_CHECKING:
    from pathlib import Path

BIT = 1 << 51
ENTRY = 0x31BC72067 | BIT | 1 << 63
pytestmark = only_on("x86_64", "AMD's C-bit, and bits of addresses that this machine's memory has not")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> int:
    """Have a walker that found a bit."""
    monkeypatch.setattr(walkers, "_attempts", {"bpf": SimpleNamespace(address_bits=AddressBits(BIT))})
    return BIT


def walked(raw: list[int], level: str = "pte") -> pte_frame.PteFrame:
    """Return the frame that a walker makes on a machine with such a bit."""
    spans = np.array([(0, 4096, len(raw), LEVELS.index(level))], SPAN)
    entries = Entries(np.array(raw, np.uint64), spans, "x86_64", "bpf", address_bits=AddressBits(BIT))
    return pte_frame.build(entries, kernel.running(AddressBits(BIT)), pid=1)


def same(decoded: pd.DataFrame, walk: pd.DataFrame) -> None:
    entries = [
        name for name in decoded.columns if name not in {"file", "mmap_exclusive"}
    ]  # pagemap's, not the entries'
    pd.testing.assert_frame_equal(pd.DataFrame(decoded)[entries], pd.DataFrame(walk)[entries])


@pytest.mark.parametrize("level", ["pte", "pmd", "pgd"])
def test_decode_says_what_walk_says(found: int, level: str) -> None:
    frame_ = walked([ENTRY, ENTRY & ~found, ENTRY | 0x80, 0, 0x7FFFFFFEACFE9960], level)
    assert frame_["encrypted"].tolist()[:2] == [True, False]
    again = pte_magic.decode(frame_.entry, level=level)
    same(again, frame_)
    same(pte_magic.decode(frame_.entry, level=frame_.level), frame_)
    assert again["pfn"][0] == 0x31BC72
    assert again.attrs == {"format": frame_.attrs["format"], "encryption_mask": found}
    assert again.bits(0).text() == frame_.bits(0).text()


def test_pictures_and_the_magic_know_it(found: int, tmp_path: Path) -> None:
    assert "physical address 0x31bc72000\n" in pte_magic.BitField(ENTRY).text()
    assert kernel.of_frame({}).encryption_mask == found
    shell = Shell(tmp_path)
    cell = shell.run(f"%pte --decode {ENTRY:x}")
    assert cell.result["pfn"].tolist() == [0x31BC72]
    assert cell.result["encrypted"].tolist() == [True]
    assert "no host has" not in cell.out


@pytest.mark.parametrize("other", [{"arch": "x86_64", "release": "6.12"}, {"encryption_mask": 0}])
def test_entries_of_other_machines_are_not_read_with_this_ones_bit(found: int, other: dict[str, Any]) -> None:
    made = pte_magic.decode(ENTRY, **other)
    assert made["pfn"][0] == 0x31BC72 | found >> 12
    assert "encryption_mask" not in made.attrs
    hint = "bit 51 may be memory encryption, with the address 0x31bc72000"
    assert hint in repr(made)
    assert hint in made.bits().text()
    told = pte_magic.decode(ENTRY, **other | {"encryption_mask": 1 << 51})
    assert (told["pfn"][0], told["encrypted"][0]) == (0x31BC72, True)
    assert "no host has" not in repr(told) + told.bits().text()


@pytest.mark.parametrize("bit", [np.uint64(1 << 47), 1 << 47, 1 << 51, 1 << 40])
def test_any_bit_of_an_address_can_be_it(bit: Any) -> None:
    made = pte_magic.decode([int(bit) | 0x1067, 0x1067], arch="x86_64", release="6.1", encryption_mask=bit)
    assert made["pfn"].tolist() == [1, 1]
    assert made["encrypted"].tolist() == [True, False]
    assert made.attrs["encryption_mask"] == int(bit)


@pytest.mark.parametrize(
    "mask",
    [51, 47, 3 << 50, -1, 1 << 11, 1 << 52, 1 << 63, 1 << 64, True, 1.5, "51", "c-bit", [1 << 51], pd.NA, object()],
)
def test_what_is_not_one_bit_of_an_address_is_refused(mask: Any) -> None:
    with pytest.raises(pte_magic.PteMagicError) as caught:
        pte_magic.decode(1, encryption_mask=mask)
    assert str(caught.value).endswith(" is not a bit of an address in an entry of x86_64; type such as 1 << 51")


@pytest.mark.parametrize("arch", ["arm64", "x86_pae", "i386"])
def test_other_formats_have_no_such_bit(arch: str) -> None:
    with pytest.raises(pte_magic.PteMagicError, match="is not a bit of an address in an entry of x86_64"):
        pte_magic.decode(1, arch=arch, encryption_mask=1 << 31)
    assert len(pte_magic.decode(1, arch=arch, encryption_mask=0)) == 1


_LOOK = """
import numpy as np, pte_magic
from pte_magic import walkers
told = [walkers.known("bpf") is None]
for entry in {entries}:
    pte_magic.decode(entry)
    told.append(walkers.known("bpf") is None)
print(told)
"""


@pytest.mark.skipif(
    not memory_encryption.candidates(), reason="needs a processor whose addresses have less than 52 bits"
)
def test_a_walker_is_made_if_an_entry_has_bits_that_no_address_here_has() -> None:
    bits = memory_encryption.candidates()
    entries = [ENTRY & ~bits, bits, 1 | bits]  # the second is inverted, of a swap entry
    assert python(_LOOK.format(entries=entries)) == "[True, True, True, False]"


_WALK = """
import ctypes, pte_magic
page = bytearray(b"x" * (1 << 18))
found = pte_magic.walk(page)
entries, pfn = found["entry"].tolist(), found["pfn"].tolist()
levels = found["level"].tolist()
"""


@needs_root
def test_another_process_decodes_what_was_walked_here() -> None:
    said = python(f"{_WALK}\nprint(repr((entries, levels, pfn)))")
    entries, levels, pfn = eval(said)  # noqa: S307  (what the child printed)
    code = f"import pte_magic; print(pte_magic.decode({entries}, level={levels})['pfn'].tolist() == {pfn})"
    assert python(code) == "True"


@needs_root
def test_what_is_walked_here_is_decoded_here() -> None:
    page = bytearray(b"x" * (1 << 22))
    found = pte_magic.walk(page)
    same(pte_magic.decode(found.entry, level=found.level), found)
    assert memory_encryption.mask() == found.attrs.get("encryption_mask", 0)
