"""The tutorials for a person in a guest: a copy to write to, and swap space, which some of them are about."""

from __future__ import annotations

import hashlib
import os
import shutil
from typing import TYPE_CHECKING

from recipe import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = PROJECT / "examples"
NOTEBOOKS = "notebooks"
SWAP = """
modprobe zram num_devices=1 && echo 256M > /sys/block/zram0/disksize || exit 1
mkswap -q /dev/zram0 && swapon /dev/zram0 || exit 1
"""  # compressed memory: a page is written to it at once, so it is in the swap space and nowhere else


def copied(work: Path, examples: Path = EXAMPLES) -> str:
    """Copy the tutorials, once for each state in which they are; return the name of their directory in `NOTEBOOKS`.

    What a person has changed in a copy stays there, beside the newer ones.
    """
    files = sorted(path for path in examples.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    state = hashlib.sha256()
    for path in files:
        state.update(b"%s\0%d\0" % (os.fsencode(path.relative_to(examples)), path.stat().st_size) + path.read_bytes())
    name = f"tutorials-{state.hexdigest()[:8]}"
    to, part = work / NOTEBOOKS / name, work / NOTEBOOKS / f".{name}.part"
    if not to.exists():
        shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
        shutil.copytree(examples, part, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
        part.rename(to)
    return name
