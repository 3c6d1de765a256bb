"""The tree as guests unpack it, with what Python makes of its files: that takes an emulated processor long."""

from __future__ import annotations

import re
import shlex
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from chroot import TREE, WORK, in_root
from recipe import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rootfs import Root

NOT_PACKED = re.compile(r"(^|/)(\.[^/]+|__pycache__|output)$")
"""What was made of the tree by other Pythons, and what git knows of it."""

UNPACK = f"""
mkdir /run/tree && tar -xf {WORK}/runs/{{archive}} -C /run/tree && mount --bind /run/tree {TREE} && cd {TREE} || exit 1
"""
"""Has the tree in memory: every start of Python reads a hundred of its files, for each of which the host would be
asked."""
COMPILE = """
python -m compileall -q pte_magic tests
PYTHONPATH=tests/vm/guest python -m pytest -q -p no:cacheprovider -p stuck -p facts --collect-only {tests}
tar -cf {to} .
"""
"""pytest compiles tests in its own way. Some cannot be collected here, where no module can be loaded; they have been
compiled before that is seen."""


@contextmanager
def packed(root: Root, tests: Iterable[str]) -> Iterator[Path]:
    """Make an archive for guests that run these tests; it lasts as long as the block."""
    runs = root.work / "runs"  # what a killed process left there is removed
    runs.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=runs, suffix=".tar") as archive:
        with tempfile.NamedTemporaryFile(dir=runs, suffix=".tar") as sources:
            pack(sources)
            command = COMPILE.format(tests=shlex.join(sorted({*tests})), to=_inside(archive))
            in_root(root.files, unpack(Path(sources.name)) + command)
        yield Path(archive.name)


def unpack(archive: Path) -> str:
    """Return lines of shell that unpack an archive in a guest, in place of the tree, and go there."""
    return UNPACK.format(archive=archive.name)


def _inside(archive: IO[bytes]) -> str:
    return f"{WORK}/runs/{Path(archive.name).name}"


def pack(to: IO[bytes]) -> None:
    """Write an archive of the tree, as git has it."""
    with tarfile.open(fileobj=to, mode="w") as archive:
        archive.add(PROJECT, ".", filter=lambda member: None if NOT_PACKED.search(member.name) else member)
    to.flush()
