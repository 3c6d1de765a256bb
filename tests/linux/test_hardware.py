"""What the machine says of its page tables, and what walkers find in them; cuts of addresses as manuals have them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pte_magic
from pte_magic import walkers
from pte_magic.linux import geometry, hardware
from pte_magic.linux.address_space import own


@pytest.mark.parametrize(
    ("encoding", "levels", "shifts"),
    [
        ("x86_64", None, {"pgd": 39, "pud": 30, "pmd": 21, "pte": 12}),
        ("x86_64", 5, {"pgd": 48, "p4d": 39, "pud": 30, "pmd": 21, "pte": 12}),
        ("x86_32", None, {"pgd": 22, "pte": 12}),
        ("x86_pae", None, {"pgd": 30, "pmd": 21, "pte": 12}),
        ("arm64_4k", None, {"pgd": 39, "pud": 30, "pmd": 21, "pte": 12}),
        ("arm64_4k", 3, {"pgd": 30, "pmd": 21, "pte": 12}),
        ("arm64_4k_lpa2", None, {"pgd": 48, "p4d": 39, "pud": 30, "pmd": 21, "pte": 12}),
        ("arm64_16k", None, {"pgd": 47, "pud": 36, "pmd": 25, "pte": 14}),
        ("arm64_16k", 3, {"pgd": 36, "pmd": 25, "pte": 14}),
        ("arm64_64k", None, {"pgd": 42, "pmd": 29, "pte": 16}),
        ("arm64_64k", 2, {"pgd": 29, "pte": 16}),
    ],
)
def test_addresses_are_cut_as_the_manuals_say(encoding: str, levels: int | None, shifts: dict[str, int]) -> None:
    assert geometry.shifts(encoding, levels) == shifts
    assert list(shifts) == [level for level in geometry.LEVELS if level in shifts]


def test_it_is_what_the_system_says() -> None:
    names = {"x86_64": "x86_64", "aarch64": "arm64", "i686": "x86_32", "i586": "x86_32"}
    assert names[os.uname().machine] == hardware.machine()
    assert hardware.encoding().startswith(hardware.machine().partition("_")[0])
    assert len(hardware.shifts()) == hardware.levels()
    assert 1 << hardware.shifts()["pte"] == hardware.PAGE_SIZE
    top = max(int(line.split("-")[1].split()[0], 16) for line in Path("/proc/self/maps").read_text().splitlines()
              if "[vsyscall]" not in line)  # fmt: skip
    small = hardware.machine() != "x86_32" and sys.maxsize < 1 << 32  # a 32-bit Python under a 64-bit kernel
    assert (1 << 31 if small else hardware.user_limit() // 2) < top <= hardware.user_limit()
    memory = [line for line in Path("/proc/iomem").read_text().splitlines() if line.endswith(": System RAM")]
    ends = [int(re.split("[- ]", line.strip())[1], 16) for line in memory]  # all zero for those who may not see them
    assert max(ends, default=0) < 1 << hardware.physical_bits()


def test_the_tables_are_like_that(raw_walker: str) -> None:
    page = bytearray(b"\1" * 4 * hardware.PAGE_SIZE)
    chain = pte_magic.walk(id(page), walker=raw_walker)
    assert walkers.get(raw_walker).walk(own(), 0, hardware.PAGE_SIZE).encoding == hardware.encoding()
    shifts = hardware.shifts()
    assert list(chain["level"]) == list(shifts)[: len(chain)]
    assert [int(size) for size in chain["size"]] == [1 << shifts[level] for level in chain["level"]]


@pytest.mark.skipif(not Path("/proc/sys/kernel/arch").exists(), reason="needs the sysctl kernel.arch, Linux 6.1")
@pytest.mark.skipif(shutil.which("setarch") is None, reason="needs setarch of util-linux")
def test_a_lie_about_the_machine_is_not_believed() -> None:
    lie = {"x86_64": "i686", "aarch64": "armv8l"}.get(os.uname().machine)
    if lie is None:
        pytest.skip(f"nobody asks for lies about {os.uname().machine}")
    code = "import os; from pte_magic.linux import hardware; print(os.uname().machine, hardware.machine())"
    done = subprocess.run(
        ["setarch", "linux32", sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no 32-bit personality here: {done.stderr.strip()}")
    assert done.stdout.split() == [lie, hardware.machine()]
