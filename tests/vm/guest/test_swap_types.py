"""Which numbers are swap areas and which the kernel's special entries, asked from the kernel and from its headers."""

from __future__ import annotations

import functools
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from agreement import agree
from conftest import only_on
from handmade import NOHUGEPAGE, PAGE, NewMap, write
from swapping import areas, content, file_system, make_file, page_out, swap_off, swap_on

from pte_magic.formats import kernel
from pte_magic.formats.field import Shape
from pte_magic.formats.kernel import fields

if TYPE_CHECKING:
    from collections.abc import Iterable

TYPES = {
    "hwpoison": ["SWP_HWPOISON"],
    "migration": ["SWP_MIGRATION_READ", "SWP_MIGRATION_READ_EXCLUSIVE", "SWP_MIGRATION_WRITE"],
    "marker": ["SWP_PTE_MARKER", "SWP_SWAPIN_ERROR"],
    "device": [
        "SWP_DEVICE_WRITE", "SWP_DEVICE_READ", "SWP_DEVICE_EXCLUSIVE_WRITE", "SWP_DEVICE_EXCLUSIVE_READ",
        "SWP_DEVICE_EXCLUSIVE",
    ],
}  # fmt: skip
MARKERS = {
    "PTE_MARKER_UFFD_WP": "uffd_wp",
    "PTE_MARKER_SWAPIN_ERROR": "poisoned",  # 6.2 to 6.5
    "PTE_MARKER_POISONED": "poisoned",
    "PTE_MARKER_GUARD": "guard",
}
BITS = {
    "_PAGE_BIT_SPECIAL": "special", "_PAGE_BIT_UFFD_WP": "uffd_wp", "_PAGE_BIT_SOFT_DIRTY": "soft_dirty",
    "_PAGE_BIT_DEVMAP": "devmap", "_PAGE_BIT_SAVED_DIRTY": "saved_dirty", "_PAGE_BIT_PKEY_BIT0": "pkey",
    "_PAGE_BIT_NX": "nx",
}  # fmt: skip


has_headers = only_on("x86_64", "the kernel's headers and a compiler are in the root of that machine alone")


@functools.cache
def headers() -> dict[str, int]:
    """Return the constants of the running kernel's headers that have the names above, as far as it has them."""
    build = Path("/lib/modules", platform.release(), "build")
    common = Path(f"/usr/src/linux-headers-{platform.release().removesuffix('-amd64')}-common")
    folders = ("arch/x86/include", "arch/x86/include/generated", "include")
    include = [f"-I{base / folder / api}" for api in ("", "uapi") for folder in folders for base in (common, build)]
    macros = [f"-imacros{name}" for name in ("linux/kconfig.h", "linux/swap.h", "linux/swapops.h")]
    names = ["MAX_SWAPFILES", *(name for names in TYPES.values() for name in names), *MARKERS, *BITS]
    told = subprocess.run(
        ["gcc", "-E", "-P", "-nostdinc", "-D__KERNEL__", *include, *macros, "-"],
        input="".join(f'"{name}" {name}\n' for name in names), capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = dict(re.findall(r'^"(\w+)" (.*)', told.stdout, re.MULTILINE))
    assert set(found) == set(names)
    sums = {name: re.sub(r"(\d)U?L\b", r"\1", text) for name, text in found.items() if text != name}  # it is no macro
    assert all(re.fullmatch(r"[\d()<+ -]+", text) for text in sums.values()), sums
    return {name: int(eval(text)) for name, text in sums.items()}  # noqa: S307  (numbers, brackets, + - <<)


def of_kernel(names: Iterable[str]) -> dict[str, int]:
    return {name: headers()[name] for name in names if name in headers()}


@has_headers
def test_special_types_are_those_of_the_kernels_headers() -> None:
    types = kernel.running().swap.types
    for state, names in TYPES.items():
        told = of_kernel(names)
        assert [number for number, (has, _) in enumerate(types) if has == state] == sorted(told.values())
        for name, number in told.items():
            kind = types[number][1]
            assert kind is None or f"swp_{kind}" == name.lower()
    assert sum(state == "swap" for state, _ in types) == headers()["MAX_SWAPFILES"]


@has_headers
def test_marker_bits_are_those_of_the_kernels_headers() -> None:
    told, bits = of_kernel(MARKERS), kernel.running().swap.marker_bits
    assert told
    assert {name: MARKERS[name] for name in told} == {name: bits[bit.bit_length() - 1] for name, bit in told.items()}


@has_headers
def test_bits_of_leaves_are_those_of_the_kernels_headers() -> None:
    of_leaves = {field.name: field.low for field in fields(kernel.running()) if Shape.PAGE in field.shapes}
    told = {BITS[name]: bit for name, bit in of_kernel(BITS).items()}
    assert told == {name: bit for name, bit in of_leaves.items() if name in BITS.values()}


def takes(area: Path, priority: int) -> bool:
    """Tell whether the kernel takes one more place to swap to: it does not if MAX_SWAPFILES are in use."""
    try:
        swap_on(area, priority)
    except PermissionError:
        return False
    return True


def test_last_swap_area_that_the_kernel_takes_has_the_last_type(new_map: NewMap, tmp_path: Path) -> None:
    address = new_map(PAGE, advice=NOHUGEPAGE)
    write(address, value=5)
    with file_system(tmp_path) as place:
        header, used = make_file(place / "header", 64).read_bytes(), []
        try:
            for number in range(33):
                area = place / str(number)
                area.touch(0o600)
                area.write_bytes(header)
                os.sync()
                if not takes(area, number):
                    break
                used.append(area)
            assert areas() == [str(area) for area in used]
            assert len(used) == sum(state == "swap" for state, _ in kernel.running().swap.types)
            page_out(address)
            found = agree(address).iloc[0]
            assert (found["state"], found["swap_type"]) == ("swap", len(used) - 1)
            assert content(used[-1], int(found["swap_offset"]))[0] == 5
        finally:
            for area in used:
                swap_off(area)
