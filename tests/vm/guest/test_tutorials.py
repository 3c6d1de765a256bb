"""The tutorials that show most in a guest: SystemTap, swap space, two nodes, protection keys, soft-dirty."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from loaded import modules, wait_until_nothing_is_left
from swapping import swap_off, swap_on, zram

from pte_magic.systemtap import toolchain

EXECUTE = Path(__file__).parents[3] / "examples" / "execute.py"
SHOWN = {
    "06_swap": "swapped out",
    "07_protection": "our key: 1",
    "08_accessed_and_dirty": "changed: [   5   77 4000] - 12288 bytes instead of 16777216",
    "10_systemtap": "present rw user accessed dirty",
    "11_numa_and_migration": "nodes with memory: [0, 1]",
}
"""What a notebook prints that found what it needs."""

if toolchain.cannot_load():
    pytest.skip(f"needs a guest of the lab: {toolchain.cannot_load()}", allow_module_level=True)


def test_tutorials_show_what_other_machines_lack(tmp_path: Path) -> None:
    with zram("64M") as area:
        swap_on(area)
        done = subprocess.run(
            [sys.executable, EXECUTE, "--lab", "--to", tmp_path], capture_output=True, text=True, check=False
        )
        swap_off(area)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.stem for path in tmp_path.iterdir()) == list(SHOWN)
    for path in tmp_path.iterdir():
        assert SHOWN[path.stem] in printed(path)
    assert not modules()
    wait_until_nothing_is_left()


def printed(path: Path) -> str:
    notebook = nbformat.read(path, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text") or output["data"].get("text/plain", "") for output in outputs)
