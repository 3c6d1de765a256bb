"""The tutorials that show most in a guest: SystemTap, swap space, two nodes, protection keys, soft-dirty."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from loaded import modules, wait_until_nothing_is_left
from swapping import swap_off, swap_on, zram

from pte_magic import walkers
from pte_magic.linux import hardware
from pte_magic.systemtap import toolchain

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNNER = Path(__file__).parents[2] / "lesson_runner.py"
"""Without Jupyter: that takes half a minute for each in a guest, and executes them on the host."""
SHOWN = {
    "x86_64": {
        "06_swap": (r"1 of 4 entries changed: 1 swapped in", r"major faults: [1-9]", r"4 shared in swap"),
        "07_protection": (r"1 access given back", r"our key: 1\n"),
        "08_accessed_and_dirty": (r"changed: \[   5   77 4000\] - 12288 bytes instead of 16777216",),
        "10_systemtap": (
            r"walkers: stap and bpf",
            r"\npresent rw user accessed dirty",
            r"14 +0x[0-9a-f]+ +6 +pte +0x0\n",
        ),
        "11_numa_and_migration": (r"nodes with memory: \[0, 1\]", r"8 new page frame", r"\bmigration_write\b"),
    },
    "arm64": {
        "01_first_pte": (r"bit 10, accessed: 1\n",),
        "06_swap": (r"1 of 4 entries changed: 1 swapped in", r"that is /dev/zram0\n"),
        "07_protection": (r"has the frame 0x[0-9a-f]+ as it is",),
        "12_how_the_walker_works": (
            r"the position in the page\n",
            r"pages are present, say both, and have the same frames",
        ),
    },
}[hardware.machine()]
"""What a notebook prints that found what it needs, and nothing else does; on arm64, of those that take bits apart."""

if toolchain.cannot_load():
    pytest.skip(f"needs a guest of the lab: {toolchain.cannot_load()}", allow_module_level=True)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where is what the tutorials printed; children of one process execute them, so that pandas is imported once."""
    walkers.close()  # of the tests before these
    to = tmp_path_factory.mktemp("tutorials")
    with zram("64M") as area:
        swap_on(area)
        done = subprocess.run(
            [sys.executable, str(RUNNER), str(to), *SHOWN], capture_output=True, text=True, check=False
        )
        swap_off(area)
    assert done.returncode == 0, done.stdout + done.stderr
    yield to
    assert not modules()
    wait_until_nothing_is_left()


@pytest.mark.parametrize("name", SHOWN)
def test_a_tutorial_shows_what_other_machines_lack(executed: Path, name: str) -> None:
    told = json.loads((executed / f"{name}.json").read_text(encoding="utf-8"))
    out = "\n".join(told["printed"] + told["displayed"])
    for shown in SHOWN[name]:
        assert re.search(shown, out), f"{shown}\n{out}"
    assert re.search(r"(^walkers?: |, walker )(bpf|stap)\b", out, re.MULTILINE)
    assert "Recorded on" not in out
