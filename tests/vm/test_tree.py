"""The archive of the tree that guests unpack."""

from __future__ import annotations

import importlib.util
import tarfile
from pathlib import Path

import pytest
from recipe import PROJECT
from rootfs import missing, ready
from tree import packed

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "all is there")

TESTS = ("tests/linux/test_hardware.py", "tests/vm/guest/test_levels.py")


def compiled(name: str) -> str:
    """Return the beginning of the name of what Python compiles of a file; its version comes after that."""
    path = Path(importlib.util.cache_from_source(name))
    return f"./{path.parent}/{Path(name).stem}.cpython-"


def test_python_and_pytest_have_compiled_what_is_in_it() -> None:
    with packed(ready(), TESTS) as archive, tarfile.open(archive) as opened:
        names = opened.getnames()
    assert "./pyproject.toml" in names
    assert not any(name.startswith(("./.git", "./.venv")) for name in names)
    by_pytest = {name.partition("cpython-")[0] + "cpython-" for name in names if "-pytest-" in name}
    assert {compiled(name) for name in ("tests/conftest.py", *TESTS)} <= by_pytest
    by_python = {name.partition("cpython-")[0] + "cpython-" for name in names if name.endswith(".pyc")}
    ours = {path.relative_to(PROJECT).as_posix() for path in (PROJECT / "pte_magic").rglob("*.py")}
    assert {compiled(name) for name in ours} <= by_python
