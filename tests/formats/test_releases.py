"""Releases by name: those that are known, and what configurations of distributions make of their swap types."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_macros import kernel, swap_entry

import pte_magic
from pte_magic.formats import releases
from pte_magic.formats.describe import describe
from pte_magic.formats.features import FEATURES, of_named
from pte_magic.formats.kernel import known, of_name, of_told, of_words, running
from pte_magic.formats.registry import FORMATS

BASE = "migration memory_failure pte_marker"
# include/linux/swap.h with what Debian and Fedora configured, as /boot/config and kernel-x86_64-fedora.config say.
SEEN = [
    ("6.1.0-57-amd64", f"{BASE} swapin_error_type"),
    ("6.1.0-0.deb11.7-cloud-amd64", f"{BASE} swapin_error_type"),
    ("6.12.118+deb13-amd64", BASE),
    ("6.12.9+bpo-amd64", BASE),
    ("7.2.12+deb14-amd64", f"{BASE} device_private"),
    ("6.1.0-65.fc38.x86_64", f"{BASE} swapin_error_type device_private device_exclusive_pair"),
    ("6.8.2-300.fc40.x86_64", f"{BASE} device_private device_exclusive_pair"),
]


@pytest.mark.parametrize(
    ("text", "release"),
    [("6.1", (6, 1)), ("6.10", (6, 10)), ("7.2-rc1", (7, 2)), ("6.12.107+deb13-amd64", (6, 12)),
     ("6.8.0-31-generic", (6, 8)), ("6.15.4-arch2-1", (6, 15)), ("6.6.87.2-microsoft-standard-WSL2", (6, 6)),
     (" 6.1.0-57-amd64\n", (6, 1)),
     (np.str_("6.12"), (6, 12))],
)  # fmt: skip
def test_a_release_is_what_uname_prints(text: Any, release: tuple[int, int]) -> None:
    assert releases.named(text).release == release
    assert len(pte_magic.decode(1, arch="x86_64", release=text)) == 1


@pytest.mark.parametrize("text", ["0.1", "4.15", "5.15", "6.0", "6.0.19-amd64", "7.3", "7.3-rc1", "99.9", "9999.9999"])
@pytest.mark.parametrize("arch", ["x86_64", "arm64", "i386"])
def test_a_release_that_is_not_known_is_refused(text: str, arch: str) -> None:
    with pytest.raises(pte_magic.PteMagicError) as caught:
        pte_magic.decode(1, arch=arch, release=text)
    assert str(caught.value) == f"release {text!r} is not known; those from '6.1' to '7.2' are"


@pytest.mark.parametrize(
    "text", ["", " ", "6", "6.", "6.x", "x.1", "v6.1", "6,1", "6.1rc1", "-6.1", "6..1", "6.1 6.2", "٦.1", 6.1, 6, True,
             [6, 1], (6, 1), b"6.1", object(), {}, float("nan"), pd.NA, "x" * 999]
)  # fmt: skip
def test_what_is_not_a_release_is_one_line(text: Any) -> None:
    with pytest.raises(pte_magic.PteMagicError) as caught:
        pte_magic.decode(1, arch="x86_64", release=text)
    (line,) = str(caught.value).splitlines()
    assert line.endswith(" is not a release of Linux; type a text such as '6.1', or all of `uname -r`")
    assert len(line) < 160


def test_the_running_kernel_is_known_by_its_name() -> None:
    found = pte_magic.decode(0x67, release=platform.release())
    assert found.attrs["format"] == running().words


@pytest.mark.parametrize(("name", "words"), SEEN)
def test_types_of_distributions_are_as_they_configured_them(name: str, words: str) -> None:
    assert of_name("x86_64", name).swap == kernel(words).swap
    assert of_name("arm64", name.replace("amd64", "arm64")).swap.types.count(("swap", None)) in {23, 24, 27}


@pytest.mark.parametrize("release", ["6.1", "6.2", "6.12", "6.14", "6.15", "7.1", "6.8.0-31-generic"])
@pytest.mark.parametrize("arch", ["x86_64", "arm64"])
def test_what_differs_between_distributions_is_not_known(release: str, arch: str) -> None:
    major, minor = releases.named(release).release
    of = of_name(arch, release)
    sure = of.features - {"device_private?"}
    both = [
        known(of.format.name, of.levels, sure | words).swap for words in (frozenset(), frozenset({"device_private"}))
    ]
    codes = np.arange(32)
    types = [of_type(int(code), arch, (major, minor)) for code in codes]
    found = pte_magic.decode(types, arch=arch, release=release)
    for code, without, with_ in zip(codes, both[0].types, both[1].types, strict=True):
        state, kind, pfn = (found[name][int(code)] for name in ("state", "kind", "pfn"))
        if without == with_:
            assert state == without[0]
        else:
            assert pd.isna(state)
            assert pd.isna(kind)
            assert pd.isna(pfn)
            says = describe(types[code], "pte", of).says
            assert all((kind or "").replace("swap", "swapped out") in says for _, kind in (without, with_))
            assert "CONFIG_DEVICE_PRIVATE" in says
    assert found["state"].isna().sum() in {7, 8}
    assert "depending on CONFIG_DEVICE_PRIVATE" in repr(found)
    assert of_words(found.attrs["format"]) is of


def of_type(number: int, arch: str, release: tuple[int, int]) -> int:
    if arch == "x86_64":
        return swap_entry(number, 0x4711)
    return number << 6 | 0x4711 << 12 if release >= (6, 10) else number << 3 | 0x4711 << 8


def test_a_migration_entry_of_debian_is_not_a_devices() -> None:
    for number in (28, 29, 30):
        entry = swap_entry(number, 0x4711)
        assert pte_magic.decode(entry, arch="x86_64", release="6.12")["state"].isna().all()
        found = pte_magic.decode(entry, arch="x86_64", release="6.12.107+deb13-amd64")
        assert (found["state"][0], found["pfn"][0]) == ("migration", 0x4711)


@given(
    st.sampled_from([*FORMATS]), st.integers(1, 2), st.integers(0, 20), st.sampled_from(["", ".9+deb13-amd64", ".1-fc"])
)
def test_every_release_in_between_has_features_that_are_known(name: str, minor: int, more: int, rest: str) -> None:
    release = (6, minor + more) if minor + more < 20 else (7, minor)
    words = of_named(name, releases.named(f"{release[0]}.{release[1]}{rest}"))
    assert {word.removesuffix("?") for word in words} <= set(FEATURES)
    of = known(name, 4, words)
    assert len(of.swap.types) == 32
    assert any(word.endswith("?") for word in words) == (("", None) in of.swap.types)


def test_what_a_file_doubts_takes_no_more_time_than_what_we_doubt() -> None:
    """Each doubt doubles what is possible, and somebody else's file may name any number of them."""
    doubts = " ".join(f"unheard_of_{number}?" for number in range(64))
    assert of_told(f"x86_64 4 migration {doubts}").swap == known("x86_64", 4, frozenset({"migration"})).swap


@pytest.mark.parametrize(
    "told",
    [
        *(f"x86_64 4 encryption_mask={mask}" for mask in ("0x1", "-0x8", "0x3000", f"{(1 << 72) - 1:#x}")),
        "arm64_4k 4 encryption_mask=0x8000000000000",
        "x86_64 4 encryption_mask=0x8000000000000 encryption_mask=0x800000000000",
    ],
)
def test_what_cannot_be_the_bit_of_memory_encryption_is_refused(told: str) -> None:
    with pytest.raises(pte_magic.PteMagicError, match="is not a format of entries"):
        of_told(told)


@pytest.mark.parametrize("levels", ["99", "-1", "0", "1", "x", "4.0"])
def test_levels_that_no_tables_have_are_refused_wherever_they_are_told(levels: str) -> None:
    frame = pte_magic.decode([0x67, 0], arch="x86_64", release="6.12")
    told = f"x86_64 {levels} migration"
    with pytest.raises(pte_magic.PteMagicError, match="is not a format of entries"):
        of_told(told)
    frame.attrs["format"] = told
    with pytest.raises(pte_magic.PteMagicError, match="does not say how to read entries"):
        pte_magic.decode(frame.entry)
