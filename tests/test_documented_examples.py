"""The examples in README and in docstrings run as they are there."""

from __future__ import annotations

import ast
import doctest
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import needs_root

import pte_magic
from pte_magic.workloads import fork_with, private_mapping, protect

pytest.importorskip("pyarrow")

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def in_docstrings() -> dict[str, str]:
    """Return the examples by the file and what they are about."""
    found = {}
    for path in sorted(ROOT.joinpath("pte_magic").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                lines = doctest.DocTestParser().get_examples(ast.get_docstring(node) or "")
                if lines:
                    name = f"{path.relative_to(ROOT)}:{getattr(node, 'name', '')}"
                    found[name] = "".join(line.source for line in lines)
    return found


def run(code: str) -> dict[str, Any]:
    """Run an example, with this process for the one in it."""
    names = {"pte_magic": pte_magic, "numpy": np, "a": private_mapping(4), "fork_with": fork_with, "protect": protect}
    exec(code.replace("1234", str(os.getpid())), names)  # noqa: S102  (of our documents)
    return names


@needs_root
def test_what_readme_has_in_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    blocks = [block for block in found if not block.startswith("%px")]  # which is for a cluster
    assert len(blocks) == 4
    names = run("\n".join(blocks))
    names["seen"].stop()
    assert len(names["saved"].processes()) > 1
    assert names["child"].pid > 0


EXAMPLES = in_docstrings()


@needs_root
@pytest.mark.parametrize("name", EXAMPLES)
def test_what_docstrings_have_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = EXAMPLES[name]
    if "load(" in code:
        pte_magic.snapshot("before")
    run(code)
